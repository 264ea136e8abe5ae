"""Angular margin distillation (AMD) against KD, AT, SP and AFD.

Jeon et al., Neurocomputing 518, 2023, arXiv 2302.14130.
"""

from __future__ import annotations

from typing import Any

from training.experiments.description import CPU, FULL, SMOKE, Description, Paper, Scale
from training.experiments.photographs import (
    CONFIG,
    DIFFERS,
    PIXELS,
    WHOLE_BATCHES,
    images,
    photographs,
    placed,
    shorter,
)
from training.experiments.plans import plan_of

LIMIT = {SMOKE: None, CPU: 2_000, FULL: None}
EPOCHS = 7
STUDENT = {SMOKE: "resnet-8", CPU: "wrn-16-1", FULL: "wrn-16-1"}
TEACHERS = {
    SMOKE: ("resnet-14", "resnet-8"),
    CPU: ("wrn-28-1", "wrn-16-2"),
    FULL: ("wrn-28-1", "wrn-16-3"),
}
"""The deeper, and the wider one: teacher capacity."""
ABLATION = {
    "a": ("angular",),
    "p": ("positive",),
    "n": ("negative",),
    "ap": ("angular", "positive"),
    "an": ("angular", "negative"),
}

PAPER = Paper(
    title="Jeon et al., Neurocomputing 518, 2023, arXiv 2302.14130",
    claim="AMD is above KD, AT, SP and AFD; of its scores, A and P give nearly all of it; a larger"
    " teacher is not always the better one. Tables 4 to 8 were NOT FOUND",
    source="CIFAR-10, accuracy % of WRN-16-1, teachers WRN-16-3 / WRN-28-1, read off figures 5 and"
    " 14",
    reported=(
        ("student alone", "84.1"),
        ("KD", "85.3 / 85.5"),
        ("AT", "85.8 / 85.8"),
        ("AFD", "86.2 / 85.8"),
        ("AMD, global", "86.3 / 86.05"),
        ("AMD, global and local", "86.35 / 86.1"),
        ("A, P, N alone (WRN-16-3)", "85.85, 85.8, 85.7"),
        ("A and P, A and N (WRN-16-3)", "86.2, 85.85"),
    ),
)


def arms(deep: str, wide: str) -> list[dict[str, Any]]:
    """Methods from the deeper teacher, the ablation of AMD, and KD and AMD from the wider one."""
    first, second = ["deep-teacher"], ["wide-teacher"]
    methods = ("kd", "at", "sp", "afd", "amd", "amd-gl")
    return [
        {"name": "deep-teacher", "model": deep, "seeds": [0]},
        {"name": "wide-teacher", "model": wide, "seeds": [0]},
        {"name": "student"},
        *({"name": name, "method": name, "teachers": first} for name in methods),
        *(
            {
                "name": f"amd-{name}",
                "method": "amd",
                "teachers": first,
                "settings": {"scores": list(scores)},
            }
            for name, scores in ABLATION.items()
        ),
        {"name": "kd-wide", "method": "kd", "teachers": second},
        {"name": "amd-wide", "method": "amd", "teachers": second},
    ]


def scale(name: str) -> Scale:
    """What runs at a scale."""
    limit = LIMIT[name]
    config = {**CONFIG[name], **WHOLE_BATCHES[name], **({"epochs": EPOCHS} if name == CPU else {})}
    return Scale(
        needs=photographs(name, images(PIXELS[name]), {}, limit=limit),
        plan=plan_of(
            name,
            arms(*TEACHERS[name]),
            model=STUDENT[name],
            config=config,
            preset="amd-cifar10",
        ),
        data=placed(name, limit),
        differs=(
            *DIFFERS[name],
            *shorter(name, limit, EPOCHS),
            "Layers are the three stages; which the paper took was NOT FOUND. The ablation learns"
            " from the deeper teacher, the paper's from WRN-16-3; of fewer scores the mean is taken"
            " as of three. No persistence image is read; the store is that of TGD, for its"
            " photographs.",
        ),
    )


AMD = Description(
    name="amd",
    title="AMD: attention with an angular margin",
    shows="AMD of whole maps and of their parts against KD, AT, SP and AFD; its scores A, P and N"
    " one by one; a deeper and a wider teacher.",
    paper=PAPER,
    scales={name: scale(name) for name in (SMOKE, CPU, FULL)},
    claims=(
        *(("amd", name) for name in ("kd", "at", "sp", "afd")),
        ("amd-gl", "amd"),
        ("amd", "amd-ap"),
        ("kd-wide", "kd"),
        ("amd-wide", "amd"),
    ),
    figures=("reliability", "similarity"),
    shown=("deep-teacher", "student", "kd", "sp", "amd", "amd-gl"),
)
