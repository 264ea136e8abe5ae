"""PI-Net's DenseNet on photographs: alone, with exact images, and with those of PI-Nets.

Som et al., CVPR Workshops 2020, arXiv 1906.01769.
"""

from __future__ import annotations

from typing import Any

from training.augment.corruptions import Levels
from training.experiments.description import CPU, FULL, SMOKE, Description, Paper, Scale
from training.experiments.errors import error_table
from training.experiments.exacttimes import time_table
from training.experiments.fits import Fit
from training.experiments.photographs import CLASSES, CONFIG, DIFFERS, JPEG, photographs, placed
from training.experiments.plans import plan_of

EACH = {SMOKE: (3, 1), CPU: (150, 50), FULL: None}
"""Training and test images of each class; all at full scale."""
PIXELS = 32
"""As many as a photograph has, so that images join it as channels."""
SMALL = {SMOKE: 10, CPU: 16, FULL: 40}
"""Depth."""
EPOCHS = {SMOKE: 1, CPU: 10, FULL: 300}
BASE = {SMOKE: 10, CPU: 400, FULL: 10_000}
SUBSET = {SMOKE: 20, CPU: 800, FULL: 20_000}
"""Of training images: those that the PI-Net was fitted to, and as many others."""
ADAM = {"optimizer": "adam", "learning_rate": 5e-4, "betas": [0.9, 0.999], "schedule": "constant"}
FITTED: dict[str, dict[str, Any]] = {
    SMOKE: {"epochs": 1, "batch_size": 16, "threads": 1, "weight_decay": 0.0, **ADAM},
    CPU: {"epochs": 4, "batch_size": 16, "threads": 1, "weight_decay": 0.0, **ADAM},
    FULL: {"epochs": 100, "batch_size": 128, "weight_decay": 0.0, **ADAM},
}

PAPER = Paper(
    title="Som et al., CVPR Workshops 2020, arXiv 1906.01769",
    claim="A DenseNet takes persistence images beside photographs: exact ones, those of a PI-Net,"
    " and those of a PI-Net that was fine-tuned on all or on a subset of the data; it is tested"
    " under Gaussian noise at four levels. All tables and the noise levels were NOT FOUND",
)


def classifiers() -> dict[str, str]:
    """The view of each arm: photographs alone, and with images as channels behind theirs."""
    names = ("pi", "pinet", "pinet-fs", "pinet-fa")
    return {"densenet": "inputs", **{f"densenet-{name}": f"inputs+{name}" for name in names}}


def fits(name: str) -> tuple[Fit, ...]:
    """A PI-Net of some photographs, and two that begin with it: of a subset, and of all."""
    given: dict[str, Any] = {"net": "pi-net-image", "config": FITTED[name]}
    return (
        Fit(name="pinet", limit=BASE[name], **given),
        Fit(name="pinet-fs", limit=SUBSET[name], start="pinet", **given),
        Fit(name="pinet-fa", start="pinet", **given),
    )


def scale(name: str) -> Scale:
    """What runs at a scale."""
    words = ("build-pis", "--recipe", "tgd-cifar10", "--scan", "rows", "--dtype", "uint8")
    shape = (3, PIXELS, PIXELS)
    config = {**CONFIG[CPU if name == FULL else name], "epochs": EPOCHS[name]}
    counts = EACH[name]
    return Scale(
        needs=photographs(
            name,
            {"pi": (*words, "--pixels", str(PIXELS))},
            {"pi": shape, **{each.name: shape for each in fits(name)}},
            each=counts,
        ),
        plan=plan_of(
            name,
            [{"name": arm, "view": view} for arm, view in classifiers().items()],
            model="densenet-40-12",
            model_options={"depth": SMALL[name]},
            config=config,
        ),
        data=placed(name, each=counts),
        fits=fits(name),
        differs=(
            *((JPEG,) if name == CPU else DIFFERS[name]),
            *(_counted(*counts) if counts else ()),
            f"A DenseNet of depth {SMALL[name]}; the paper's depth and schedules were NOT FOUND."
            " Images are of rows, 32 x 32 pixels, joined to photographs as channels. The PI-Net"
            " that is fine-tuned was fitted to a part of the same photographs, not to another data"
            " set; the subset is that part and as many others. Noise has the five levels of"
            " CIFAR-10-C; exact images and those of PI-Nets are made anew of noisy photographs.",
        ),
    )


def _counted(train: int, test: int) -> tuple[str]:
    """The sentence on how many photographs there are, of counts of each class."""
    return (
        f"{CLASSES * train:,} photographs train and validate instead of 50,000, and"
        f" {CLASSES * test:,} test instead of 10,000.",
    )


DENSENET = Description(
    name="densenet",
    title="PI-Net: a DenseNet with persistence images beside photographs",
    shows="Photographs alone, with exact images, and with those of a PI-Net: as fitted, fine-tuned"
    " on a subset, on all; under noise; what an image costs exactly and by a PI-Net.",
    paper=PAPER,
    scales={name: scale(name) for name in (SMOKE, CPU, FULL)},
    baseline="densenet",
    claims=(
        ("densenet-pi", "densenet"),
        ("densenet-pinet-fa", "densenet-pi"),
        ("densenet-pinet-fs", "densenet-pi"),
    ),
    corrupt=(Levels("noise"),),
    figures=("reliability", "robustness"),
    tables=(error_table, time_table),
)
