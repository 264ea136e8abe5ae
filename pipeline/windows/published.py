"""What papers did with a data set, by its name: preparation, constants, windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.recordings import pamap2
from pipeline.recordings.base import Recording
from pipeline.windows.rows import Rows


@dataclass(frozen=True, kw_only=True)
class Published:
    """What is published of one data set, where it was found.

    windows: the options of WindowSpec that were used. prepare: from a recording to the rows that
    windows were cut from. lowest, highest: constants by channel; what a scaled value above 1
    becomes is `above`, below 0 it becomes 0.
    """

    citation: str
    windows: Mapping[str, int | str]
    prepare: Callable[[Recording], Rows] | None = None
    lowest: Mapping[str, float] | None = None
    highest: Mapping[str, float] | None = None
    above: float = 1.0

    @property
    def words(self) -> str:
        """The options as they are written."""
        return " ".join(f"{name}={value}" for name, value in self.windows.items())


def prepare_pamap2(recording: Recording) -> Rows:
    """Rows (R, 40) at 33.3 Hz in units; none where no row has a label of the 12 classes."""
    kept = np.flatnonzero(pamap2.kept_rows(recording.labels))
    if not len(kept):
        empty = np.empty(0, np.int64)
        return Rows(
            channels=pamap2.KEPT_CHANNELS,
            values=np.empty((0, len(pamap2.KEPT_CHANNELS))),
            classes=empty,
            raw=empty,
            times=None,
            rate=recording.rate / pamap2.THIN,
            follow=pamap2.THIN,
        )
    done = pamap2.prepare(recording, scale=False)
    return Rows(
        channels=done.channels,
        values=done.values,
        classes=done.labels,
        raw=pamap2.thinned(kept),
        times=done.times,
        rate=done.rate,
        follow=pamap2.THIN,
    )


PUBLISHED = {
    "pamap2": Published(
        citation="E. S. Jeon et al., Topological Knowledge Distillation for Wearable Sensor Data",
        windows={
            "prepare": "published",
            "window": 100,
            "step": 22,
            "start": 22,
            "label_rule": "ends",
            "gaps": "bridge",
            "scale": "published",
        },
        prepare=prepare_pamap2,
        lowest=dict(zip(pamap2.KEPT_CHANNELS, pamap2.LOWEST, strict=True)),
        highest=dict(zip(pamap2.KEPT_CHANNELS, pamap2.HIGHEST, strict=True)),
        above=pamap2.ABOVE,
    ),
    "uci-har": Published(
        citation="D. Anguita et al., ESANN 2013: windows of 2.56 s, cut by the publishers",
        windows={"window": 128, "step": 128},
    ),
    "wisdm": Published(
        citation="J. R. Kwapisz et al., SensorKDD 2010: segments of ten seconds",
        windows={"window": "10s", "step": "10s"},
    ),
}
"""By the name of the data set."""
