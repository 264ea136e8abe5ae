"""Topology-guided distillation (TGD): an image teacher and one of persistence images.

Jeon et al., GRaM at ICML 2024, arXiv 2407.05316.
"""

from __future__ import annotations

from typing import Any

from training.augment.corruptions import Levels
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

LIMIT = {SMOKE: None, CPU: 2_500, FULL: None}
STUDENT = {SMOKE: "resnet-8", CPU: "wrn-16-1", FULL: "wrn-16-1"}
TEACHERS = {
    SMOKE: ("resnet-14", "resnet-8"),
    CPU: ("wrn-16-2", "wrn-16-1"),
    FULL: ("wrn-16-3", "wrn-16-3"),
}
"""Of images, and of persistence images."""

PAPER = Paper(
    title="Jeon et al., GRaM at ICML 2024, arXiv 2407.05316",
    claim="Two teachers, of images and of persistence images, give a better student than one, and a"
    " more robust and better calibrated one, says the abstract. The tables of the paper were NOT"
    " FOUND. We measured its three released students on JPEG copies of CIFAR-10, which they were"
    " not trained on",
    source="released WRN-16-1 on JPEG copies: accuracy %, ECE %, NLL, accuracy % under noise of"
    " deviation 0.05",
    reported=(
        ("alone", "75.23, 15.2, 1.071, 52.1"),
        ("KD from WRN-16-3", "76.54, 14.8, 1.030, 50.0"),
        ("TGD", "76.67, 13.6, 0.965, 52.2"),
    ),
)


def arms(image: str, pi: str) -> list[dict[str, Any]]:
    """Two teachers, by their networks; the student alone, and twice; methods, with a start or not.

    Whatever is gained over `student-twice` is not gained by training longer.
    """
    both = ["image-teacher", "pi-teacher"]
    return [
        {"name": "image-teacher", "model": image, "seeds": [0]},
        {"name": "pi-teacher", "model": pi, "view": "pi", "seeds": [0]},
        {"name": "student"},
        {"name": "student-twice", "start": "student"},
        {"name": "kd-image", "method": "kd", "teachers": both[:1]},
        {"name": "kd-pi", "method": "kd", "teachers": both[1:]},
        {"name": "tgd", "method": "tgd", "teachers": both, "start": "none"},
        {"name": "tgd-annealed", "method": "tgd", "teachers": both, "start": "student"},
    ]


def scale(name: str) -> Scale:
    """What runs at a scale."""
    pixels, limit = PIXELS[name], LIMIT[name]
    made = arms(*TEACHERS[name])
    if name == FULL:  # the preset would have them begin with a student
        made = [{"start": "none", **arm} if "method" in arm else arm for arm in made]
    return Scale(
        needs=photographs(name, images(pixels), {"pi": (6, pixels, pixels)}, limit=limit),
        plan=plan_of(
            name,
            made,
            few=(0, 1),
            model=STUDENT[name],
            config={**CONFIG[name], **WHOLE_BATCHES[name]},
            preset="tgd-cifar10",
        ),
        data=placed(name, limit),
        differs=(
            *DIFFERS[name],
            *shorter(name, limit, CONFIG[CPU]["epochs"]),
            "Noise has the five levels of CIFAR-10-C, deviations of pixels of 0 to 1; the paper's"
            " were NOT FOUND.",
        ),
    )


TGD = Description(
    name="tgd",
    title="TGD: two teachers, of images and of persistence images",
    shows="TGD with and without an annealed start against KD from either teacher, the student"
    " alone, and the student trained twice; accuracy, calibration, noise.",
    paper=PAPER,
    scales={name: scale(name) for name in (SMOKE, CPU, FULL)},
    claims=(
        ("tgd-annealed", "kd-image"),
        ("tgd-annealed", "student-twice"),
        ("tgd", "kd-image"),
        ("tgd", "student"),
    ),
    claimed=("accuracy", "ece"),
    corrupt=(Levels("noise"),),
    sample=True,
    figures=("reliability", "robustness", "embedding"),
)
