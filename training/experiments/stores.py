"""The stores and folds of an experiment: found in the cache, or built by the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pi_cache import files
from training.experiments.calls import Caller
from training.experiments.needs import DataNotFound, Needs

FOLDS = "folds.json"
SHOWN = 12
"""Digits of a key in a plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """One store of an experiment. command: the words that built it."""

    key: str
    digest: str
    samples: int
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """Stores by the name that the plan gives them. folds: their file, None without."""

    stores: Mapping[str, Store]
    folds: Path | None


def build_stores(needs: Needs, source: str, folder: Path, call: Caller) -> Built:
    """Every store, and the folds of the first in a folder.

    Raises DataNotFound for a data set that is not whole, what `call` raises.
    """
    options = [word for option in needs.options for word in ("--source-option", option)]
    made = {name: _build(words, source, options, call) for name, words in needs.stores.items()}
    _check_whole(needs, source, made)
    folds = folder / FOLDS if needs.folds else None
    if folds is not None and not files.exists(folds):
        first = next(iter(made.values()))
        call("pi-cache", "folds", first.key[:SHOWN], *needs.folds, "--out", folds)
    return Built(stores=made, folds=folds)


def _check_whole(needs: Needs, source: str, made: Mapping[str, Store]) -> None:
    for store in made.values():
        if needs.samples and store.samples != needs.samples:
            raise DataNotFound(
                f"{source} has {store.samples} samples, and {needs.samples} are those of this"
                f" experiment ({needs.data}): get every file of it"
            )


def _build(words: Sequence[str], source: str, options: Sequence[str], call: Caller) -> Store:
    """One store. words: the command of the pipeline, then its options."""
    command, *rest = words
    found = call("pipeline", command, source, *options, *rest)
    said = " ".join(("pipeline", command, "SOURCE", *options, *rest))
    return Store(key=found["key"], digest=found["digest"], samples=found["samples"], command=said)
