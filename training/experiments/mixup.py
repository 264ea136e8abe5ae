"""Mixup of the teacher's and of the student's samples in distillation.

Choi et al., WACV 2023, arXiv 2211.03946.
"""

from __future__ import annotations

from typing import Any

from training.experiments.description import CPU, FULL, SMOKE, Description, Paper, Scale
from training.experiments.grouped import grouped_v_scores
from training.experiments.photographs import (
    CONFIG,
    DIFFERS,
    PIXELS,
    images,
    photographs,
    placed,
    shorter,
)
from training.experiments.plans import plan_of

LIMIT = {SMOKE: None, CPU: 2_500, FULL: None}
EPOCHS = 8
STUDENT = {SMOKE: "resnet-8", CPU: "resnet-14", FULL: "resnet-56"}
TEACHER = {SMOKE: "resnet-8", CPU: "resnet-26", FULL: "resnet-110"}
FULL_MIXUP = ["mixup:both=true"]
PARTIAL = ["mixup:kept=0.9,replacement=true,both=true"]
CONVENTIONAL = {"method": "mixup-kd", "settings": {"conventional": True}}
GROUPS = {
    "similar": ("bird", "cat", "deer", "dog", "horse"),
    "different": ("airplane", "automobile", "cat", "frog", "ship"),
}

PAPER = Paper(
    title="Choi et al., WACV 2023, arXiv 2211.03946",
    claim="A teacher trained with mixup teaches worse, a student trained with it learns better or"
    " as well; partial mixup and rescaled logits are the proposal. V-scores of similar classes fall"
    " with mixup. The tables were NOT FOUND",
    source="CIFAR-100, accuracy %, teacher ResNet-110, student ResNet-56, T = 4, read off figures 2"
    " and 3",
    reported=(
        ("T and S", "75.0"),
        ("Mix-T and S", "74.7"),
        ("Mix-T and Mix-S", "73.9"),
        ("T and Mix-S", "75.3"),
        ("student alone, with mixup", "72.4, 73.0"),
        ("V-score, similar classes: S, Mix-S, T and S, Mix-T and S", "0.82, 0.59, 0.66, 0.52"),
        ("V-score, different classes: S, Mix-S, T and S", "0.98, 0.90, 0.90"),
    ),
)


def arms(teacher: str) -> list[dict[str, Any]]:
    """Teacher and student with mixup or not, the four cases, partial mixup, rescaled logits."""
    plain, mixed = ["teacher"], ["teacher-mixed"]
    partial = {"augment": PARTIAL, "teachers": plain}
    return [
        {"name": "teacher", "model": teacher, "seeds": [0]},
        {"name": "teacher-mixed", "model": teacher, "seeds": [0], "augment": FULL_MIXUP},
        {"name": "student"},
        {"name": "student-mixed", "augment": FULL_MIXUP},
        {"name": "t-s", "teachers": plain, **CONVENTIONAL},
        {"name": "mix-t-s", "teachers": mixed, **CONVENTIONAL},
        {"name": "t-mix-s", "teachers": plain, **CONVENTIONAL, "augment": FULL_MIXUP},
        {"name": "mix-t-mix-s", "teachers": mixed, **CONVENTIONAL, "augment": FULL_MIXUP},
        {"name": "t-partial-s", **CONVENTIONAL, **partial},
        {"name": "rescaled-t-s", "method": "mixup-kd", "teachers": plain},
        {"name": "rescaled-t-partial-s", "method": "mixup-kd", **partial},
    ]


def scale(name: str) -> Scale:
    """What runs at a scale."""
    limit = LIMIT[name]
    config = {**CONFIG[name], **({"epochs": EPOCHS} if name == CPU else {})}
    made = [_cropped(arm) for arm in arms(TEACHER[name])] if name == FULL else arms(TEACHER[name])
    return Scale(
        needs=photographs(name, images(PIXELS[name]), {}, limit=limit),
        plan=plan_of(name, made, model=STUDENT[name], config=config, preset="mixup-cifar100"),
        data=placed(name, limit),
        differs=(
            *DIFFERS[name],
            *shorter(name, limit, EPOCHS, paper=240),
            *(() if name == FULL else ("Images are neither cropped nor flipped.",)),
            "CIFAR-10 instead of CIFAR-100, and V-scores of test samples instead of training"
            " samples, with classes of our choice. Partial mixup is that of the released code, in"
            " which 41 % of the pairs stay mixed, and not the 10 % that its README says. NLL and"
            " ECE of rescaled arms are of plain logits, whose scale their loss leaves open.",
        ),
    )


def _cropped(arm: dict[str, Any]) -> dict[str, Any]:
    """An arm that crops and flips first, as the paper does."""
    return {**arm, "augment": ["pad-crop:padding=4", "flip", *arm.get("augment", [])]}


MIXUP = Description(
    name="mixup",
    title="Mixup in distillation: four cases, partial mixup, rescaled logits",
    shows="Who is trained with mixup: nobody, the teacher, the student, both; partial mixup and"
    " rescaled logits; V-scores of similar and of different classes.",
    paper=PAPER,
    scales={name: scale(name) for name in (SMOKE, CPU, FULL)},
    claims=(
        ("mix-t-s", "t-s"),
        ("t-mix-s", "t-s"),
        ("mix-t-mix-s", "t-mix-s"),
        ("t-partial-s", "t-mix-s"),
        ("rescaled-t-s", "t-s"),
        ("rescaled-t-partial-s", "t-mix-s"),
    ),
    figures=("reliability", "embedding"),
    shown=(
        "teacher",
        "teacher-mixed",
        "student",
        "student-mixed",
        "t-s",
        "mix-t-s",
        "t-mix-s",
        "mix-t-mix-s",
    ),
    tables=(grouped_v_scores(GROUPS),),
)
