"""One run, from its spec to its folder: the task is opened, all is checked, and it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pi_cache.errors import AlreadyPublished, InvalidSpec
from training.devices import refusing
from training.runs.batches import AugmentedRun, augmented
from training.runs.identity import digest_of, identity, network_identity
from training.runs.ledger import RUN, read_json
from training.runs.record import provenance
from training.runs.spec import RunSpec
from training.runs.teachers import Given, check_given, names_read, open_given
from training.tasks import Task, open_task
from training.trained import ModelSpec
from training.trainer.folder import differences
from training.trainer.loop import Result, train
from training.trainer.objectives import Distilled, Objective, Supervised
from training.trainer.ranks import own_rank
from training.views import View, fit_view, parse_terms

Say = Callable[[str], None]

RANK_BITS = 32
"""Of a seed, above which the rank stands: each rank augments its samples by draws of its own."""


def silent(text: str) -> None:
    """Says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A run that was found fit to train, with all that it needs.

    identity: what decides its result; digest: of that. notes: what could not be checked.
    """

    spec: RunSpec
    task: Task
    view: View
    model: ModelSpec
    teachers: tuple[Given, ...]
    start: Given | None
    transform: AugmentedRun | None
    identity: Mapping[str, Any]
    notes: tuple[str, ...]

    @property
    def digest(self) -> str:
        """What tells this run from any other."""
        return digest_of(self.identity)

    def record(self, command: Sequence[str] | None) -> dict[str, Any]:
        """The record of the run, as plain values; `provenance` alone may differ when it goes on."""
        return {
            "spec": self.spec.to_dict(),
            "spec_digest": self.digest,
            "identity": dict(self.identity),
            "teachers": [teacher.to_dict() for teacher in self.teachers],
            "start": None if self.start is None else self.start.to_dict(),
            "augmentations": {} if self.transform is None else self.transform.record,
            "not_checked": list(self.notes),
            "provenance": provenance(self.spec.config.device, command),
        }

    def objective(self) -> Objective:
        """The network, its weights drawn from the seed or those of the start, with its terms."""
        network = seeded(self.model, self.spec.config.seed)
        if self.start is not None:
            network.load_state_dict(self.start.trained.network.state_dict(), strict=True)
        if self.spec.method is None:
            return Supervised(network, self.view)
        trained = [teacher.trained for teacher in self.teachers]
        return Distilled(network, self.view, self.spec.method, trained)


def run(
    spec: RunSpec,
    folder: str | Path,
    *,
    say: Say = silent,
    command: Sequence[str] | None = None,
    task: Task | None = None,
) -> Result:
    """The result of a run, which its folder then holds; one that was begun there goes on.

    command: the words that asked for it, for the record. task: of the same data, opened already.
    Raises what `prepare_run` raises; AlreadyPublished where another run lies in the folder.
    """
    folder = Path(folder).absolute()
    prepared = prepare_run(spec, task=task)
    _check_same(folder, prepared)
    for note in prepared.notes:
        say(f"not checked: {note}")
    return train(
        prepared.objective(),
        prepared.task,
        spec.config,
        folder,
        model=prepared.model,
        transform=prepared.transform,
        say=say,
        record=prepared.record(command),
    )


def prepare_run(spec: RunSpec, *, task: Task | None = None) -> Prepared:
    """The run, found fit to train; no network is trained and no file is written.

    Raises InvalidSpec, LeakageError, StaleImages, what `open_task` and `read_trained` raise.
    """
    _check_device(spec.config.device)
    task = open_task(spec.data) if task is None else task
    device = spec.config.device
    teachers = tuple(open_given(name, device=device) for name in spec.teachers)
    start = None if spec.start is None else open_given(spec.start, device="cpu")
    given = [*teachers, *([] if start is None else [start])]
    notes = [note for each in given for note in check_given(each, task, select=spec.config.select)]
    view = _view(spec, task, start)
    read = (*view.names, *names_read([teacher.trained for teacher in teachers]))
    return Prepared(
        spec=spec,
        task=task,
        view=view,
        model=model_of(spec, task, view, start),
        teachers=teachers,
        start=start,
        transform=augmented(
            task,
            spec.augment,
            read,
            seed=spec.config.seed + (own_rank() << RANK_BITS),
            device=device,
            allow_stale=spec.allow_stale,
        ),
        identity=identity(spec, task, _identities(teachers), _identity(start)),
        notes=tuple(notes),
    )


def _check_same(folder: Path, prepared: Prepared) -> None:
    """Raise AlreadyPublished where a run of other settings or samples lies in the folder.

    The trainer compares every value that a run writes; here it is said in the words of its spec.
    """
    record = (read_json(folder / RUN) or {}).get("record", {})
    found = record.get("identity")
    if found is None or found == prepared.identity:
        return
    given = [teacher.to_dict() for teacher in prepared.teachers]
    different = differences(
        {**found, "teachers": _named(record.get("teachers", []))},
        {**prepared.identity, "teachers": _named(given)},
    ) or ["it was made otherwise"]
    raise AlreadyPublished(
        f"{folder} holds another run: {'; '.join(different)}; give another folder, or the same"
        " settings to go on with it",
        (folder / RUN,),
    )


def _named(teachers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Teachers of a record for people: as they were given, and which file that was."""
    return [f"{teacher['name']} ({teacher['sha256'][:8]})" for teacher in teachers]


def _check_device(device: str) -> None:
    """Raise InvalidSpec where torch cannot train on a device here."""
    with refusing(f"nothing can be trained on device {device!r} here"):
        torch.zeros(1, device=device).item()


def seeded(model: ModelSpec, seed: int) -> nn.Module:
    """A new network whose weights follow from the seed alone; torch's own state stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model.build()


def _view(spec: RunSpec, task: Task, start: Given | None) -> View:
    """That of the start, whose weights expect its means and deviations; else a fitted one."""
    if start is None:
        return fit_view(spec.view, task.train, normalise=spec.normalise)
    view = start.trained.view
    if parse_terms(str(view)) != parse_terms(spec.view):
        raise InvalidSpec(f"{start.name} reads {view}, and this run {spec.view}; give that view")
    return view


def model_of(spec: RunSpec, task: Task, view: View, start: Given | None = None) -> ModelSpec:
    """The network of a run. Raises InvalidSpec where its start is another one."""
    model = ModelSpec(
        name=spec.model,
        channels=view.channels,
        classes=len(task.class_names),
        dimensions=view.dimensions,
        options=spec.model_options,
    )
    if start is not None and start.trained.model != model:
        raise InvalidSpec(
            f"{start.name} is {_shown(start.trained.model)}, and this run trains {_shown(model)};"
            " begin with a network of the same kind"
        )
    return model


def _shown(model: ModelSpec) -> str:
    options = "".join(f", {name}={value}" for name, value in model.options.items())
    return f"{model.name} of {model.channels} channels and {model.classes} classes{options}"


def _identities(given: Sequence[Given]) -> list[str]:
    return [str(_identity(each)) for each in given]


def _identity(given: Given | None) -> str | None:
    if given is None:
        return None
    return network_identity(given.name, given.spec_digest, given.sha256)
