"""Why imported images differ from recomputed ones: known confusions, the simplest that fits."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pi_cache.errors import InvalidSpec, PiCacheError
from pi_cache.specs import PRECISIONS, ROUNDINGS, SCANS, DiagramSpec
from pipeline.legacy.arrange import TURNS
from pipeline.legacy.recompute import (
    Comparison,
    Recomputed,
    Way,
    compare,
    faint_channels,
    finished,
)
from pipeline.recipes import RECIPES

TRIED = 8
"""Samples on which confusions are tried; the one that fits is tried on all."""

TURN_WORDS = {
    "flip-rows": "rows lie upside down",
    "flip-columns": "columns run from right to left",
    "rotate-180": "images are turned by half",
    "transpose": "axes are swapped: birth runs along the rows",
    "anti-transpose": "axes are swapped, and both run backwards",
    "rotate-left": "images are turned to the right",
    "rotate-right": "images are turned to the left",
}


@dataclass(frozen=True, kw_only=True)
class Order:
    """Channels of recomputed images in the order of the imported ones."""

    channels: tuple[int, ...]
    words: str = ""
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What makes recomputed images like the imported ones.

    remedy: what to do about it. comparison: over all samples, with it.
    """

    words: str
    remedy: str
    comparison: Comparison


def explain(
    images: np.ndarray, base: Way, recomputed: Recomputed, worst: np.ndarray,
    tolerance: float | None,
) -> Explanation | None:  # fmt: skip
    """The simplest known confusion with which images (n, C, P, P) agree; None where none fits.

    worst: (n,) the samples in the order in which they are tried.
    """
    few = worst[:TRIED].tolist()
    tried = _Tried(images[few], recomputed.taken(few), tolerance)
    for way, order, turn in _candidates(base, images.shape[1], tried.recomputed):
        if tried.fits(way, order, turn):
            words = [w for w in (way.words, order.words, TURN_WORDS.get(turn, "")) if w]
            remedies = [r for r in (way.remedy, order.remedy) if r]
            remedies += [f"--turn {turn}"] * (turn != "none")
            return Explanation(
                words=" and ".join(words),
                remedy=" and ".join(remedies),
                comparison=_Tried(images, recomputed, tolerance).compare(way, order, turn),
            )
    return None


def _candidates(base: Way, channels: int, part: Recomputed) -> Iterator[tuple[Way, Order, str]]:
    """Every way, order and turn; those that differ from the claim in less come first."""
    orders = list(_orders(base, channels))
    combined = itertools.product(_ways(base, part), orders, TURNS)
    yield from sorted(
        combined, key=lambda one: bool(one[0].words) + bool(one[1].words) + (one[2] != "none")
    )


class _Tried:
    """Images (n, C, P, P) against what recomputed samples give in many ways, each drawn once."""

    def __init__(self, images: np.ndarray, recomputed: Recomputed, tolerance: float | None) -> None:
        self.images, self.recomputed, self.tolerance = images, recomputed, tolerance
        self._drawn: dict[Way, np.ndarray] = {}

    def fits(self, way: Way, order: Order, turn: str) -> bool:
        """Whether all samples agree, and most of their channels can be compared."""
        found = self.compare(way, order, turn)
        return found.all_agree and found.tells

    def compare(self, way: Way, order: Order, turn: str) -> Comparison:
        """The images turned, against recomputed ones in that order of channels."""
        turned = np.moveaxis(TURNS[turn](np.moveaxis(self.images, 1, -1)), -1, 1)
        raw = self._raw(way)
        if raw.shape != turned.shape:
            nothing = np.zeros(len(turned))
            return Comparison(each=nothing + np.inf, share=1.0, agree=nothing > 0, counted=0,
                              channels=turned.shape[0] * turned.shape[1])  # fmt: skip
        raw = raw[:, list(order.channels)]
        others = finished(raw, way, turned)
        return compare(turned, others, ~faint_channels(raw, way), self.tolerance)

    def _raw(self, way: Way) -> np.ndarray:
        if way not in self._drawn:
            try:
                self._drawn[way] = self.recomputed.raw(way)
            except PiCacheError:  # a way that does not apply to this source
                self._drawn[way] = np.zeros((0,))
        return self._drawn[way]


def _orders(base: Way, channels: int) -> Iterator[Order]:
    """Orders of channels that are known to happen."""
    usual = tuple(range(channels))
    yield Order(channels=usual)
    scans = 2 if base.diagram.scan == "both" else 1
    each = channels // scans
    if each > 1:
        flipped = tuple(k for s in range(scans) for k in reversed(usual[s * each : (s + 1) * each]))
        yield Order(
            channels=flipped,
            words="channels run backwards (BGR)",
            remedy=f"--channel-order {','.join(map(str, flipped))}",
        )
    if scans == 2:
        rows, columns = usual[:each], usual[each:]
        swapped = columns + rows
        yield Order(
            channels=swapped,
            words="rows and columns are swapped",
            remedy=f"--channel-order {','.join(map(str, swapped))}",
        )
        again = "compute them again: pipeline build-pis SOURCE --recipe NAME"
        yield Order(
            channels=rows + rows,
            words="the images of columns are those of rows (a transpose whose result is not used)",
            remedy=again,
        )
        yield Order(channels=columns + columns, words="the images of rows are those of columns",
                    remedy=again)  # fmt: skip


def _ways(base: Way, part: Recomputed) -> Iterator[Way]:
    """The claim, and the ways that differ from it in one thing."""
    yield base
    image = base.image
    single = {
        "image.rounding": ROUNDINGS,
        "image.grid": ("regular", "legacy-persim"),
        "image.weight": ("one", "linear", "relative", "power:2"),
        "image.threshold": (0.0, 0.001),
        "diagram.precision": PRECISIONS,
        "diagram.scan": SCANS if part.source.sample == "image" else (),
    }
    for name, values in single.items():
        of, _, field = name.partition(".")
        for value in values:
            if value == getattr(getattr(base, of), field):
                continue
            try:
                changed = {of: getattr(base, of).replace(**{field: value})}
            except InvalidSpec:
                continue
            yield replace(base, **changed, words=f"{field} is {value}, not as claimed",
                          remedy=f"--given {name}={value}")  # fmt: skip
    yield from _scales(base)
    for recipe in RECIPES.values():
        if recipe.image.pixels != image.pixels or recipe.sample != part.source.sample:
            continue
        for rounding in ROUNDINGS if image.dtype == "uint8" else ("nearest",):
            yield Way(
                diagram=_scanned(recipe.diagram, base.diagram),
                image=recipe.image.replace(dtype=image.dtype, rounding=rounding),
                words=f"they are those of {recipe.name}",
                remedy=f"--recipe {recipe.name}",
            )


def _scanned(diagram: DiagramSpec, as_in: DiagramSpec) -> DiagramSpec:
    """A diagram spec with the scan of another one: how many images there are follows from it."""
    same = diagram.filtration == as_in.filtration
    return diagram.replace(scan=as_in.scan) if same else diagram


def _scales(base: Way) -> Iterator[Way]:
    """Other divisions than the claimed one."""
    for name in ("none", "own-max"):
        if name != base.image.normalise and (name, base.image.dtype) != ("none", "uint8"):
            yield replace(base, image=base.image.replace(normalise=name),
                          words=f"normalise is {name}, not as claimed",
                          remedy=f"--given image.normalise={name}")  # fmt: skip
    yield replace(base, scale="sample", words="each sample is divided by the largest value of all"
                  " its channels", remedy="--keep: no spec says that")  # fmt: skip
    yield replace(base, scale="one", words="all images are divided by one number",
                  remedy="--given image.normalise=dataset-max")  # fmt: skip
    yield replace(base, factor=255.0, words="values are 255 times as large",
                  remedy="divide the arrays by 255")  # fmt: skip
