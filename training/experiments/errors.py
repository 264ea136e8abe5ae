"""How far the images of an experiment's PI-Nets are from the exact ones."""

from __future__ import annotations

from pi_cache import files
from training.experiments.description import Place
from training.experiments.fits import FOLDER
from training.pinets.fit import read_errors
from training.reports.experiment import Experiment
from training.reports.table import NOTHING, Cell, Table

COLUMNS = ("mse", "explained", "over_zero")


def error_table(place: Place, experiment: Experiment) -> Table:
    """The errors of each PI-Net on the test side."""
    rows: list[tuple[Cell, ...]] = []
    for folder in files.listing(place.folder / FOLDER):
        found = read_errors(folder)["test"]
        cells = [NOTHING if found[name] is None else f"{found[name]:.5f}" for name in COLUMNS]
        rows.append((folder.name, found["samples"], *cells))
    return Table(
        name="pi-net-errors",
        title="Errors of each PI-Net on test samples",
        columns=("PI-Net", "samples", "MSE", "R2 to the mean image", "R2 to zeros"),
        rows=tuple(rows),
        notes=("Below 0 is worse than the mean image, or than an image of zeros.",),
    )
