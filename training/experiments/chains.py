"""Chains of teachers and students, whose rounds become arms of the results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pi_cache import files
from training.evaluation.evaluate import evaluate, read_evaluation, write_evaluation
from training.experiments.description import Place, Scale
from training.experiments.plans import on_device
from training.experiments.windows import REMOVAL
from training.reports.experiment import Experiment
from training.reports.report import replace
from training.reports.spread import spread
from training.reports.table import Cell, Measured, Table
from training.runs.ledger import RESULT, RUN, TEST
from training.runs.planned import folder_name
from training.runs.settings import made_spec
from training.selftraining.pseudo import THRESHOLD, Choice
from training.selftraining.student import Round, SelfTraining, noisy_student
from training.tasks import Task, open_task
from training.trained import read_trained

CHAINS = ("pseudo-label", "noisy-student")
NOISE = {CHAINS[0]: [], CHAINS[1]: [REMOVAL, "shift"]}
ROUNDS = 2
HIDDEN = 0.9
"""Share of the training labels."""
FILE = "rounds.json"


def run_chains(place: Place, scale: Scale) -> None:
    """Both chains for every seed, each round measured on test samples as an arm NAME-ROUND."""
    data = place.data(scale)
    task = open_task(data)
    rows = []
    for name in CHAINS:
        for seed in place.seeds:
            spec = SelfTraining(
                run=made_spec(_settings(place, scale, name), data=data, seed=seed),
                choice=Choice(),
                rounds=ROUNDS,
                unlabelled_share=HIDDEN,
            )
            place.say(f"{name}, seed {seed}")
            folder = place.folder / "chains" / name / f"seed-{seed}"
            for made in noisy_student(spec, folder, say=lambda text: place.say(f"  {text}")):
                test = _measure(place, made, task, f"{name}-{made.number}", seed)
                rows.append(_row(name, seed, made, test))
    replace(place.folder / FILE, (json.dumps(rows, indent=1) + "\n").encode())


def _settings(place: Place, scale: Scale, name: str) -> dict[str, Any]:
    return {**on_device(scale.plan["defaults"], place.device), "augment": NOISE[name]}


def _measure(place: Place, made: Round, task: Task, arm: str, seed: int) -> dict[str, float]:
    """Put what a round is worth on the test side where the run of an arm would have it.

    Returns its metrics.
    """
    fold = folder_name(str(task.record["fold"]))
    folder = place.runs / arm / fold / f"seed-{seed}"
    if not files.exists(folder / TEST):
        trained = read_trained(made.folder, device=place.device)
        write_evaluation(folder, evaluate(trained, "test", task, features=True))
    for name in (RUN, RESULT):
        said = files.read_bytes(Path(made.folder) / name)
        files.publish(folder / name, said, temporary=folder)
    return dict(read_evaluation(folder / TEST)["metrics"])


def _row(name: str, seed: int, made: Round, test: dict[str, float]) -> dict[str, Any]:
    """What a round was taught and what it is worth, without times: no ledger has it."""
    told = {key: getattr(made, key) for key in ("number", "pool", "kept", "correct")}
    return {"chain": name, "seed": seed, **told, "test": test}


def chain_table(place: Place, experiment: Experiment) -> Table:
    """How many pseudo-labels each round had, and how many of them were right."""
    rows = json.loads(files.read_bytes(place.folder / FILE))
    return Table(
        name="pseudo-labels",
        title="Pseudo-labels of each round",
        columns=("arm", "pool", "kept %", "right %"),
        rows=tuple(_cells(rows)),
        notes=(
            "Pool: training samples whose labels are hidden. Kept: those of which the teacher's"
            f" confidence is above {THRESHOLD:g}. Right: of those that are kept, agree with the"
            " label that was hidden, which decided nothing.",
        ),
    )


def _cells(rows: list[dict[str, Any]]) -> Iterator[tuple[Cell, ...]]:
    """A row for each chain and round but the first, which has labels alone."""
    for name, number in dict.fromkeys((row["chain"], row["number"]) for row in rows):
        found = [row for row in rows if (row["chain"], row["number"]) == (name, number)]
        if number:
            kept = spread(row["kept"] / row["pool"] for row in found)
            right = spread(row["correct"] for row in found if row["correct"] is not None)
            shares = (Measured(kept, 100.0, 2), Measured(right, 100.0, 2))
            yield (f"{name}-{number}", found[0]["pool"], *shares)
