"""Small stores of samples that a test names: ids, labels, groups, splits, status."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache import Store, open_store
from pi_cache.layout import Layout, SampleTable, standard_columns
from pi_cache.ledger import finish, missing_shards, write_shard
from pi_cache.specs import DiagramSpec, ImageSpec, SourceSpec, StoreSpec
from pi_cache.store import begin
from tests.pi_cache.made import CHANNELS, INPUTS, PIXELS, make_columns, shard_columns

IDS = [f"피험자{i % 4}/{i:02d}" for i in range(24)]
LABELS = [i % 3 for i in range(24)]
GROUPS = [f"S{i % 4}" for i in range(24)]


def make_people(
    root: Path,
    ids: Sequence[str] = IDS,
    *,
    labels: Sequence[int] | None = None,
    groups: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    status: Sequence[int] | None = None,
    label_names: Sequence[str] = ("walk", "앉기", "run"),
    limit: int | None = None,
    **image: Any,
) -> Store:
    """A finished store; sample i of it holds an image of its id's hash, whatever the order."""
    count = len(ids)
    table = SampleTable(
        ids=ids,
        labels=np.array(LABELS[:count] if labels is None else labels),
        groups=groups,
        splits=splits,
        label_names=label_names,
    )
    named = repr((list(ids), table.labels.tolist(), groups, splits, status))
    source = SourceSpec(
        kind="array",
        sample="signal",
        samples=count,
        channels=CHANNELS,
        fingerprint=hashlib.sha256(named.encode()).hexdigest(),
        limit=limit,
    )
    image_spec = ImageSpec(pixels=PIXELS, dtype="float32", **image)
    spec = StoreSpec(source=source, diagram=DiagramSpec(), image=image_spec)
    layout = Layout(shard_samples=8, chunk_samples=4, point_capacity=40_000)
    columns = standard_columns(spec.image, CHANNELS, inputs=INPUTS)
    build = begin(root, spec, table, columns, layout=layout)
    arrays = make_columns(spec)
    arrays["images"][:] = np.array([image_value(one) for one in ids])[:, None, None, None]
    arrays["status"] = np.array([0] * count if status is None else status, np.uint8)
    for k in missing_shards(build):
        write_shard(build, k, shard_columns(arrays, build.sample_range(k)))
    finish(build)
    return open_store(build.path)


def image_value(name: str) -> float:
    """What the images of a sample hold, so that a row tells whose it is."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:3], "big") / (1 << 24)
