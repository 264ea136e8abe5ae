"""What an image costs, computed exactly and by a PI-Net: measured once for a folder of results."""

from __future__ import annotations

import json
from typing import Any

from pi_cache import files, open_store
from training.experiments.description import SMOKE, Place
from training.experiments.fits import FOLDER
from training.pinets.timing import measure_timing
from training.reports.experiment import Experiment
from training.reports.table import Cell, Table
from training.trained import read_trained

FILE = "exact-times.json"
NAME = "exact-times"
SAMPLES = {True: 16, False: 256}
"""Samples that are timed at smoke scale, and at others."""
REPEATS = {True: 1, False: 3}


def time_table(place: Place, experiment: Experiment) -> Table:
    """Milliseconds of an image by way, device and batch."""
    found = _measured(place)
    rows: list[tuple[Cell, ...]] = [
        (
            row["way"],
            row["device"],
            "-" if row["batch"] is None else str(row["batch"]),
            row["samples"],
            f"{row['milliseconds']:.3f}",
            f"{row['ratio']:.2f}",
        )
        for row in found["rows"]
    ]
    return Table(
        name=NAME,
        title="Milliseconds for all images of a sample",
        columns=("way", "device", "batch", "samples", "ms", "times exact"),
        rows=tuple(rows),
        notes=(*found["notes"], "Above 1 is slower than the exact images on one core."),
    )


def _measured(place: Place) -> dict[str, Any]:
    """The timing as plain values: of the file where there is one."""
    file = place.folder / FILE
    if not files.exists(file):
        first = files.listing(place.folder / FOLDER)[0]
        small = place.scale == SMOKE
        timing = measure_timing(
            read_trained(first),
            open_store(place.built.stores["pi"].key, root=place.root),
            samples=SAMPLES[small],
            repeats=REPEATS[small],
            device=place.device,
            say=place.say,
        )
        text = json.dumps({**timing.to_dict(), "notes": timing.notes()}, indent=1)
        files.publish(file, text.encode(), temporary=place.folder)
    found: dict[str, Any] = json.loads(files.read_bytes(file))
    return found
