"""Where points of a diagram can lie, by the range of the values, and what a window shows of that.

Everything here follows from specs before any work. Sub-level and super-level sets and cubical
complexes: births and deaths are values of the field, so both lie between its smallest and largest.
Of Vietoris-Rips complexes nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from pi_cache.axes import cell_width, lower_edges
from pi_cache.specs import DiagramSpec, ImageSpec
from pipeline.sources.base import Source

Interval = tuple[float, float]

UNIT: Interval = (0.0, 1.0)
SCALED = {"published": UNIT, "fitted:minmax": UNIT}
"""What the scales of windows of recordings bring values to. A fitted one does so for the part that
it was fitted on; the others may leave it by a little."""

LEAST = 0.1
"""A smaller share of an axis than this is not worth a warning."""
MOST_MISSED = 0.5
"""Nor is a window that shows more of what can be than this: few points lie at the far end."""
SIGMAS = 4.0
"""A pixel farther from a point than so many standard deviations is dark: there is less than a
thousandth of a step of a byte."""


def known_values(source: Source, diagram: DiagramSpec) -> Interval | None:
    """The smallest and largest value that fields can have, None where that is not known.

    Pixels are divided by the largest whole number, and windows of recordings scaled as they say.
    """
    scale = str(source.options.get("scale"))
    pixels = source.sample == "image" and source.maximum is not None
    low, high = UNIT if pixels else SCALED.get(scale, (0.0, 0.0))
    if low == high:
        return None
    if diagram.centre:
        low, high = low - high, high - low
    return low / diagram.scale, high / diagram.scale


@dataclass(frozen=True)
class Reach:
    """Where points can lie: their births, their persistences, and their deaths.

    falling: whether classes die below their birth, as those of super-level sets do. loose: whether
    the bounds need not be reached, since every signal was centred on its own mean.
    """

    birth: Interval
    persistence: Interval
    death: Interval
    falling: bool = False
    loose: bool = False

    @classmethod
    def of(cls, values: Interval, diagram: DiagramSpec, image: ImageSpec) -> Self | None:
        """Of fields with such values, by the specs; None where it does not follow."""
        if diagram.filtration == "rips":
            return None
        low, high = birth = death = values
        longest = high - low
        clip = image.clip_value
        if clip is not None:
            longest = max(longest, clip - low, high - clip)
            death = (min(low, clip), max(high, clip))
        falling = diagram.filtration == "superlevel"
        lives = (0.0, longest)
        return cls(birth, lives, death, falling=falling, loose=diagram.centre)


def window_warnings(
    values: Interval | None, diagram: DiagramSpec, image: ImageSpec, hint: str = ""
) -> list[str]:
    """What of the window can show nothing, and what it leaves out; a sentence each.

    values: the range of the fields, None for unknown; then only gaps between cells are told.
    hint: what stands at the end of the first sentence, such as another recipe.
    """
    found = [line for axis in ("birth", "persistence") for line in _gaps(image, axis)]
    reach = None if values is None else Reach.of(values, diagram, image)
    if reach is not None:
        found = [*_unused(reach, image), *found, *_missed(reach, image)]
    return [found[0] + hint, *found[1:]] if found else []


def _unused(reach: Reach, image: ImageSpec) -> list[str]:
    """Parts of the axes where no point can lie."""
    lines = []
    for axis, parts in unused_parts(reach, image).items():
        window = getattr(image, f"{axis}_range")
        share = outside(window, getattr(reach, axis))
        lines.append(
            f"no {axis} can lie in {' and '.join(map(text_of, parts))}, {share:.0%} of the {axis}"
            f" axis {text_of(window)}: values lie in {text_of(reach.birth)}"
        )
    return lines


def unused_parts(reach: Reach, image: ImageSpec) -> dict[str, list[Interval]]:
    """The parts of an axis where no point can lie, by axis, where they are worth a warning."""
    windows = {axis: getattr(image, f"{axis}_range") for axis in ("birth", "persistence")}
    return {
        axis: without(window, getattr(reach, axis))
        for axis, window in windows.items()
        if outside(window, getattr(reach, axis)) >= LEAST
    }


def _gaps(image: ImageSpec, axis: str) -> list[str]:
    """Cells that leave much of an axis out."""
    share = gap_share(image, axis)
    if share < LEAST:
        return []
    return [
        f"the cells of the {image.grid} grid cover {1 - share:.0%} of the {axis} axis, with gaps"
        " between them: how bright a point is drawn depends on where it falls"
    ]


def _missed(reach: Reach, image: ImageSpec) -> list[str]:
    """Where points can lie and the window does not show them."""
    lines = []
    for axis in ("birth", "persistence"):
        window, can = getattr(image, f"{axis}_range"), getattr(reach, axis)
        share = outside(can, window)
        if share >= MOST_MISSED and not reach.loose:
            lines.append(
                f"the window shows {axis} {text_of(window)}, and {axis}s can lie in {text_of(can)}:"
                f" {share:.0%} of that is left out"
            )
    return lines


def outside(window: Interval, other: Interval) -> float:
    """The share of a window that lies outside another one."""
    return sum(high - low for low, high in without(window, other)) / (window[1] - window[0])


def without(window: Interval, other: Interval) -> list[Interval]:
    """The parts of a window below and above another one, where there are any."""
    (low, high), (first, last) = window, other
    parts = [(low, min(high, first)), (max(low, last), high)]
    return [(start, stop) for start, stop in parts if start < stop]


def gap_share(image: ImageSpec, axis: str) -> float:
    """The share of an axis between its first and its last cell that no cell covers."""
    edges = lower_edges(image, axis)
    if len(edges) < 2:
        return 0.0
    step = float(edges[-1] - edges[0]) / (len(edges) - 1)
    return max(0.0, 1.0 - cell_width(image, axis) / step)


def lit_share(reach: Reach, image: ImageSpec) -> float:
    """The share of all pixels that lie within SIGMAS, along both axes, of where a point can lie."""
    far = SIGMAS * image.sigma
    left, low = lower_edges(image, "birth") - far, lower_edges(image, "persistence") - far
    right = left + cell_width(image, "birth") + 2 * far
    high = low + cell_width(image, "persistence") + 2 * far
    births = (right >= reach.birth[0]) & (left <= reach.birth[1])  # (pixels,)
    lives = (high >= reach.persistence[0]) & (low <= reach.persistence[1])
    shortest = np.maximum(low, 0.0)[:, None]
    if reach.falling:
        dies = np.minimum(right, reach.birth[1]) - shortest >= reach.death[0]
    else:
        dies = np.maximum(left, reach.birth[0]) + shortest <= reach.death[1]
    return float((dies & births & lives[:, None]).mean())  # of (persistence, birth)


def text_of(interval: Interval) -> str:
    """As it is printed."""
    return f"{interval[0]:g}..{interval[1]:g}"
