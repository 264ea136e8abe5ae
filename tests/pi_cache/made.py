"""Small stores made from random numbers, for the tests of this folder."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cache import files
from pi_cache.layout import Column, Layout, SampleTable, standard_columns
from pi_cache.ledger import Build, finish, missing_shards, write_shard
from pi_cache.manifest import StoreManifest
from pi_cache.specs import DiagramSpec, ImageSpec, SourceSpec, StoreSpec
from pi_cache.store import begin

CHANNELS = 3
PIXELS = 6
INPUTS = Column(
    name="inputs",
    shape=(CHANNELS, 30, 30),
    dtype="uint8",
    dimensions=("channel", "row", "column"),
)


def make_spec(samples: int = 20, dtype: str = "float16", **image: Any) -> StoreSpec:
    return StoreSpec(
        source=SourceSpec(
            kind="arrays",
            sample="signal",
            samples=samples,
            channels=CHANNELS,
            fingerprint=hashlib.sha256(str(samples).encode()).hexdigest(),
            location="/somewhere",
        ),
        diagram=DiagramSpec(),
        image=ImageSpec(pixels=PIXELS, dtype=dtype, **image),
    )


def make_table(samples: int) -> SampleTable:
    return SampleTable(
        ids=[f"표본/{i}" for i in range(samples)],
        labels=np.arange(samples) % 4,
        groups=[f"subject {i % 3}" for i in range(samples)],
        splits=["train" if i % 5 else "test" for i in range(samples)],
        label_names=("걷기", "sit", "stand", "lie"),
    )


def make_columns(spec: StoreSpec) -> dict[str, NDArray[Any]]:
    """Every array for all samples, the same each time; offsets count over the whole store."""
    rng = np.random.default_rng(7)
    samples, image = spec.source.samples, spec.image
    images = rng.random((samples, CHANNELS, PIXELS, PIXELS))
    images[::3] = 0
    if image.dtype == "uint8":
        images *= 255
    counts = rng.integers(0, 9, (samples, CHANNELS))
    ends = np.cumsum(counts).reshape(samples, CHANNELS)
    points = rng.random((int(ends[-1, -1]), 2))
    points[::5, 1] = np.inf
    status = rng.integers(0, 3, samples).astype(np.uint8)
    return {
        "images": images.astype(image.dtype),
        "status": status,
        "points": points,
        "offsets": np.concatenate([(ends[:, :1] - counts[:, :1]), ends], axis=1),
        "inputs": rng.integers(0, 256, (samples, *INPUTS.shape), dtype=np.uint8),
    }


def shard_columns(columns: dict[str, NDArray[Any]], samples: range) -> dict[str, NDArray[Any]]:
    part = {name: rows[samples.start : samples.stop] for name, rows in columns.items()}
    offsets = part["offsets"]
    part["points"] = columns["points"][offsets[0, 0] : offsets[-1, -1]]
    part["offsets"] = offsets - offsets[0, 0]
    return part


def begin_store(root: Path, spec: StoreSpec, layout: Layout | None = None) -> Build:
    columns = standard_columns(spec.image, CHANNELS, inputs=INPUTS)
    return begin(
        root,
        spec,
        make_table(spec.source.samples),
        columns,
        layout=layout or Layout(shard_samples=8, chunk_samples=4),
        attributes={"channels": ["x", "y", "z"]},
    )


def fill_store(build: Build) -> StoreManifest:
    columns = make_columns(build.spec)
    for k in missing_shards(build):
        part = shard_columns(columns, build.sample_range(k))
        write_shard(build, k, part, statistics={"max_value": 1.0, "points": len(part["points"])})
    return finish(build)


def make_store(root: Path, spec: StoreSpec | None = None, layout: Layout | None = None) -> Path:
    build = begin_store(root, spec or make_spec(), layout)
    fill_store(build)
    return build.path


class Failing(files.System):
    """The system, of which one call fails once: the nth of a name, or the nth of all (`any`)."""

    def __init__(self, call: str, nth: int, code: int) -> None:
        self.call, self.nth, self.code = call, nth, code
        self.made: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> Any:
        if name not in CALLS:
            return super().__getattribute__(name)

        def call(*arguments: Any) -> Any:
            self.made.update((name, "any"))
            if self.call in (name, "any") and self.made[self.call] == self.nth:
                raise OSError(self.code, os.strerror(self.code))
            return getattr(os, name)(*arguments)

        return call


CALLS = (
    "open",
    "read",
    "write",
    "fsync",
    "close",
    "link",
    "unlink",
    "mkdir",
    "rename",
    "stat",
    "listdir",
)
