"""Pseudo-labels and noisy students on windows, where most labels are hidden.

Lee, ICML Workshops 2013; Xie et al., CVPR 2020, arXiv 1911.04252.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from training.experiments.chains import CHAINS, HIDDEN, ROUNDS, chain_table, run_chains
from training.experiments.description import CPU, FULL, SMOKE, Description, Paper, Scale
from training.experiments.plans import plan_of
from training.experiments.windows import CONFIG, DIFFERS, images, placed, windows

PEOPLE = {SMOKE: 1, CPU: 4, FULL: 4}
STUDENT = {SMOKE: "resnet-8", CPU: "wrn-16-1", FULL: "wrn-16-1"}
EPOCHS = {SMOKE: 2, CPU: 30, FULL: 200}

PAPER = Paper(
    title="Xie et al., CVPR 2020, arXiv 1911.04252",
    claim="Students that learn from labels and from a teacher's pseudo-labels, with noise, are"
    " above their teacher, and each is a better teacher of the next; without noise they gain less."
    " That was ImageNet with 300 million further photographs, and nothing is comparable here",
)


def scale(name: str) -> Scale:
    """What runs at a scale. The plan trains with every label, which bounds what can be gained."""
    needs = windows(name, images(name), {}, people=PEOPLE[name])
    config: dict[str, Any] = {**CONFIG[CPU if name == FULL else name], "epochs": EPOCHS[name]}
    return Scale(
        needs=replace(needs, counts=replace(needs.counts, folds=1)),
        plan=plan_of(
            name, [{"name": "all-labels"}], few=(0, 1), model=STUDENT[name], config=config
        ),
        data=placed(),
        one_fold=True,
        beside=len(CHAINS) * (1 - HIDDEN + ROUNDS),
        differs=(
            *DIFFERS[name],
            f"{PEOPLE[name]} of the people are left out together, once, so that their chance is in"
            " no spread; one more chooses epochs, with all labels. Labels of 90 % of the training"
            " windows are hidden, but not their neighbours', which share half of a window."
            f" {EPOCHS[name]} epochs a round; students are as large as their teacher; noise is"
            " removal (to the middle of the scale) and shift of windows, the first teacher's too.",
        ),
    )


SELF_TRAINING = Description(
    name="self-training",
    title="Pseudo-labels and noisy students",
    shows="A teacher with a tenth of the labels, students of its pseudo-labels with and without"
    " noise over two rounds, and a network with all labels.",
    paper=PAPER,
    scales={name: scale(name) for name in (SMOKE, CPU, FULL)},
    baseline=f"{CHAINS[0]}-0",
    metrics=("accuracy", "f1_macro"),
    figures=("confusion",),
    claims=(
        ("pseudo-label-1", "pseudo-label-0"),
        *((f"{name}-{k}", f"{name}-{k - 1}") for name in CHAINS[1:] for k in range(1, ROUNDS + 1)),
        ("noisy-student-2", "pseudo-label-2"),
    ),
    bounds=("all-labels", f"{CHAINS[1]}-0"),
    after=run_chains,
    tables=(chain_table,),
)
