"""Augmentation in distillation for wearables: early-stopped teachers, and who is augmented.

Jeon et al., IEEE IoT Journal 2021, arXiv 2201.00111.
"""

from __future__ import annotations

from typing import Any

from training.experiments.description import CPU, FULL, SMOKE, Description, Paper, Scale
from training.experiments.plans import plan_of
from training.experiments.windows import (
    CONFIG,
    DIFFERS,
    REMOVAL,
    fewer,
    images,
    placed,
    windows,
)

LIMIT = {SMOKE: None, CPU: 1_200, FULL: None}
EPOCHS = 6
STUDENT = {SMOKE: "resnet-8", CPU: "wrn-16-1", FULL: "wrn-16-1"}
TEACHER = {SMOKE: "resnet-8", CPU: "wrn-16-2", FULL: "wrn-16-3"}
PEOPLE = {SMOKE: 2, CPU: 2, FULL: 1}
"""Left out together."""
AUGMENTATIONS = {
    "removal": [REMOVAL],
    "noise": ["gaussian-noise"],
    "shift": ["shift"],
    "mix1": [REMOVAL, "shift"],
    "mix2": [REMOVAL, "gaussian-noise", "shift"],
}

PAPER = Paper(
    title="Jeon et al., IEEE IoT Journal 2021, arXiv 2201.00111",
    claim="A teacher that was stopped early teaches better than one that was trained to the end;"
    " augmenting the student matters more than augmenting the teacher, and Mix1 on the student is a"
    " strong choice. The tables of augmentations were NOT FOUND",
    source="GENEActiv, 7 classes, accuracy % of WRN-16-1, windows of 1000 / 500",
    reported=(
        ("student alone", "89.29 ± 0.32 / 86.83 ± 0.15"),
        ("early-stopped teacher, WRN-16-3", "89.88 ± 0.07 / 88.16 ± 0.15"),
        ("full teacher, WRN-16-3", "89.84 ± 0.21 / 87.05 ± 0.19"),
    ),
)


def arms(teacher: str) -> list[dict[str, Any]]:
    """Early-stopped and full teachers; each augmentation on the student, and on both."""
    found: list[dict[str, Any]] = [
        {"name": "teacher", "model": teacher, "seeds": [0]},
        {"name": "student"},
        {"name": "eskd", "method": "eskd", "teachers": ["teacher"]},
        {"name": "full-kd", "method": "full-kd", "teachers": ["teacher"]},
    ]
    for name, augment in AUGMENTATIONS.items():
        own = {"name": f"teacher-{name}", "model": teacher, "seeds": [0], "augment": augment}
        learned = {"method": "eskd", "augment": augment}
        found += [
            own,
            {"name": f"{name}-student", "teachers": ["teacher"], **learned},
            {"name": f"{name}-both", "teachers": [own["name"]], **learned},
        ]
    return found


def scale(name: str) -> Scale:
    """What runs at a scale."""
    limit = LIMIT[name]
    config = {**CONFIG[name], **({"epochs": EPOCHS} if name == CPU else {})}
    return Scale(
        needs=windows(name, images(name), {}, limit=limit, people=PEOPLE[name]),
        plan=plan_of(
            name,
            arms(TEACHER[name]),
            folds="all",
            model=STUDENT[name],
            config=config,
            preset="eskd-geneactiv",
        ),
        data=placed(limit),
        differs=(
            *DIFFERS[name],
            *fewer(name, limit, EPOCHS),
            "Sizes of augmentations were NOT FOUND: removal up to 20 % of a window, to the middle"
            " of the scale, shift up to 10 %, noise of 0.2 of its deviation. A teacher is"
            " shown the student's batch, augmented or not. An early-stopped teacher is its best"
            " epoch on validation data.",
        ),
    )


AUGMENTATION = Description(
    name="augmentation",
    title="Augmentation in distillation for wearables",
    shows="Early-stopped against full teachers; removal, noise, shift, Mix1 and Mix2 on the student"
    " alone, and on both.",
    paper=PAPER,
    scales={name: scale(name) for name in (SMOKE, CPU, FULL)},
    pairs="folds",
    claims=(
        ("eskd", "full-kd"),
        ("mix1-student", "eskd"),
        ("mix2-student", "eskd"),
        ("mix1-student", "mix1-both"),
        ("mix2-student", "mix2-both"),
    ),
    metrics=("accuracy", "f1_macro"),
    figures=("confusion",),
    shown=("teacher", "student", "eskd", "full-kd", "mix1-student", "mix1-both"),
)
