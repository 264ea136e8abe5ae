"""TDA_KD and TPKD on windows, one person left out at a time.

Jeon et al., Asilomar 2022, and EAAI 2024, arXiv 2407.05315.
"""

from __future__ import annotations

from typing import Any

from training.augment.corruptions import Levels
from training.experiments.description import CPU, FULL, SMOKE, Description, Paper, Scale
from training.experiments.plans import plan_of
from training.experiments.windows import (
    CONFIG,
    DIFFERS,
    MIDDLE,
    PIXELS,
    fewer,
    image_shape,
    images,
    placed,
    windows,
)

LIMIT = {SMOKE: None, CPU: 1_000, FULL: None}
STUDENT = {SMOKE: "resnet-8", CPU: "wrn-16-1", FULL: "wrn-16-1"}
TEACHERS = {
    SMOKE: ("resnet-14", "resnet-8"),
    CPU: ("wrn-16-3", "wrn-16-1"),
    FULL: ("wrn-16-3", "wrn-16-3"),
}
"""Of signals, and of persistence images."""
SIMILAR = 1000.0
"""Weight of merged similarities, that of TGD."""
OURS = (
    "Weights are those of PAMAP2, that of similarities is TGD's. TPKD's orthogonal features are our"
    " reading; the formula was NOT FOUND."
)
LOGITS = "ECE, NLL and Brier of TDA_KD are of plain logits, whose scale its loss leaves open."

PAPER = Paper(
    title="Jeon et al., Asilomar 2022, and EAAI 2024, arXiv 2407.05315",
    claim="On PAMAP2, signal and PI teachers together with an annealed start are above KD from"
    " either, and similarities add to that; the PI teacher is the better one. The paper's own"
    " tables were NOT FOUND; these numbers are quoted or repeated by a reader of it",
    source="PAMAP2, accuracy %, mean over 9 people, teachers WRN-16-3, student WRN-16-1",
    reported=(
        ("signal teacher", "85.80"),
        ("PI teacher", "87.23"),
        ("student alone", "82.99 ± 2.50"),
        ("KD, signal teacher", "86.50 ± 2.21"),
        ("KD, PI teacher", "86.68 ± 2.19"),
        ("PI and signal", "86.18"),
        ("PI and signal, annealed", "87.12 ± 2.26"),
        ("PI and signal, annealed, similarities", "88"),
    ),
)


def corrupted_as(fill: str) -> str:
    """The sentence on what corruptions are; fill: what missing points become."""
    return (
        "Noise is relative to the deviation of each channel, and missing points are"
        f" {fill}; the paper's were NOT FOUND."
    )


def arms(signal: str, pi: str) -> list[dict[str, Any]]:
    """Two teachers, by their networks; the student alone, and twice; parts switched one by one."""
    both = ["pi-teacher", "signal-teacher"]
    annealed = {"method": "tpkd", "teachers": both, "start": "student"}
    return [
        {"name": "signal-teacher", "model": signal, "seeds": [0]},
        {"name": "pi-teacher", "model": pi, "view": "pi", "seeds": [0]},
        {"name": "student"},
        {"name": "student-twice", "start": "student"},
        {"name": "kd-signal", "method": "kd", "teachers": both[1:]},
        {"name": "kd-pi", "method": "kd", "teachers": both[:1]},
        {"name": "tda-kd", "method": "tda-kd", "teachers": both},
        {"name": "tda-kd-annealed", "method": "tda-kd", "teachers": both, "start": "student"},
        {"name": "tpkd-plain", **annealed, "settings": {"orthogonal_weight": 0.0}},
        {"name": "tpkd", **annealed},
        {
            "name": "tpkd-similarity",
            **annealed,
            "settings": {"orthogonal_weight": 0.0, "sp_weight": SIMILAR},
        },
    ]


def scale(name: str) -> Scale:
    """What runs at a scale."""
    limit = LIMIT[name]
    return Scale(
        needs=windows(name, images(name), {"pi": image_shape(name)}, limit=limit),
        plan=plan_of(
            name,
            arms(*TEACHERS[name]),
            folds="all",
            model=STUDENT[name],
            config=CONFIG[name],
            preset="tda-kd-pamap2",
        ),
        data=placed(limit),
        differs=(
            *DIFFERS[name],
            *fewer(name, limit, CONFIG[CPU]["epochs"], paper=200),
            "A fold of PAMAP2 has about 25,000 training windows.",
            f"Images have {PIXELS[name]} x {PIXELS[name]} cells (64 x 64 in the paper), which tile"
            " births of 0 to 1; the released ones leave half of -1 to 1 out.",
            OURS,
            corrupted_as(f"{MIDDLE}, the middle of the scale"),
            LOGITS,
        ),
    )


TPKD = Description(
    name="tpkd",
    title="TDA_KD and TPKD: signals and persistence images teach a student of signals",
    shows="Both methods leaving one person out, with annealing, similarities and orthogonal"
    " features switched, against KD from either teacher, and the student trained twice.",
    paper=PAPER,
    scales={name: scale(name) for name in (SMOKE, CPU, FULL)},
    pairs="folds",
    claims=(
        ("tda-kd-annealed", "kd-signal"),
        ("tda-kd-annealed", "kd-pi"),
        ("tda-kd-annealed", "tda-kd"),
        ("tpkd-similarity", "tpkd-plain"),
        ("tpkd", "tpkd-plain"),
        ("tpkd-plain", "student-twice"),
        ("pi-teacher", "signal-teacher"),
    ),
    metrics=("accuracy", "f1_macro", "ece"),
    corrupt=(Levels("noise"), Levels("missing", fill=MIDDLE)),
    figures=("confusion", "robustness", "embedding"),
    shown=("signal-teacher", "pi-teacher", "student", "kd-signal", "tda-kd", "tpkd"),
)
