"""What each arm cost: core-hours and GPU-hours, samples a second, and the share of waiting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.reports.experiment import Experiment
from training.reports.spread import spread
from training.reports.table import Cell, Measured, Table

HOUR = 3600.0


def cost_table(experiment: Experiment, *, threads: int, device: str) -> Table:
    """Hours of each arm's runs together. threads: cores that a run on the CPU keeps busy."""
    gpu = device.startswith("cuda")
    rows: list[tuple[Cell, ...]] = []
    for arm in experiment.arms:
        results = [run.result for run in experiment.of(arm).values() if run.result]
        hours = sum(float(result["seconds"]) for result in results) / HOUR
        rates = spread(float(r["samples_per_second"]) for r in results if r["samples_per_second"])
        shares = [waiting(result) for result in results]
        waits = spread(share for share in shares if share is not None)
        rows.append(
            (
                arm,
                len(results),
                f"{hours * (1 if gpu else threads):.3f}",
                f"{hours if gpu else 0.0:.3f}",
                Measured(rates, 1.0, 0),
                Measured(waits, 100.0, 1),
            )
        )
    return Table(
        name="costs",
        title="What the runs of each arm cost",
        columns=("arm", "runs", "core-hours", "GPU-hours", "samples/s", "waiting %"),
        rows=tuple(rows),
        notes=(
            "Training alone, without validation and tests; core-hours are seconds times threads,"
            " and one core beside a GPU. Teachers are arms of their own. Waiting is the share of"
            " that time in which the loop had no batch, over the runs that tell it; a GPU may"
            " still be busy then.",
        ),
    )


def waiting(result: Mapping[str, Any]) -> float | None:
    """Share of a run's seconds in which it waited for its next batch; None of older runs."""
    seconds, waited = result["seconds"], result.get("waiting_seconds")
    return float(waited) / float(seconds) if seconds and waited is not None else None
