"""Pseudo-labels by a trained run: its network, and a pool that it was not tested on."""

from __future__ import annotations

from training.evaluation.opened import data_of
from training.selftraining.pseudo import Choice, Pseudo, check_pool, pseudo_labels
from training.selftraining.student import divide
from training.tasks import DataSpec, open_task
from training.trained import check_same_classes, read_trained
from training.trainer.objectives import digest


def label_pool(
    run: str, data: DataSpec | None, choice: Choice, *, share: float = 0.0, device: str = "cpu"
) -> Pseudo:
    """Pseudo-labels of the samples without a label on the training side of some data.

    data: None for those of the run. share: of the labelled ones there, which hide their labels.
    Raises LeakageError where the pool has samples that the run, or the data, tests or validates by;
    InvalidSpec for other classes and an empty pool; what `open_task` and `read_trained` raise.
    """
    trained = read_trained(run, device=device)
    own = open_task(data_of(trained.record, run))
    task = own if data is None else open_task(data)
    check_same_classes(own.class_names, trained, run)
    _, pool = divide(task.train, share, choice.seed)
    check_pool(pool, task)
    check_pool(pool, own, run)
    record = {"teacher": digest(trained.network), "run": run, "data": task.record["data"]}
    return pseudo_labels(trained, pool, choice, device=device, record=record)
