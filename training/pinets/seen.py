"""Which samples a network was trained on, as its record tells."""

from __future__ import annotations

from pi_cache.errors import LeakageError, PiCacheError
from pi_cache.sampling.samples import listed
from training.evaluation.opened import data_of
from training.tasks import Task, open_task
from training.trained import Trained


def seen_ids(trained: Trained, name: str) -> set[str] | None:
    """Ids of the training side of a network's own run; None where its stores are not at hand."""
    try:
        return set(open_task(data_of(trained.record, name), labelled=False).train.ids.tolist())
    except (PiCacheError, FileNotFoundError):
        return None


def check_not_seen(trained: Trained, name: str, task: Task) -> list[str]:
    """What could not be checked of a network that a run begins with.

    Raises LeakageError where it was trained on samples that validate or test here.
    """
    seen = seen_ids(trained, name)
    if seen is None:
        return [f"whether {name} was trained on samples that are held back here"]
    for side in ("validation", "test"):
        held = task.sides.get(side)
        both = [] if held is None else sorted(seen & set(held.ids.tolist()))
        if both:
            raise LeakageError(
                f"{name} was trained on {len(both)} {side} samples of this run ({listed(both)});"
                " begin with a network that was fitted on the same split and validation share"
            )
    return []
