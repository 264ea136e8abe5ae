"""A trained network asked about every sample of a side, in one order and one batch size."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec
from training.augment.corruptions import Corruption, check_identity
from training.evaluation.predictions import Predictions
from training.holding.choose import How
from training.joined import JoinedDataset
from training.loader import Loader
from training.models.outputs import Outputs
from training.tasks import Task
from training.trained import Trained

BATCH = 256
"""Samples at a time, the same everywhere: sums of floats depend on it in their last digit."""
INPUTS = "inputs"
Batch = dict[str, Tensor]


def predict(
    trained: Trained,
    samples: JoinedDataset,
    task: Task,
    *,
    features: bool = False,
    corrupt: Corruption | None = None,
    seed: int = 0,
    batch_size: int = BATCH,
    how: How = "auto",
) -> Predictions:
    """What a network says of the samples of a side, in their order.

    task: whose classes labels are given as. features: keep what the linear end reads. corrupt: what
    is done to the raw `inputs` before they are normalised; seed: of what it draws, so that every
    network sees the same on every device. Persistence images stay those of the clean samples.
    Raises InvalidSpec for a network of other classes or without logits, for a corruption that
    changes nothing that it reads, and for logits that are not finite; CorruptStore.
    """
    check_classes(trained, task)
    if corrupt is not None:
        check_reads_inputs(trained, corrupt.kind)
    read = _read_only(trained, samples)
    device = next(trained.network.parameters()).device
    change = None if corrupt is None else _corruption(corrupt, seed)
    loader = Loader(read, batch_size, how=how, shuffle=False, device=device)
    try:
        found = [_answers(trained, task.prepare(batch), features, change) for batch in loader]
    finally:
        loader.close()
    columns = {name: torch.cat([each[name] for each in found]).numpy() for name in found[0]}
    _check_finite(columns["logits"], read)
    return Predictions(
        logits=columns["logits"],
        labels=columns["labels"],
        index=columns["index"],
        ids=read.ids,
        class_names=trained.class_names,
        features=columns.get("features"),
        record={
            "samples": len(read),
            "digest": digest_of(read),
            "batch_size": batch_size,
            "device": str(device),
            "corruption": None if corrupt is None else {**corrupt.to_dict(), "seed": seed},
        },
    )


def digest_of(samples: JoinedDataset) -> str:
    """SHA-256 of the sorted ids, as a task's record has it for each side."""
    return hashlib.sha256(json.dumps(sorted(samples.ids.tolist())).encode()).hexdigest()


def check_classes(trained: Trained, task: Task) -> None:
    """Raise InvalidSpec unless the network gives logits of the classes of a task, in order."""
    if not trained.model.classes:
        raise InvalidSpec(
            f"{trained.model.name} gives images, not classes; `training predict-pis` writes them"
        )
    if trained.class_names != task.class_names:
        raise InvalidSpec(
            f"the network knows {len(trained.class_names)} classes"
            f" ({', '.join(trained.class_names[:5])}, ...), these samples have"
            f" {len(task.class_names)} ({', '.join(task.class_names[:5])}, ...); evaluate it on"
            " stores with the classes that it was trained on"
        )


def check_reads_inputs(trained: Trained, kind: str) -> None:
    """Raise InvalidSpec where a corruption of raw samples changes no array that is read."""
    if INPUTS not in trained.view.names:
        raise InvalidSpec(
            f"{kind} changes raw samples, and this network reads {trained.view}, which was computed"
            " from clean ones: it would seem robust and was not tested. Corrupt the data, build"
            " their stores, and evaluate on those with --store NAME=KEY"
        )


def _read_only(trained: Trained, samples: JoinedDataset) -> JoinedDataset:
    """The same samples with the arrays that the network reads, and no others."""
    missing = [name for name in trained.view.names if name not in samples.parts]
    if missing:
        raise InvalidSpec(
            f"the network reads {trained.view}, these stores have no {', '.join(missing)}; there"
            f" are {', '.join(samples.parts)}; name a store with --store NAME=KEY"
        )
    known = [name for name in ("labels", "index") if name in samples.numbers]
    names = [*trained.view.names, *known]
    return JoinedDataset(samples.joined, names=names, dtype=samples.dtype).view(samples.index)


def _corruption(corruption: Corruption, seed: int) -> Callable[[Tensor], Tensor]:
    """The corruption of batches, one after the other, its identity at level 0 proved on each.

    On the CPU, as the numbers that another device draws from a seed are others.
    """
    generator = torch.Generator().manual_seed(seed)

    def change(batch: Tensor) -> Tensor:
        clean = batch.cpu()
        check_identity(corruption, clean, generator)  # draws nothing
        return corruption(clean, generator)[0].to(batch.device)

    return change


def _answers(
    trained: Trained,
    batch: Mapping[str, Tensor],
    features: bool,
    change: Callable[[Tensor], Tensor] | None,
) -> Batch:
    """Logits, labels, index and features of a batch, on the CPU."""
    given = dict(batch)
    if change is not None:
        given[INPUTS] = change(given[INPUTS])
    outputs: Outputs = trained(given)
    nobody = torch.full((len(outputs.logits),), -1, dtype=torch.int64)
    found = {
        "logits": outputs.logits.float(),
        "labels": batch.get("labels", nobody),
        "index": batch["index"],
    }
    if features:
        found["features"] = outputs.maps["pooled"].float()
    return {name: value.cpu() for name, value in found.items()}


def _check_finite(logits: Any, samples: JoinedDataset) -> None:
    broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(broken):
        raise InvalidSpec(
            f"logits of {len(broken)} of {len(logits)} samples are NaN or infinite, the first of"
            f" {samples.ids[broken[0]]!r}; the network diverged in training: lower its learning"
            " rate, or clip gradients"
        )
