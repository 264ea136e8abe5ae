"""Stores whose bytes do not compress, of any size."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from pi_cache.layout import Layout, SampleTable, standard_columns
from pi_cache.ledger import finish, missing_shards, write_shard
from pi_cache.specs import DiagramSpec, ImageSpec, SourceSpec, Status, StoreSpec
from pi_cache.store import begin

SAMPLE = 2 * 50 * 50 * 4
"""Bytes of the images of a sample."""


def make_large(root: Path, size: int, shard: int = 1 << 20) -> Path:
    """A store of about `size` bytes, in shards of about `shard`: noise, which stays as large."""
    samples, rng = size // SAMPLE, np.random.default_rng(3)
    spec = StoreSpec(
        source=SourceSpec(
            kind="arrays",
            sample="signal",
            samples=samples,
            channels=2,
            fingerprint=hashlib.sha256(b"noise").hexdigest(),
            location="/somewhere",
        ),
        diagram=DiagramSpec(),
        image=ImageSpec(pixels=50, dtype="float32"),
    )
    table = SampleTable(
        ids=[str(i) for i in range(samples)], labels=np.arange(samples) % 2, label_names=("a", "b")
    )
    layout = Layout(shard_samples=shard // SAMPLE, point_capacity=1 << 14)
    build = begin(root, spec, table, standard_columns(spec.image, 2), layout=layout)
    for k in missing_shards(build):
        count = len(build.sample_range(k))
        columns = {
            "images": rng.random((count, 2, 50, 50), dtype=np.float32),
            "status": np.full(count, Status.OK, np.uint8),
            "points": np.empty((0, 2)),
            "offsets": np.zeros((count, 3), np.int64),
        }
        write_shard(build, k, columns)
    finish(build)
    return build.path
