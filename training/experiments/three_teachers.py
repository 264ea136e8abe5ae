"""Three teachers of one student: signals, persistence images, and Gramian angular fields.

After Jeon et al., arXiv 2407.05315, with a third teacher as in Sensors 25(20), 6396, 2025.
"""

from __future__ import annotations

from typing import Any

from training.augment.corruptions import Levels
from training.experiments.description import CPU, FULL, SMOKE, Description, Paper, Scale
from training.experiments.plans import plan_of
from training.experiments.tpkd import SIMILAR
from training.experiments.windows import (
    AXES,
    CONFIG,
    DIFFERS,
    PIXELS,
    fewer,
    image_shape,
    images,
    placed,
    windows,
)

LIMIT = {SMOKE: None, CPU: 1_000, FULL: None}
STUDENT = {SMOKE: "resnet-8", CPU: "wrn-16-1", FULL: "wrn-16-1"}
SIGNAL = {SMOKE: "resnet-14", CPU: "wrn-16-3", FULL: "wrn-16-3"}
THREE = [0.4, 0.2, 0.4]
"""Weights of the PI, GAF and signal teachers: ours, as theirs were NOT FOUND."""

PAPER = Paper(
    title="Sensors 25(20), 6396, 2025, and a manuscript by its authors",
    claim="A third teacher of Gramian angular fields lifts a student above that of signals and"
    " persistence images. The numbers are of a reader's own runs",
    source="GENEActiv, 14 classes, accuracy %, teachers WRN-16-3, student WRN-16-1",
    reported=(
        ("signal, PI, GAF teachers", "68.76, 59.80, 64.03"),
        ("student alone", "67.66 ± 0.45"),
        ("KD, signal teacher", "69.50 ± 0.10"),
        ("PI and signal, annealed, similarities", "70.93 ± 0.26"),
        ("GAF, PI and signal, annealed, similarities", "71.49 ± 0.47"),
    ),
)


def arms(signal: str) -> list[dict[str, Any]]:
    """Three teachers; one, two and three of them, and two and three with an annealed start."""
    pi, gaf, sig = "pi-teacher", "gaf-teacher", "signal-teacher"
    two = {"weighting": "weighted", "weights": [0.5, 0.5]}
    three = {"weighting": "weighted", "weights": THREE}
    all_three = [pi, gaf, sig]
    return [
        {"name": sig, "model": signal, "seeds": [0]},
        {"name": pi, "view": "pi", "seeds": [0]},
        {"name": gaf, "view": "gaf", "seeds": [0]},
        {"name": "student"},
        {"name": "student-twice", "start": "student"},
        {"name": "signal", "method": "kd", "teachers": [sig]},
        {"name": "pi-signal", "method": "multi", "settings": two, "teachers": [pi, sig]},
        {"name": "gaf-signal", "method": "multi", "settings": two, "teachers": [gaf, sig]},
        {"name": "all-three", "method": "multi", "settings": three, "teachers": all_three},
        {"name": "pi-signal-annealed", **annealed([0.5, 0.5]), "teachers": [pi, sig]},
        {"name": "all-three-annealed", **annealed(THREE), "teachers": all_three},
    ]


def annealed(weights: list[float]) -> dict[str, Any]:
    """Settings of an arm that starts from the student, with similarities of teachers."""
    settings = {"weights": weights, "orthogonal_weight": 0.0, "sp_weight": SIMILAR}
    return {"method": "tpkd", "settings": settings, "start": "student"}


def scale(name: str) -> Scale:
    """What runs at a scale."""
    limit, side = LIMIT[name], PIXELS[name]
    fields = {"gaf": ("build-gafs", "--size", str(side))}
    shapes = {"pi": image_shape(name), "gaf": (AXES, side, side)}
    return Scale(
        needs=windows(name, {**images(name), **fields}, shapes, limit=limit),
        plan=plan_of(
            name,
            arms(SIGNAL[name]),
            folds="all",
            model=STUDENT[name],
            config=CONFIG[name],
            preset="tda-kd-pamap2",
        ),
        data=placed(limit),
        differs=(
            *DIFFERS[name],
            *fewer(name, limit, CONFIG[CPU]["epochs"]),
            "Weights of the three teachers are ours, that of similarities is TGD's; annealed arms"
            " take the other weights of TPKD, those without a start CE and KD alike.",
        ),
    )


THREE_TEACHERS = Description(
    name="three-teachers",
    title="Three teachers: signals, persistence images, Gramian angular fields",
    shows="One, two and three teachers of a student of signals, and two and three with an annealed"
    " start and similarities.",
    paper=PAPER,
    scales={name: scale(name) for name in (SMOKE, CPU, FULL)},
    pairs="folds",
    claims=(
        ("all-three-annealed", "pi-signal-annealed"),
        ("all-three", "pi-signal"),
        ("pi-signal-annealed", "signal"),
        ("pi-signal-annealed", "student-twice"),
    ),
    metrics=("accuracy", "f1_macro"),
    corrupt=(Levels("noise"),),
    figures=("similarity", "robustness"),
    shown=("signal-teacher", "pi-teacher", "gaf-teacher", "student", "all-three"),
)
