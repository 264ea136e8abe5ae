"""How alike samples look to each stage of a network: what SP and TGD compare.

G = A A^T, rows divided by their L2 norm, of samples sorted by class
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pi_cache.errors import InvalidSpec
from training.joined import JoinedDataset
from training.losses.shapes import unit_rows
from training.losses.similarity import similarity
from training.tasks import Task
from training.trained import Trained

SAMPLES = 64


class Maps(NamedTuple):
    """labels: (n,) ascending. stages: (n, n) by name of the stage."""

    labels: NDArray[np.int64]
    stages: dict[str, NDArray[np.float32]]


def similarity_maps(
    trained: Trained, samples: JoinedDataset, task: Task, *, count: int = SAMPLES, seed: int = 0
) -> Maps:
    """Similarity maps of a batch drawn from a side, sorted by class.

    Raises InvalidSpec for a side without labelled samples.
    """
    labels = task.prepare({"labels": torch.from_numpy(samples.numbers["labels"])})["labels"].numpy()
    known = np.flatnonzero(labels >= 0)
    if not len(known):
        raise InvalidSpec("no sample of this side has a label to be sorted by")
    drawn = np.random.default_rng(seed).permutation(known)[:count]
    order = drawn[np.argsort(labels[drawn], kind="stable")]
    device = next(trained.network.parameters()).device
    batch = {k: v.to(device) for k, v in task.prepare(samples.batch(order)).items()}
    outputs = trained(batch)
    stages = {
        name: unit_rows(similarity(maps.float())).cpu().numpy()
        for name, maps in outputs.maps.items()
    }
    return Maps(labels[order].astype(np.int64), stages)
