"""Windows of recordings of wearable sensors, as signals: a kind of source for each data set.

Opening one reads every recording once, one at a time, to find which windows there are. Their
values are read again by who needs them, and compared with what was seen then.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any

import numpy as np

from pi_cache.errors import SourceError, UnknownSource
from pi_cache.sampling.windows import ID_FORM
from pipeline.recordings import DATASETS, Entry, Recordings, open_recordings
from pipeline.recordings.listing import composed
from pipeline.sources.base import SCALED, Source
from pipeline.sources.windowlist import Listing, Opening, counted, find_scaling, list_windows
from pipeline.sources.windowreader import (
    KEPT_BYTES,
    STRETCH,
    WindowReader,
    forget_large,
    in_stretches,
)
from pipeline.windows import HELP, PUBLISHED, Scaling, WindowSpec
from pipeline.windows.spec import names_of

READING = 3
"""Times the bytes of its numbers that the reading of one recording takes, about..."""
READING_PAGES = 2
"""...or of one whose pages become numbers a few at a time..."""
PARSING = 80 * 2**20
"""...and what the parser of text takes of every one."""
LARGE = 2**30
"""Bytes of reading that are told before."""

NUMBERS = re.compile(r"[0-9][0-9.,]*")

LISTS = ("values", "units", "channels")
"""Options of readers that are names joined by commas."""

PARTS = {"usc-had": 2, "uci-har": 2, "motionsense": 2}
"""Last parts of the path by which a recording of a public data set is known, where not one."""
USERS_OWN = ("geneactiv", "table")
"""Data of a user's own, whose recordings are known by their whole path below the folder."""


def open_windows(dataset: str, path: str, **options: Any) -> Source:
    """The windows of the recordings below a folder as signals (T, C) float64.

    options: those of the data set's reader; those of WindowSpec, of which window and step are
    needed; `windows="published"` for all that a paper has published of them; `subjects`, to take
    some only; `fitted`, the numbers of a fitted scale as a store keeps them.
    Groups are the subjects. An id says where its window was cut, see pi_cache.sampling.windows.
    Raises UnknownSource for options that cannot be, SourceError for data that cannot be read or
    have no window.
    """
    given = {name: value for name, value in options.items() if value is not None}
    spec = parse_spec(dataset, given)
    own = reader_options(dataset, given)
    recordings = open_recordings(dataset, path, **own)
    if "subjects" in given:
        own["subjects"] = list(_names("subjects", given["subjects"]))
        recordings = of_subjects(recordings, own["subjects"])
    names = recording_names(recordings, own)
    splits = [split_of(dataset, name) for name in names]
    opening = Opening(recordings=recordings, spec=spec, names=names, splits=splits)
    scaling = find_scaling(opening, given.get("fitted"))
    if scaling is not None and spec.scale.name == "fitted":
        own["fitted"] = scaling.to_numbers()
    source = make_source(opening, scaling, list_windows(opening, scaling))
    if in_stretches(recordings, spec):
        forget_large(opening.token)
    return replace(source, location=path, options=spec.to_options() | own)


def parse_spec(dataset: str, options: Mapping[str, Any]) -> WindowSpec:
    """The spec among the options of a source; no length is a default. Raises UnknownSource."""
    given = {name: options[name] for name in HELP if name in options}
    known = PUBLISHED.get(dataset)
    if dataset == "geneactiv":
        given.pop("channels", None)  # its reader takes them
    if "windows" in options:
        if known is None or options["windows"] != "published":
            raise UnknownSource(
                f"windows={options['windows']}: published windows are known of"
                f" {', '.join(PUBLISHED)}, as windows=published; else give window and step"
            )
        given = {**known.windows, **given}
    if not {"window", "step"} <= given.keys():
        hint = "" if known is None else f"; {known.citation}: windows=published for {known.words}"
        raise UnknownSource(
            f"{dataset} needs window and step, each in samples (100) or in seconds (3s), as"
            f" --source-option window=100 --source-option step=50{hint}"
        )
    spec = WindowSpec(**given)
    if spec.prepare.name == "published" and (known is None or known.prepare is None):
        raise UnknownSource(f"prepare=published: no preparation of {dataset} is known here")
    if spec.scale.name == "published" and (known is None or known.lowest is None):
        raise UnknownSource(f"scale=published: no constants of {dataset} are known here")
    if "fitted" in options and spec.scale.name != "fitted":
        raise UnknownSource("fitted holds the numbers of scale=fitted:minmax or fitted:zscore")
    return spec


def reader_options(dataset: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the data set's own reader, usual ones too, and all of them as values."""
    known = DATASETS[dataset]
    usual = {
        name: option.default
        for name, option in signature(known.open).parameters.items()
        if option.default is not option.empty and option.default
    }
    given = {**usual, **options}
    own = {name: given[name] for name in known.facts.options if name in given}
    for name in LISTS:
        if name in own:
            own[name] = list(_names(name, own[name]))
    if "rate" in own:
        own["rate"] = _number("rate", own["rate"])
    if dataset == "table" and "values" not in own:
        raise UnknownSource(
            "table needs values, the columns that become channels, as"
            " --source-option values=ax,ay,az"
        )
    return own


def _names(name: str, value: object) -> tuple[str, ...]:
    try:
        return names_of(value)
    except ValueError as error:
        raise UnknownSource(f"{name} must be {error}") from None


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UnknownSource(f"{name} must be a number, got {value!r:.40}") from None


def of_subjects(recordings: Recordings, subjects: Sequence[str]) -> Recordings:
    """The recordings of some subjects. Raises SourceError for one that is not there."""
    unknown = [name for name in subjects if name not in recordings.subjects]
    if unknown:
        raise SourceError(
            f"{recordings.root} has no subject {', '.join(unknown)}; there are"
            f" {', '.join(recordings.subjects)}"
        )
    kept = [entry for entry in recordings.entries if entry.subject in subjects]
    return replace(recordings, entries=kept)


def recording_names(recordings: Recordings, options: Mapping[str, Any]) -> list[str]:
    """What each recording is called in ids, wherever its folder lies. Raises SourceError.

    Its file; with `#SUBJECT` after it where several subjects share one, and a sensor before it
    whose files have the names of another's.
    """
    names = [_name(recordings, entry, options) for entry in recordings.entries]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        files = [e.file for e, name in zip(recordings.entries, names, strict=True) if name == twice]
        raise SourceError(
            f"{recordings.root}: {' and '.join(files[:2])} would have the same ids; move one away"
        )
    return names


def _name(recordings: Recordings, entry: Entry, options: Mapping[str, Any]) -> str:
    dataset = recordings.facts.name
    name = entry.file
    if dataset not in USERS_OWN:
        parts = f"{recordings.root}/{entry.file}".split("/")
        name = "/".join(parts[-PARTS.get(dataset, 1) :])
    if dataset == "motionsense" and options.get("sensor", "motion") != "motion":
        name = f"{options['sensor']}/{name}"
    return composed(f"{name}#{entry.subject}" if entry.spans else name)


def split_of(dataset: str, name: str) -> str:
    """The split of a recording by its name, where its publishers have made one."""
    return name.partition("/")[0].lower() if dataset == "uci-har" else ""


def make_source(opening: Opening, scaling: Scaling | None, found: Listing) -> Source:
    """The source of windows that were found."""
    recordings, facts = opening.recordings, opening.recordings.facts
    owners = np.concatenate(found.owners)
    subjects = [entry.subject for entry in recordings.entries]
    return Source(
        kind=facts.name,
        location=recordings.root,
        sample="signal",
        shape=(found.samples, len(opening.alike.channels)),
        channels=opening.alike.channels,
        units=opening.alike.units if scaling is None else (SCALED,) * len(opening.alike.channels),
        dtype=np.dtype(np.float64),
        maximum=None,
        ids=found.ids,
        labels=np.concatenate(found.classes),
        reader=WindowReader(
            recordings=recordings,
            spec=opening.spec,
            scaling=scaling,
            samples=found.samples,
            owners=owners,
            starts=np.concatenate(found.starts),
            hashes=np.frombuffer(b"".join(found.hashes), np.uint8).reshape(-1, 32),
            token=opening.token,
            memory=reader_memory(opening, found),
            seconds=np.array([opening.seconds[k] for k in range(len(recordings))]),
        ),
        label_names=tuple(facts.labels[code] for code in facts.classes),
        groups=[subjects[owner] for owner in owners.tolist()],
        splits=[opening.splits[owner] for owner in owners.tolist()],
        citation=facts.citation,
        licence=facts.licence,
        notes=(*recordings.notes, *_notes(opening, found)),
        id_form=ID_FORM,
    )


def reader_memory(opening: Opening, found: Listing) -> int:
    """Bytes that a worker takes at most, about, to read windows and keep what it has read."""
    if in_stretches(opening.recordings, opening.spec):
        stretch = 8 * len(opening.alike.channels) * (STRETCH + found.samples)
        return PARSING + READING * stretch + min(sum(found.kept), max(KEPT_BYTES, stretch))
    return PARSING + READING * max(found.read) + min(sum(found.kept), max(KEPT_BYTES, *found.kept))


def _notes(opening: Opening, found: Listing) -> Iterator[str]:
    """What a user should know of the windows, a line each."""
    yield from grouped(found.notes)
    if found.left_out:
        yield f"left out: {counted(found.left_out)}"
    yield from copies(found)
    rate = opening.alike.rate
    yield (
        f"windows of {found.samples} samples at {rate:.6g} Hz ({found.samples / rate:.4g} s),"
        f" of {len(opening.recordings)} recordings"
    )
    factor = READING_PAGES if in_stretches(opening.recordings, opening.spec) else READING
    listed = factor * max(found.read)
    if listed > LARGE:
        yield f"listing the longest recording takes about {listed / 2**30:.1f} GiB of memory, once"
    if opening.spec.scale.name == "fitted":
        yield f"the scale is fitted on {opening.spec.fit_on.plain()}: test on none of them"


def grouped(notes: Sequence[tuple[str, str]]) -> Iterator[str]:
    """A line for each kind of note, whatever the numbers in it: the first, and how many more."""
    kinds: dict[str, list[str]] = {}
    for name, note in notes:
        kinds.setdefault(NUMBERS.sub("0", note), []).append(f"{name}: {note}")
    for first, *others in kinds.values():
        yield f"{first}{f' (and {len(others):,} recordings more alike)' if others else ''}"


def copies(found: Listing) -> Iterator[str]:
    """A line where windows of two recordings have equal values, whatever their names are."""
    digests = np.frombuffer(b"".join(found.hashes), "V32")
    owners = np.concatenate(found.owners)
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    earliest = first[which.reshape(-1)]  # (n,) the first window of these values
    twice = np.flatnonzero(owners[earliest] != owners)
    if len(twice):
        one, other = found.ids[earliest[twice[0]]], found.ids[twice[0]]
        yield (
            f"{len(twice)} windows have the values of one of another recording, such as {other} and"
            f" {one}: never train on one and test on the other (pi-cache folds --inputs tells)"
        )


open_pamap2 = partial(open_windows, "pamap2")
open_usc_had = partial(open_windows, "usc-had")
open_uci_har = partial(open_windows, "uci-har")
open_wisdm = partial(open_windows, "wisdm")
open_wisdm_2019 = partial(open_windows, "wisdm-2019")
open_mhealth = partial(open_windows, "mhealth")
open_motionsense = partial(open_windows, "motionsense")
open_sisfall = partial(open_windows, "sisfall")
open_geneactiv = partial(open_windows, "geneactiv")
open_table = partial(open_windows, "table")
