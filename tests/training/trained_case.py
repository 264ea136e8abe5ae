"""A small task of signals with persistence images, and a network trained on it a little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pi_cache.specs import DiagramSpec, ImageSpec
from pipeline.build import Options, build
from pipeline.sources import open_source
from training.tasks import DataSpec, Task, open_task
from training.trained import ModelSpec, Trained
from training.views import fit_view

SAMPLES, CHANNELS, LENGTH = 60, 2, 24


def build_signals(folder: Path) -> Path:
    """The store of 60 signals of three classes and five people, with inputs; a third is test."""
    rng = np.random.default_rng(4)
    labels = np.arange(SAMPLES) % 3
    waves = np.sin(np.arange(LENGTH)[None, :, None] * (labels[:, None, None] + 1) / 3)
    signals = waves + rng.normal(size=(SAMPLES, LENGTH, CHANNELS)) / 2
    splits = np.where(np.arange(SAMPLES) % 5 < 3, "train", "test")
    names = np.array(["걷기", "sit", "stand"])
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "a.npz", data=signals, labels=names[labels], splits=splits)
    source = open_source(f"array:{folder / 'a.npz'}", sample="signal")
    window = ImageSpec(pixels=8, birth_range=(-4, 4), persistence_range=(0, 6), dtype="float32")
    options = Options(with_inputs=True)
    return build(source, DiagramSpec(), window, root=folder, options=options).path


def signal_task(store: Path, **change: Any) -> Task:
    return open_task(DataSpec(**{"stores": {"pi": str(store)}, "validation": 0.25} | change))


def signal_network(task: Task, view: str = "inputs", steps: int = 6) -> Trained:
    """A small network after a few steps, so that its predictions are no chance."""
    torch.manual_seed(0)
    fitted = fit_view(view, task.train)
    name = "mlp-8" if fitted.dimensions == 0 else "resnet-8"
    model = ModelSpec(name=name, channels=fitted.channels, classes=3, dimensions=fitted.dimensions)
    network = model.build()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    batch = task.prepare(task.train[:])
    for _ in range(steps):
        optimiser.zero_grad()
        logits = network(fitted(batch)).logits
        torch.nn.functional.cross_entropy(logits, batch["labels"]).backward()
        optimiser.step()
    return Trained(
        network=network,
        model=model,
        view=fitted,
        class_names=task.class_names,
        record=dict(task.record),
    )
