"""A PI-Net fitted to cached persistence images: what the run is, and the run.

References: Som et al., "PI-Net: A Deep Learning Approach to Extract Topological Persistence
Images", CVPR Workshops 2020, arXiv 1906.01769.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pi_cache import files
from pi_cache.errors import InvalidSpec
from pi_cache.sampling.draws import ranks
from training.joined import JoinedDataset
from training.models.catalogue import PI_NETS
from training.models.network import KINDS
from training.pinets.errors import Errors
from training.pinets.measure import measure
from training.pinets.seen import check_not_seen
from training.runs.execute import seeded
from training.runs.identity import with_digests
from training.runs.record import provenance
from training.tasks import DataSpec, Task, open_task
from training.trained import ModelSpec, Trained, find_trained, read_trained
from training.trainer.config import TrainConfig
from training.trainer.loop import Result, train
from training.trainer.objectives import Regression
from training.views import NORMS, View, fit_view

TARGET = "pi"
VALUES = "values"
ERRORS = "errors.json"
"""The file in a run's folder that has its errors on each side that was held back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PINetSpec:
    """Everything that decides a PI-Net.

    net: of `models.PI_NETS`. target: the name of the store whose images it learns. view: what it
    reads. start: a run whose weights it begins with, for a PI-Net that is fine-tuned on all samples
    of other data, or with `data.limit` on a subset. normalise: one of NORMS; None is `values`, and
    after a start the means and deviations of that run, unless its inputs had another shape.
    measured: so many samples of each side that was held back at most, drawn by id; None for all.
    Raises InvalidSpec with every problem.
    """

    data: DataSpec
    net: str
    config: TrainConfig
    target: str = TARGET
    view: str = "inputs"
    normalise: str | None = None
    start: str | None = None
    measured: int | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.net not in PI_NETS:
            problems.append(f"net must be one of {', '.join(PI_NETS)}, got {self.net!r}")
        if self.normalise not in (None, *NORMS):
            problems.append(f"normalise must be one of {', '.join(NORMS)}, got {self.normalise!r}")
        if self.target not in (*self.data.stores, *self.data.arrays):
            problems.append(
                f"there is no {self.target!r} to learn; name the store of exact images with"
                f" --store {self.target}=KEY, or say --target"
            )
        if problems:
            raise InvalidSpec("; ".join(problems))

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "config": self.config.to_dict(), "data": self.data.to_dict()}


def fit_pi_net(
    spec: PINetSpec, folder: Path, *, say: Callable[[str], None]
) -> tuple[Result, dict[str, Errors]]:
    """Fit a PI-Net in a folder, and measure it on the sides that were held back.

    Run again, it goes on where it was killed. Returns what the loop says, and errors by side.
    Raises what `open_task` and `train` raise; InvalidSpec for a start that does not fit.
    """
    task = open_task(spec.data, labelled=False)
    model, view, network = _network(spec, task, say)
    objective = Regression(network, view, spec.target)
    start = None if spec.start is None else files.digest(find_trained(spec.start))[1]
    told = {**spec.to_dict(), "data": with_digests(spec.data), "start": start}
    made = {**provenance(spec.config.device), "start": spec.start}
    record = {"pi_net": told, "provenance": made}
    result = train(objective, task, spec.config, folder, model=model, say=say, record=record)
    trained = read_trained(folder, device=spec.config.device)
    return result, _measured(trained, task, spec, folder)


def _network(
    spec: PINetSpec, task: Task, say: Callable[[str], None]
) -> tuple[ModelSpec, View, nn.Module]:
    """The network to begin with, how to build it, and its view."""
    target = task.train.parts.get(spec.target)
    if target is None or len(target.shape) != 3 or target.shape[1] != target.shape[2]:
        shape = None if target is None else target.shape
        raise InvalidSpec(f"{spec.target} must be square images (C, P, P), got {shape}")
    if spec.start is not None:
        start = read_trained(spec.start)
        for note in check_not_seen(start, spec.start, task):
            say(f"not checked: {note}")
        return _started(spec, start, task)
    view = fit_view(spec.view, task.train, normalise=spec.normalise or VALUES)
    if view.dimensions != PI_NETS[spec.net].dimensions:
        raise InvalidSpec(
            f"{spec.net} takes {KINDS[PI_NETS[spec.net].dimensions]}, and {view} is"
            f" {view.shape} a sample; take {' or '.join(n for n in PI_NETS if n != spec.net)}"
        )
    model = ModelSpec(
        name=spec.net,
        channels=view.channels,
        classes=0,
        dimensions=view.dimensions,
        options={"image_channels": target.shape[0], "pixels": target.shape[1]},
    )
    return model, view, seeded(model, spec.config.seed)


def _started(spec: PINetSpec, start: Trained, task: Task) -> tuple[ModelSpec, View, nn.Module]:
    """What another run ended with. Raises InvalidSpec where images or inputs are others."""
    bare = fit_view(spec.view, task.train, normalise="none")
    problems = _misfits(spec, start, bare, task.train.parts[spec.target].shape)
    if problems:
        raise InvalidSpec(
            f"{spec.start} is no start for this: {'; '.join(problems)}; take a run on data of the"
            " same channels and images, or begin without --start"
        )
    same = [p.shape for p in start.view.pieces] == [p.shape for p in bare.pieces]
    if spec.normalise is None and same and start.view.names == bare.names:
        return start.model, start.view, start.network
    view = fit_view(spec.view, task.train, normalise=spec.normalise or VALUES)
    return start.model, view, start.network


def _misfits(spec: PINetSpec, start: Trained, view: View, images: tuple[int, ...]) -> list[str]:
    """How a network differs from one that gives these images (C, P, P)."""
    if start.model.name != spec.net:
        return [f"it is a {start.model.name}, not a {spec.net}"]
    begun, problems = start.model.options, []
    gives = (begun["image_channels"], begun["pixels"], begun["pixels"])
    if gives != images:
        problems.append(f"it gives images {gives}, {spec.target} are {images}")
    if view.channels != start.model.channels:
        problems.append(f"it reads {start.model.channels} channels, {view} has {view.channels}")
    return problems


def _measured(trained: Trained, task: Task, spec: PINetSpec, folder: Path) -> dict[str, Errors]:
    """Errors on validation and test samples, written beside the network; those that are there."""
    if files.exists(folder / ERRORS):
        return {side: Errors(**each) for side, each in read_errors(folder).items()}
    held = {name: _some(side, spec) for name, side in task.sides.items() if name != "train"}
    found = {
        name: measure(trained, side, task.train, spec.target, device=spec.config.device)
        for name, side in held.items()
    }
    document = json.dumps({name: e.to_dict() for name, e in found.items()}, indent=1) + "\n"
    files.publish(folder.absolute() / ERRORS, document.encode(), temporary=folder.absolute())
    return found


def _some(side: JoinedDataset, spec: PINetSpec) -> JoinedDataset:
    """At most so many samples of a side, the same ones for all runs."""
    if spec.measured is None or spec.measured >= len(side):
        return side
    first = ranks(side.ids.tolist(), spec.data.seed) < spec.measured
    return side.view(side.index[first])


def read_errors(folder: Path) -> Mapping[str, Any]:
    """Errors by side, as plain values, of a run that has ended. Raises FileNotFoundError."""
    found: dict[str, Any] = json.loads(files.read_bytes(folder / ERRORS))
    return found
