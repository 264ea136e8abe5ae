"""A small task of signals, and networks, a method and a teacher for runs of a second."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pi_cache import Store, open_store
from pi_cache.layout import Column, Layout, SampleTable, standard_columns
from pi_cache.ledger import finish, missing_shards, write_shard
from pi_cache.specs import DiagramSpec, ImageSpec, SourceSpec, StoreSpec
from pi_cache.store import begin
from training.augment.augmenter import Augmenter
from training.augment.batches import AugmentedBatches
from training.augment.signals import GaussianNoise, Shift
from training.losses.kd import cross_entropy_batch_mean, kl_batch_mean
from training.methods.base import Method, Term, Terms
from training.models.outputs import Outputs
from training.tasks import DataSpec, Task, open_task
from training.trained import ModelSpec, Trained
from training.trainer.config import TrainConfig
from training.trainer.objectives import Distilled, Supervised
from training.views import View, fit_view

LENGTH, CHANNELS, PIXELS, CLASSES = 12, 2, 4, 3
INPUTS = Column(
    name="inputs", shape=(LENGTH, CHANNELS), dtype="float32", dimensions=("time", "channel")
)


def make_signals(root: Path, samples: int = 60, *, labels: Sequence[int] | None = None) -> Store:
    """A finished store of waves and images, each of a kind for its class, with noise."""
    rng = np.random.default_rng(3)
    kinds = np.array([i % CLASSES for i in range(samples)] if labels is None else labels)
    table = SampleTable(
        ids=[f"표본/{i:03d}" for i in range(samples)],
        labels=kinds,
        splits=["test" if i % 5 == 4 else "train" for i in range(samples)],
        label_names=("걷기", "sit", "run"),
    )
    source = SourceSpec(
        kind="array",
        sample="signal",
        samples=samples,
        channels=CHANNELS,
        fingerprint=hashlib.sha256(repr(kinds.tolist()).encode()).hexdigest(),
    )
    image = ImageSpec(pixels=PIXELS, dtype="float32")
    spec = StoreSpec(source=source, diagram=DiagramSpec(), image=image)
    columns = standard_columns(spec.image, CHANNELS, inputs=INPUTS)
    layout = Layout(shard_samples=64, chunk_samples=8, point_capacity=40_000)
    build = begin(root, spec, table, columns, layout=layout)
    time = np.arange(LENGTH)[None, :, None] * (kinds.clip(0) + 1)[:, None, None]
    images = rng.random((samples, CHANNELS, PIXELS, PIXELS)) / 2
    images[np.arange(samples), 0, kinds.clip(0), 0] += 0.5
    arrays = {
        "images": images.astype(np.float32),
        "status": np.zeros(samples, np.uint8),
        "points": np.zeros((0, 2)),
        "offsets": np.zeros((samples, CHANNELS + 1), np.int64),
        "inputs": (np.sin(time) + rng.normal(0, 0.5, (samples, LENGTH, CHANNELS))).astype("f4"),
    }
    for k in missing_shards(build):
        part = build.sample_range(k)
        rows = {n: v[part.start : part.stop] for n, v in arrays.items() if n != "points"}
        write_shard(build, k, {**rows, "points": arrays["points"]})
    finish(build)
    return open_store(build.path)


def open_signals(store: Store, **settings: Any) -> Task:
    """The task of a store: its stored splits, and a validation part."""
    return open_task(DataSpec(**{"stores": {"pi": str(store.path)}, "validation": 0.2, **settings}))


@dataclass(frozen=True, kw_only=True)
class Hinted(Method):
    """KD and a projector that learns to give a teacher's pooled features."""

    name: ClassVar[str] = "hinted"
    source: ClassVar[str] = "a method of the tests"
    stages: ClassVar[bool] = True
    weight: float = 0.5

    def learned(self, student: Outputs, teachers: Sequence[Outputs]) -> nn.ModuleDict:
        sizes = student.maps["pooled"].shape[1], teachers[0].maps["pooled"].shape[1]
        return nn.ModuleDict({"projector": nn.Linear(*sizes)})

    def terms(
        self,
        student: Outputs,
        teachers: Sequence[Outputs],
        targets: Tensor,
        learned: nn.ModuleDict,
    ) -> Terms:
        (teacher,) = teachers
        hint = learned["projector"](student.maps["pooled"]) - teacher.maps["pooled"]
        return {
            "ce": Term(1.0, cross_entropy_batch_mean(student.logits, targets)),
            "kd": Term(2.0, kl_batch_mean(student.logits, teacher.logits, temperature=2.0)),
            "hint": Term(self.weight, hint.square().mean()),
        }


def make_model(view: View, **options: Any) -> ModelSpec:
    """A small MLP with norms and dropout."""
    settings = {"layers": 3, "width": 8, "dropout": 0.3, **options}
    return ModelSpec(
        name="mlp-8", channels=view.channels, classes=CLASSES, dimensions=0, options=settings
    )


def built(model: ModelSpec, seed: int = 0) -> nn.Module:
    """Its network, drawn from a seed."""
    torch.manual_seed(seed)
    return model.build()


def make_teacher(task: Task, seed: int = 7) -> Trained:
    """A teacher of the images; it knows nothing, which a method need not care about."""
    view = fit_view("vector(pi)", task.train)
    model = make_model(view, width=6)
    return Trained(
        network=built(model, seed), model=model, view=view, class_names=task.class_names, record={}
    )


def supervised(task: Task, seed: int = 0, **options: Any) -> tuple[Supervised, ModelSpec]:
    """An objective of labels, and its model."""
    view = fit_view("vector(inputs)", task.train)
    model = make_model(view, **options)
    return Supervised(built(model, seed), view), model


def distilled(task: Task, seed: int = 0, **options: Any) -> tuple[Distilled, ModelSpec]:
    """An objective with a teacher and a projector, and its model."""
    view = fit_view("vector(inputs)", task.train)
    model = make_model(view, **options)
    return Distilled(built(model, seed), view, Hinted(), [make_teacher(task)]), model


def augmented(store: Store, seed: int = 5) -> AugmentedBatches:
    """Signals with noise, shifted in time; drawn from a generator of its own."""
    steps = [GaussianNoise(deviation=0.1), Shift(share=0.2)]
    return AugmentedBatches(Augmenter(steps, seed=seed), {"pi": store}, allow_stale=True)


def config(**settings: Any) -> TrainConfig:
    """Of runs of a second."""
    return TrainConfig(**{"epochs": 3, "batch_size": 8, "learning_rate": 0.05, **settings})
