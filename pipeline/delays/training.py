"""The windows that a delay and a dimension may be chosen from: those of the training part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pi_cache.errors import InvalidSpec, SourceError
from pipeline.sources.base import Source, read_samples
from pipeline.sources.rates import rate_of

WANTED = 50
"""Windows that are looked at, from all over the training part, unless told otherwise."""
TRAIN, TEST = "train", "test"
EVERYTHING = "the whole source"


@dataclass(frozen=True, kw_only=True)
class Part:
    """Windows of one part of a source.

    windows: (T, C) each. channels: their names. rate: of the windows in Hz, None for unknown.
    name: of the part, in words. of: how many it holds. everything: whether that part is all there
    is, and no training part is known. unreadable: windows that were asked for and could not be
    used.
    """

    windows: Sequence[np.ndarray]
    channels: tuple[str, ...]
    rate: float | None
    name: str
    of: int
    everything: bool
    unreadable: int

    @property
    def length(self) -> int:
        """Samples of the median window."""
        return int(np.median([len(window) for window in self.windows]))

    @property
    def alike(self) -> list[np.ndarray]:
        """The windows as arrays (n, T, C): one where all are of one length, else one a window."""
        if len({window.shape for window in self.windows}) == 1:
            return [np.stack(self.windows)]
        return [window[None] for window in self.windows]

    def lines(self) -> list[str]:
        """What was looked at, in words."""
        looked = f"{len(self.windows)} of the {self.of:,} windows of {self.name} are looked at"
        lines = [f"{looked}, {self.unreadable} more cannot be used" if self.unreadable else looked]
        if self.everything:
            lines.append(
                "warning: no training part is known, so what is tested on may be among them: name"
                " it by --split, or choose by `pipeline delays` on the subjects that are trained on"
                " and give the numbers"
            )
        return lines


def training_part(
    source: Source, *, wanted: int = WANTED, channels: Sequence[str] | None = None
) -> Part:
    """Up to `wanted` windows, spread evenly over the training part of a source.

    That is the split `train` where there is one; else the part that a scale was fitted on
    (fit_on=subjects:A,B); else everything. channels: those to look at, all unless given.
    Raises InvalidSpec for samples that are no signals and for a test part, SourceError where no
    window can be used.
    """
    if source.sample != "signal":
        raise InvalidSpec(f"delays are chosen for signals, and these samples are {source.sample}s")
    members, name = _members(source)
    names = tuple(source.channels if channels is None else channels)
    unknown = [name for name in names if name not in source.channels]
    if unknown:
        known = ", ".join(source.channels)
        raise InvalidSpec(f"no channel {', '.join(unknown)}; there are {known}")
    columns = [source.channels.index(name) for name in names]
    count = min(wanted, len(members))
    chosen = members[np.arange(count) * len(members) // max(count, 1)]
    windows = [window[:, columns] for window in _read(source, chosen)]
    if not windows:
        raise SourceError(f"{source.location}: none of {len(chosen)} windows of {name} can be used")
    return Part(
        windows=windows,
        channels=names,
        rate=rate_of(source),
        name=name,
        of=len(members),
        everything=name == EVERYTHING,
        unreadable=len(chosen) - len(windows),
    )


def _members(source: Source) -> tuple[np.ndarray, str]:
    """Positions of the training part, and its name."""
    if source.split.lower() == TEST:
        raise InvalidSpec(
            f"a delay and a dimension are not chosen on split {source.split!r}: choose them on the"
            " training part (pipeline delays SOURCE --split train) and give the numbers"
        )
    if source.split:
        return np.arange(len(source)), f"split {source.split}"
    splits = np.asarray(source.splits, np.str_)
    if (splits == TRAIN).any():
        return np.flatnonzero(splits == TRAIN), f"split {TRAIN}"
    rule, _, names = str(source.options.get("fit_on", "")).partition(":")
    if rule == "subjects":
        return np.flatnonzero(np.isin(source.groups, names.split(","))), f"subjects {names}"
    return np.arange(len(source)), EVERYTHING


def _read(source: Source, positions: np.ndarray) -> list[np.ndarray]:
    """The usable windows (T, C) float64 among those at some positions."""
    from pipeline.statistics import USABLE

    windows = []
    for position in positions.tolist():
        samples = read_samples(source[position : position + 1])
        if samples.status[0] in USABLE:
            windows.append(np.asarray(samples.arrays[0], np.float64))
    return windows
