"""What is wrong with the arms of a plan, found from stores and settings before any run begins."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from pi_cache.errors import InvalidSpec, PiCacheError
from training.runs.batches import augmented
from training.runs.execute import model_of
from training.runs.planned import Planned, Runs
from training.runs.settings import NO_START
from training.trained import find_trained
from training.views import fit_view, parse_terms


def check_arms(runs: Runs, chosen: Iterable[Planned]) -> None:
    """Raise InvalidSpec with all that no run of an arm could be trained for, in its first fold.

    What only a trained teacher tells, such as what it has seen, is found when it is there.
    """
    first = {planned.arm.name: planned for planned in reversed([*chosen])}
    problems = []
    for name in reversed(first):
        try:
            _check(runs, first[name])
        except (PiCacheError, FileNotFoundError) as error:
            problems.append(f"arm {name}: {error}")
    if problems:
        raise InvalidSpec("; ".join(problems))


def _check(runs: Runs, planned: Planned) -> None:
    """Raise where its arrays, its network, its augmentations or runs outside the plan are not."""
    for name, pick in planned.arm.needs:
        if name != NO_START and not runs.plan.arm(name):
            find_trained(f"{name}:{pick}" if pick else name)
    spec = runs.spec(planned)
    task = runs.task(spec.data)
    view = fit_view(spec.view, task.train, normalise="none")  # reads no sample
    with torch.device("meta"):
        model_of(spec, task, view).build()
    taught = [runs.spec(need).view for need in runs.needs(planned)]
    read = [array for text in (spec.view, *taught) for _, array in parse_terms(text)]
    there = [array for array in read if array in task.train.parts]
    augmented(task, spec.augment, there, seed=0, allow_stale=spec.allow_stale)
