"""PI-Nets that an experiment fits before its plan, and the arrays of images that they give it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pi_cache import files
from training.pinets.fit import PINetSpec, fit_pi_net
from training.pinets.predictions import write_predictions
from training.tasks import DataSpec, open_task
from training.trained import read_trained
from training.trainer.config import TrainConfig

if TYPE_CHECKING:
    from training.experiments.description import Place

FOLDER = "pi-nets"
"""Of their runs, in that of the results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One PI-Net. name: of the array that it gives. config: of the loop.

    limit: training samples, None for all. start: the name of another fit, whose weights it begins
    with.
    """

    name: str
    net: str
    config: Mapping[str, Any]
    limit: int | None = None
    start: str | None = None


def fit_all(place: Place, fits: tuple[Fit, ...], data: DataSpec) -> dict[str, str]:
    """The file of images by the name of each fit, relative to the results; those there are kept.

    Images are of every sample of the stores: a network has seen the exact ones of its training
    side, and of no other. Raises what `fit_pi_net` and `write_predictions` raise.
    """
    return {each.name: _fit(place, each, data) for each in fits}


def folder_of(place: Place, fit: Fit) -> Path:
    """The run of a fit."""
    return place.folder / FOLDER / fit.name


def _fit(place: Place, fit: Fit, data: DataSpec) -> str:
    """One fit, and its images."""
    folder, file = folder_of(place, fit), f"{fit.name}.npz"
    limited = DataSpec(**{**data.to_dict(), "limit": fit.limit or data.limit})
    spec = PINetSpec(
        data=limited,
        net=fit.net,
        config=TrainConfig.from_dict({**fit.config, "device": place.device}),
        start=None if fit.start is None else str(folder.parent / fit.start),
    )
    place.say(f"PI-Net {fit.name}")
    fit_pi_net(spec, folder, say=lambda text: place.say(f"  {text}"))
    if not files.exists(place.folder / file):
        task = open_task(limited, labelled=False)
        trained = read_trained(folder, device=place.device)
        every = task.train.view(np.arange(len(task.train.joined)))
        record = {"run": f"{FOLDER}/{fit.name}", **task.record}
        write_predictions(
            place.folder / file, trained, every, every=True, device=place.device, record=record
        )
    return file
