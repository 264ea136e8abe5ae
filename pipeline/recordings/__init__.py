"""Recordings of wearable sensors by the words of the command line: a reader for each data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pi_cache.errors import UnknownSource
from pipeline.recordings import (
    geneactiv,
    mhealth,
    motionsense,
    pamap2,
    sisfall,
    tables,
    ucihar,
    uschad,
    wisdm,
)
from pipeline.recordings.base import (
    Entry,
    Facts,
    Recording,
    Recordings,
    told_as_source_error,
)

__all__ = [
    "DATASETS",
    "Dataset",
    "Entry",
    "Facts",
    "Recording",
    "Recordings",
    "open_recordings",
]


@dataclass(frozen=True)
class Dataset:
    """What is known of a data set, and how to list it: `open(path, **options)`."""

    facts: Facts
    open: Callable[..., Recordings]


DATASETS = {
    dataset.facts.name: dataset
    for dataset in (
        Dataset(pamap2.FACTS, pamap2.open_pamap2),
        Dataset(uschad.FACTS, uschad.open_uschad),
        Dataset(ucihar.FACTS, ucihar.open_ucihar),
        Dataset(wisdm.FACTS, wisdm.open_wisdm),
        Dataset(wisdm.FACTS_2019, wisdm.open_wisdm_2019),
        Dataset(mhealth.FACTS, mhealth.open_mhealth),
        Dataset(motionsense.FACTS, motionsense.open_motionsense),
        Dataset(sisfall.FACTS, sisfall.open_sisfall),
        Dataset(geneactiv.FACTS, geneactiv.open_geneactiv),
        Dataset(tables.FACTS, tables.open_table),
    )
}
"""The data sets by name, in the order in which they are listed."""


def open_recordings(name: str, path: str | Path, **options: Any) -> Recordings:
    """The recordings of a data set below a folder; options: those of its Facts.

    Raises UnknownSource for a name or an option that is not known, SourceError for a folder that
    does not hold the data set.
    """
    dataset = DATASETS.get(name)
    if dataset is None:
        raise UnknownSource(f"{name!r} is no data set of recordings; known: {', '.join(DATASETS)}")
    wrong = sorted(set(options) - set(dataset.facts.options))
    if wrong:
        known = ", ".join(dataset.facts.options) or "none"
        raise UnknownSource(f"{name} has no option {', '.join(wrong)}; its options: {known}")
    with told_as_source_error(str(path)):
        return dataset.open(path, **options)
