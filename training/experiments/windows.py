"""SisFall as experiments read it: windows of 3 s of three axes, and people that are held out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.experiments.description import CPU, FULL, SMOKE
from training.experiments.needs import Counts, Needs

AXES = 3
LENGTH = 150
KEEP = r"SisFall_dataset/SA0[1-4]/(D01|D03|D05|F01)_SA0\d_R01\.txt"
STEP = {SMOKE: "6s", CPU: "1.5s", FULL: "1.5s"}
FITTED = "SA01,SA02"
"""People on whom the scale is fitted; they always train."""
PIXELS = {SMOKE: 16, CPU: 32, FULL: 64}
MIDDLE = 0.5
"""Of the scale, near what a sensor at rest tells: its end, 0, is a strong blow."""
REMOVAL = f"removal:fill={MIDDLE}"
RECIPE = ("build-pis", "--recipe", "tda-kd-pamap2-corrected")
CONFIG: Mapping[str, Mapping[str, Any]] = {
    SMOKE: {"epochs": 1, "batch_size": 32, "learning_rate": 0.05, "threads": 1},
    CPU: {
        "epochs": 8,
        "batch_size": 64,
        "learning_rate": 0.05,
        "weight_decay": 1e-4,
        "schedule": "steps:0.2@40%,65%,85%",
        "threads": 1,
    },
    FULL: {},
}
DIFFERS: Mapping[str, tuple[str, ...]] = {
    SMOKE: ("This scale shows that all of it runs, and its numbers mean nothing.",),
    **dict.fromkeys(
        (CPU, FULL),
        (
            "Windows of 3 s of SisFall (ten people), one each 1.5 s, instead of the paper's data;"
            " scaled on SA01 and SA02, who always train.",
        ),
    ),
}


def windows(
    scale: str,
    stores: Mapping[str, tuple[str, ...]],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    limit: int | None = None,
    people: int = 1,
) -> Needs:
    """What an experiment on windows needs at a scale.

    people: who are left out together. limit: training windows that runs take. At smoke scale four
    people and four of their recordings are unpacked.
    """
    small = scale == SMOKE
    held = ("--leave-one-group-out",) if people == 1 else ("--leave-groups-out", str(people))
    everybody = 4 if small else 10
    each = 40 if small else 515
    left = everybody - people
    validating = max(1, round(0.2 * left))
    train = each * (left - validating)
    return Needs(
        data="SisFall: sisfall",
        archives="sisfall/*.tar.xz",
        name="sisfall-smoke" if small else "sisfall",
        keep=KEEP if small else ".*",
        inside="SisFall_dataset",
        source="sisfall:{path}",
        options=(
            "window=3s",
            f"step={STEP[scale]}",
            "resample=mean:4",
            "scale=fitted:minmax",
            "channels=adxl345_x,adxl345_y,adxl345_z",
            f"fit_on=subjects:{FITTED}",
        ),
        stores=stores,
        shapes={"inputs": (AXES, LENGTH), **shapes},
        folds=(*held, "--always-train", FITTED, "--validation", "0.2", "--groups"),
        counts=Counts(
            train=min(limit or train, train),
            validation=each * validating,
            test=each * people,
            classes=4 if small else 13,
            folds=(everybody - 2) // people,
        ),
    )


def images(scale: str) -> dict[str, tuple[str, ...]]:
    """The store of persistence images of windows, as `pi`."""
    return {"pi": (*RECIPE, "--pixels", str(PIXELS[scale]))}


def image_shape(scale: str) -> tuple[int, ...]:
    """Of one sample of that store."""
    return AXES, PIXELS[scale], PIXELS[scale]


def placed(limit: int | None = None) -> dict[str, Any]:
    """[data] of a plan, beside stores; folds have validation sides of their own."""
    found: dict[str, Any] = {"validation": 0.0}
    return found if limit is None else {"limit": limit, **found}


def fewer(
    scale: str, limit: int | None, epochs: int, *, paper: int | None = None
) -> tuple[str, ...]:
    """The sentence on how long runs of a scale are. paper: epochs of its own, where found."""
    known = "the paper's was NOT FOUND" if paper is None else f"the paper's has {paper}"
    if scale == CPU:
        size = "all" if limit is None else f"{limit:,}"
        return (f"{size} training windows of a fold; a schedule of {epochs} epochs, {known}.",)
    return (f"The schedule is that of TDA_KD; {known}.",) if scale == FULL else ()
