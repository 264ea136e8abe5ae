"""Which windows there are in recordings: one pass over them, one recording in memory at a time."""

from __future__ import annotations

import math
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from pi_cache.errors import SourceError
from pi_cache.sampling.windows import Window
from pipeline.recordings.base import Recordings
from pipeline.sources.windowreader import digest_of, read_series, window_of
from pipeline.windows import PUBLISHED, Cut, Scaling, Series, WindowSpec, cut
from pipeline.windows.scaling import FITS, Fit, fitted_scaling, published_scaling


@dataclass(frozen=True)
class Alike:
    """What all recordings have in common: channels, and the rate of windows in Hz.

    units: of the channels in the first one.
    """

    channels: tuple[str, ...]
    rate: float
    units: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One opening of a source: its recordings, how they are cut, and what each is called.

    names, splits: by recording. token: of this opening alone, see read_series. seconds: that
    reading each recording took, by position; of one that was kept already, that it took first.
    """

    recordings: Recordings
    spec: WindowSpec
    names: Sequence[str]
    splits: Sequence[str]
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    seconds: dict[int, float] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The source in words of the command line."""
        return f"{self.recordings.facts.name}:{self.recordings.root}"

    @cached_property
    def alike(self) -> Alike:
        """Channels and rate of the first recording, which those of all others must be."""
        series = self.series(0)
        for name in ("window", "step"):
            if not getattr(self.spec, name).samples(series.rate):
                raise SourceError(f"{self.where}: {name} is no sample long at {series.rate:g} Hz")
        return Alike(series.channels, series.rate, series.units)

    def series(self, position: int) -> Series:
        """The series of one recording. Raises SourceError."""
        start = time.perf_counter()
        series = read_series(self.recordings, position, self.spec, self.token)
        spent = time.perf_counter() - start
        self.seconds[position] = max(self.seconds.get(position, 0.0), spent)
        return series

    def cuts(self, positions: Iterable[int]) -> Iterator[tuple[int, Series, Cut]]:
        """Position, series and windows of each of these recordings, read when its turn comes."""
        labelled = bool(self.recordings.facts.classes)
        for position in positions:
            series = self.series(position)
            self._check(series, self.recordings.entries[position].file)
            yield position, series, cut(series, self.spec, labelled=labelled)

    def _check(self, series: Series, file: str) -> None:
        """Raise SourceError where a recording has other channels or another rate than the first."""
        if series.channels != self.alike.channels:
            raise SourceError(
                f"{self.where}: {file} has the channels {', '.join(series.channels)}, the first"
                f" has {', '.join(self.alike.channels)}; choose one sensor, or channels of all"
            )
        if not math.isclose(series.rate, self.alike.rate, rel_tol=1e-6):
            raise SourceError(
                f"{self.where}: {file} is of {series.rate:.6g} Hz, the first of"
                f" {self.alike.rate:.6g} Hz; bring all to one rate, as resample=linear:50"
            )


def find_scaling(opening: Opening, fitted: object | None) -> Scaling | None:
    """The scaling that the spec asks for, None for none.

    fitted: the numbers of a scale that was fitted before. Raises SourceError, UnknownSource.
    """
    rule, where = opening.spec.scale, opening.where
    if rule.name == "none":
        return None
    if rule.name == "published":
        published = PUBLISHED[opening.recordings.facts.name]
        return published_scaling(published, opening.alike.channels, where)
    if fitted is not None:
        return Scaling.from_numbers(fitted, opening.alike.channels)
    fit: Fit = FITS[rule.amount](len(opening.alike.channels))
    for _, series, windows in opening.cuts(fitted_on(opening)):
        if len(windows):
            fit.add(series.values[windows.covered(series)])
    return fitted_scaling(fit, opening.alike.channels, where)


def fitted_on(opening: Opening) -> list[int]:
    """Positions of the recordings that a scale is fitted on. Raises SourceError for none."""
    rule = opening.spec.fit_on
    if rule.name == "split":
        parts, wanted = list(opening.splits), [rule.amount]
    else:
        parts, wanted = [entry.subject for entry in opening.recordings.entries], rule.amount
    unknown = [name for name in wanted if name not in parts]
    if unknown:
        known = ", ".join(dict.fromkeys(filter(None, parts))) or "none"
        raise SourceError(
            f"{opening.where}: fit_on={rule.plain()}, and there is no {rule.name.rstrip('s')}"
            f" {', '.join(unknown)}; there are {known}"
        )
    return [position for position, name in enumerate(parts) if name in wanted]


@dataclass(kw_only=True)
class Listing:
    """Windows as they were found, of one recording after the other, and what was noticed.

    owners, starts, classes: an array a recording, of the recording's position, of the first value
    in its series, of the class from 0. hashes: a digest a window. notes: of recordings, by name.
    kept, read: bytes of each series, and of the numbers it was made of.
    """

    samples: int = 0
    owners: list[np.ndarray] = field(default_factory=list)
    starts: list[np.ndarray] = field(default_factory=list)
    classes: list[np.ndarray] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[tuple[str, str]] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)


def list_windows(opening: Opening, scaling: Scaling | None) -> Listing:
    """All windows. Raises SourceError where there is none."""
    found = Listing()
    for position, series, windows in opening.cuts(range(len(opening.recordings))):
        name = opening.names[position]
        found.samples = windows.samples
        found.owners.append(np.full(len(windows), position))
        found.starts.append(windows.positions)
        found.classes.append(windows.classes)
        found.ids += window_ids(name, series, windows)
        found.hashes += [
            digest_of(window_of(series.values, start, windows.samples, scaling))
            for start in windows.positions.tolist()
        ]
        found.left_out += windows.left_out
        found.notes += [(name, note) for note in series.notes]
        found.kept.append(series.nbytes)
        found.read.append(series.read)
    if not found.ids:
        raise SourceError(
            f"{opening.where} has no window of {found.samples} samples:"
            f" {counted(found.left_out) or 'no sample has a class'}; choose other rules, or a"
            " shorter window"
        )
    if len(set(found.ids)) < len(found.ids):
        raise SourceError(
            f"{opening.where}: windows start less than a sample of the recording apart; give a"
            " larger step"
        )
    return found


def window_ids(name: str, series: Series, windows: Cut) -> Iterator[str]:
    """The id of each window of a recording."""
    for start, length in zip(windows.starts.tolist(), windows.lengths.tolist(), strict=True):
        yield str(
            Window(
                recording=name,
                start=start,
                length=length,
                recorded=series.recorded,
                samples=windows.samples,
                rate=series.rate,
            )
        )


def counted(left_out: Counter[str]) -> str:
    """Counts by reason, in words."""
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
