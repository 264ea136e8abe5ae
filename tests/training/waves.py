"""A small store of signals whose images and classes are easy to learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pi_cache import Store, open_store
from pi_cache.layout import Column, Layout, SampleTable, standard_columns
from pi_cache.ledger import finish, write_shard
from pi_cache.specs import DiagramSpec, ImageSpec, SourceSpec, StoreSpec
from pi_cache.store import begin

SAMPLES, LENGTH, CHANNELS, PIXELS = 48, 8, 2, 5
LABELS = [number // 2 % 2 for number in range(SAMPLES)]


def made_store(
    root: Path,
    *,
    dtype: str = "float32",
    labels: Sequence[int] | None = LABELS,
    groups: Sequence[str] | None = None,
    status: dict[int, int] | None = None,
    channels: int = CHANNELS,
) -> Store:
    """Signals of two waves, whose images are known sums of outer products: easy, not symmetric.

    Pixel (c, p, b) of a sample of amplitudes a is a[c] / 2 where b > p, plus a[c] / 4 in row 0.
    Samples of class 1 have the first half of their wave alone.
    """
    rng = np.random.default_rng(0)
    amplitudes = rng.random((SAMPLES, channels))
    wave = np.sin(np.linspace(0, 3, LENGTH))
    signals = (amplitudes[:, None, :] * wave[None, :, None]).astype(np.float32)
    signals[np.array(LABELS) == 1, LENGTH // 2 :] = 0
    shape = np.triu(np.full((PIXELS, PIXELS), 0.5), 1)
    shape[0] += 0.25
    images = amplitudes[:, :, None, None] * shape
    spec = StoreSpec(
        source=SourceSpec(
            kind="array", sample="signal", samples=SAMPLES, channels=channels, fingerprint="ab" * 32
        ),
        diagram=DiagramSpec(),
        image=ImageSpec(pixels=PIXELS, dtype=dtype),
    )
    table = SampleTable(
        ids=[f"표본/{i:02d}" for i in range(SAMPLES)],
        labels=np.full(SAMPLES, -1) if labels is None else np.array(labels),
        groups=groups,
        splits=["test" if i % 4 == 0 else "train" for i in range(SAMPLES)],
        label_names=() if labels is None else ("walk", "run"),
    )
    inputs = Column(
        name="inputs", shape=(LENGTH, channels), dtype="float32", dimensions=("time", "channel")
    )
    columns = standard_columns(spec.image, channels, inputs=inputs)
    layout = Layout(shard_samples=SAMPLES, chunk_samples=8, point_capacity=4_000)
    build = begin(root, spec, table, columns, layout=layout)
    codes = np.zeros(SAMPLES, np.uint8)
    for number, code in (status or {}).items():
        codes[number] = code
    stored = np.round(images * 255) if dtype == "uint8" else images
    arrays = {
        "images": stored.astype(dtype),
        "status": codes,
        "points": np.empty((0, 2)),
        "offsets": np.zeros((SAMPLES, channels + 1), np.int64),
        "inputs": signals,
    }
    write_shard(build, 0, arrays)
    finish(build)
    return open_store(build.path)
