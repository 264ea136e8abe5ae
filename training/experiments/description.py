"""What an experiment is: which paper it follows, what it needs, and what runs at each scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from training.augment.corruptions import Levels
from training.experiments.calls import Caller
from training.experiments.fits import Fit
from training.experiments.needs import Needs
from training.experiments.stores import Built
from training.reports.experiment import Experiment as Runs
from training.reports.table import Table
from training.tasks import DataSpec, fold_names

SMOKE, CPU, FULL = SCALES = ("smoke", "cpu", "full")
"""A run of the machinery in seconds; an hour of two cores; the paper's schedule, on a GPU."""
RUNS = "runs"
"""The folder of all runs of a plan, in that of the results."""
NOT_FOUND = "NOT FOUND"
"""Of a number that no source at hand has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """Where an experiment is from. reported: rows of what was measured there and what it was."""

    title: str
    claim: str
    reported: tuple[tuple[str, str], ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What runs at one scale.

    needs: data and stores. plan: `seeds`, `folds`, `defaults` and `arms` as in a plan's TOML,
    without `data`, which follows from the stores. data: of a plan's [data], beside them. fits:
    PI-Nets, whose images are arrays of the plan; with these, or one_fold, the first fold alone is
    taken. beside: what runs behind the plan, as a multiple of its time. differs: from the paper,
    one sentence each.
    """

    needs: Needs
    plan: Mapping[str, Any]
    data: Mapping[str, Any] = field(default_factory=dict)
    fits: tuple[Fit, ...] = ()
    one_fold: bool = False
    beside: float = 0.0
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an experiment lies and on what it runs. folder: of its results. root: of the cache."""

    folder: Path
    root: Path
    built: Built
    scale: str
    seeds: Sequence[int]
    device: str
    say: Callable[[str], None]
    call: Caller

    @property
    def runs(self) -> Path:
        """The folder of all runs."""
        return self.folder / RUNS

    def data(self, scale: Scale) -> DataSpec:
        """The samples of the plan, in its one fold where it has folds."""
        stores = {name: store.key for name, store in self.built.stores.items()}
        spec = DataSpec(stores=stores, root=str(self.root), **scale.data)
        if self.built.folds is None:
            return spec
        spec = replace(spec, folds=str(self.built.folds), fold="first")
        return replace(spec, fold=fold_names(spec)[0])


After = Callable[[Place, Scale], None]
"""Makes runs that no plan has, as `training repeat` would leave them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """One experiment.

    shows: in a sentence. baseline: the arm that the others are compared with. pairs: of paired
    tests, `runs` or `folds`. corrupt: what every run is measured under.
    figures: of `reports.report.FIGURES`; shown: arms with a panel in them, all where none are
    named; sample: whether the pipeline draws a sample. bounds: arms that are compared with none,
    such as a network with all labels. claims: pairs of arms, the first of which is said to be the
    better one, or asked to be; claimed: metrics by which it is. after: a step behind the plan.
    tables: what only this experiment measures.
    """

    name: str
    title: str
    shows: str
    paper: Paper
    scales: Mapping[str, Scale]
    baseline: str | None = "student"
    pairs: str = "runs"
    metrics: tuple[str, ...] = ("accuracy", "nll", "ece")
    corrupt: tuple[Levels, ...] = ()
    figures: tuple[str, ...] = ("reliability",)
    shown: tuple[str, ...] = ()
    sample: bool = False
    bounds: tuple[str, ...] = ()
    claims: tuple[tuple[str, str], ...] = ()
    claimed: tuple[str, ...] = ("accuracy",)
    after: After | None = None
    tables: tuple[Callable[[Place, Runs], Table], ...] = ()
