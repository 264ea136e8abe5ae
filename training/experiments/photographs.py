"""CIFAR-10 as experiments read it: JPEG copies, or the release itself where it is at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.experiments.description import CPU, FULL, SMOKE
from training.experiments.needs import Counts, Needs

SIDE = 32
CLASSES = 10
FEW = (8, 3)
"""Training and test images of each class at smoke scale, unless an experiment takes others."""
WHOLE = (50_000, 5_000)
"""Training and test images of the JPEG copies at hand."""
VALIDATION = {SMOKE: 0.25, CPU: 0.02, FULL: 0.02}
"""Share of the training images that chooses epochs; of few that of smoke scale."""
JPEG = "Photographs are JPEG copies of CIFAR-10, and no number on them is one of CIFAR-10."
PIXELS = {SMOKE: 16, CPU: 50, FULL: 50}
RECIPE = ("build-pis", "--recipe", "tgd-cifar10", "--dtype", "uint8")
CONFIG: Mapping[str, Mapping[str, Any]] = {
    SMOKE: {"epochs": 1, "batch_size": 32, "learning_rate": 0.05, "threads": 1},
    CPU: {
        "epochs": 10,
        "batch_size": 64,
        "learning_rate": 0.1,
        "weight_decay": 5e-4,
        "schedule": "steps:0.2@40%,65%,85%",
        "channels_last": True,
        "threads": 1,
    },
    FULL: {"channels_last": True},
}
WHOLE_BATCHES: Mapping[str, dict[str, Any]] = {SMOKE: {}, CPU: {"drop_last": True}, FULL: {}}
"""Beside CONFIG where samples of a batch are compared: four of them in a last one threw off TGD's
students."""
DIFFERS: Mapping[str, tuple[str, ...]] = {
    SMOKE: ("This scale shows that all of it runs, and its numbers mean nothing.", JPEG),
    CPU: (JPEG, "Weights of terms are the paper's, and were chosen for its schedule."),
    FULL: (
        "1,000 training images are held out for validation. Without cifar-10-batches-bin in the"
        " data, photographs are JPEG copies of CIFAR-10, with 5,000 test images.",
    ),
}


def images(pixels: int) -> dict[str, tuple[str, ...]]:
    """The store of persistence images of photographs, as `pi`: that of TGD."""
    return {"pi": (*RECIPE, "--pixels", str(pixels))}


def photographs(
    scale: str,
    stores: Mapping[str, tuple[str, ...]],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    limit: int | None = None,
    each: tuple[int, int] | None = None,
) -> Needs:
    """What an experiment on photographs needs at a scale.

    limit: training images that runs take. each: training and test images of each class that are
    unpacked; None for FEW at smoke scale, and for all of them at others.
    """
    few = each or (FEW if scale == SMOKE else None)
    train, test = WHOLE if few is None else (few[0] * CLASSES, few[1] * CLASSES)
    held = round(train * share(scale, each))
    return Needs(
        data="CIFAR-10: cifar10_jpeg; at full scale cifar-10-batches-bin, if there",
        archives="cifar10_jpeg/*.tar.xz",
        name="cifar10_jpeg" if few is None else f"cifar10_jpeg-{few[0]}-{few[1]}",
        keep=".*" if few is None else _members(*few),
        inside="cifar10",
        source="imagefolder:{path}",
        whole=("cifar-10-batches-bin", "cifar10:{path}") if scale == FULL else None,
        stores=stores,
        shapes={"inputs": (3, SIDE, SIDE), **shapes},
        counts=Counts(
            train=min(limit or train, train - held), validation=held, test=test, classes=CLASSES
        ),
    )


def _members(train: int, test: int) -> str:
    """A pattern of the first so many images of each class."""
    first, second = ("|".join(f"{number:04d}" for number in range(n)) for n in (train, test))
    return rf"cifar10/(train/\w+/({first})|test/\w+/({second}))\.jpg"


def share(scale: str, each: tuple[int, int] | None = None) -> float:
    """Of the training images, which chooses epochs."""
    return VALIDATION[SMOKE] if each else VALIDATION[scale]


def placed(
    scale: str, limit: int | None = None, *, each: tuple[int, int] | None = None
) -> dict[str, Any]:
    """[data] of a plan, beside stores."""
    found: dict[str, Any] = {"validation": share(scale, each)}
    return found if limit is None else {"limit": limit, **found}


def shorter(scale: str, limit: int | None, epochs: int, *, paper: int = 200) -> tuple[str, ...]:
    """The sentence on how long runs of a scale are. paper: epochs of its own."""
    if scale == CPU:
        return (
            f"{limit or WHOLE[0]:,} training images instead of 50,000, {WHOLE[1]:,} test images"
            f" instead of 10,000, and {epochs} epochs instead of {paper}.",
        )
    return ("The schedule is the paper's.",) if scale == FULL else ()
