"""The works that end in an image: B, from diagrams, and A+B, from signals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.kernels import bounds, drawers, inputs
from benchmarks.kernels.drawers import BY_HAND, SPEC
from benchmarks.kernels.fields import PRECISIONS, against
from benchmarks.kernels.inputs import Sizes, spread
from benchmarks.kernels.peers import Disagreement, path_peers
from benchmarks.kernels.table import Peer, Result, Section, compared
from benchmarks.kernels.timing import Contender, best_times
from pi_cache.specs import ImageSpec
from pipeline.images import block_of, draw, select
from pipeline.kernels.cells import cell_masses
from pipeline.kernels.path import path_h0

TOLERATED = {"float64": 2e-14, "float32": 5e-7}
"""Largest error of an image, as a part of its maximum."""
USUAL = [("ripser", "persim PersistenceImager"), ("ripser", "persim PersImage")]
"""Ways from a signal to its image that publications took."""


@dataclass(frozen=True)
class Given:
    """Signals (n, 1024), and their diagrams: ragged, and of a few the finite points (P, 2)."""

    signals: np.ndarray
    points: np.ndarray
    offsets: np.ndarray
    few_signals: np.ndarray
    few: list[np.ndarray]

    @property
    def persistences(self) -> np.ndarray:
        """Of all finite points."""
        finite = self.points[np.isfinite(self.points[:, 1])]
        return finite[:, 1] - finite[:, 0]


def given(sizes: Sizes) -> Given:
    """What is drawn."""
    signals = inputs.signals(sizes)
    few_signals = spread(signals, sizes.few)
    few = [path_h0(signal[None], SPEC.threshold)[0][:-1] for signal in few_signals]
    return Given(signals, *path_h0(signals, SPEC.threshold), few_signals, few)


def images(sizes: Sizes) -> Section:
    """B and A+B."""
    data = given(sizes)
    others = drawers.drawers(data.few)
    for name, drawer in others.items():
        for diagram in data.few:
            drawers.check_image(name, drawer, diagram)
    errors = ", ".join(f"{kind} {error_of(data.few, kind):.1e}" for kind in PRECISIONS)
    drawn = [
        Contender(name=name, runs=[lambda d=d, p=drawer: p.compute(d) for d in data.few])
        for name, drawer in others.items()
    ]
    filtered = [
        Contender(name=name, runs=[lambda s=s, p=peer: p.compute(s) for s in data.few_signals])
        for name, peer in path_peers().items()
    ]
    best = best_times([*_ours(data), *drawn, *filtered], sizes.rounds)
    comparable = [peer for peer in drawn if others[peer.name].spec is not None]
    results = [_of_diagrams(kind, best, data, drawn) for kind in PRECISIONS]
    results += [_of_signals(kind, best, data, filtered, comparable) for kind in PRECISIONS]
    lines = [
        f"{len(data.persistences) / len(data.signals):.0f} points a diagram, sigma {SPEC.sigma}, "
        f"linear weight; largest error, as a part of the maximum: {errors}",
        "gudhi samples at grid points and giotto-tda filters a histogram: only time is comparable",
        "A+B of others: a diagram by one, then an image by one that integrates over cells",
    ]
    return compared("B. Persistence images", results, lines)


def _ours(data: Given) -> list[Contender]:
    """B and A+B in both precisions."""
    runs: dict[str, Callable[[], object]] = {}
    for kind in PRECISIONS:
        spec, typed = SPEC.replace(precision=kind), data.signals.astype(kind)
        runs[f"B {kind}"] = lambda s=spec: _blocks(data.points, data.offsets, s)
        runs[f"A+B {kind}"] = lambda s=spec, t=typed: _blocks(*path_h0(t, s.threshold), s)
    return [Contender(name=n, runs=[run], items=len(data.signals)) for n, run in runs.items()]


def _blocks(points: np.ndarray, offsets: np.ndarray, spec: ImageSpec) -> None:
    """Raw images a block at a time, as a build draws them."""
    size = block_of(spec)
    for start in range(0, len(offsets) - 1, size):
        draw(select(points, offsets[start : start + size + 1], spec), spec)


def _of_diagrams(
    kind: str, best: dict[str, np.ndarray], data: Given, drawn: list[Contender]
) -> Result:
    seconds = float(best[f"B {kind}"][0])
    return Result(
        work=f"B image, {kind}",
        unit="diagram to 50 x 50",
        seconds=seconds,
        inputs=len(data.signals),
        peers=against(best, drawn, seconds),
        bound=bounds.of_images(data.persistences, len(data.signals), kind),
    )


def _of_signals(
    kind: str,
    best: dict[str, np.ndarray],
    data: Given,
    filtered: list[Contender],
    drawn: list[Contender],
) -> Result:
    seconds = float(best[f"A+B {kind}"][0])
    pairs = len(data.points) / len(data.signals)
    return Result(
        work=f"A+B, {kind}",
        unit="signal to 50 x 50",
        seconds=seconds,
        inputs=len(data.signals),
        peers=both(best, filtered, drawn, seconds),
        bound=bounds.of_images(data.persistences, len(data.signals), kind)
        + bounds.of_path(data.signals.astype(kind), pairs),
    )


def both(
    best: dict[str, np.ndarray], filtered: list[Contender], drawn: list[Contender], ours: float
) -> list[Peer]:
    """The fastest way of libraries from a signal to its image, the fastest of all, and usual ones.

    ours: seconds of an item.
    """
    ways = [
        Peer(
            name=f"{first.name} + {second.name}",
            seconds=(seconds := float(best[first.name].mean() + best[second.name].mean())),
            ratio=seconds / ours,
            inputs=second.inputs,
            by_hand=second.name == BY_HAND,
        )
        for first in filtered
        for second in drawn
    ]
    ways.sort(key=lambda way: way.seconds)
    fastest = [next((w for w in ways if w.by_hand is hand), None) for hand in (False, True)]
    usual = {" + ".join(names) for names in USUAL}
    return [way for way in ways if way in fastest or way.name in usual]


def error_of(diagrams: list[np.ndarray], kind: str) -> float:
    """The largest one of some images, as a part of their maximum. Raises Disagreement."""
    lower, width = np.arange(SPEC.pixels) / SPEC.pixels, 1 / SPEC.pixels
    worst = 0.0
    for diagram in diagrams:
        birth, persistence = diagram[:, 0], diagram[:, 1] - diagram[:, 0]
        masses = cell_masses(persistence, lower, width, SPEC.sigma) * persistence[:, None]
        exact = masses.T @ cell_masses(birth, lower, width, SPEC.sigma)
        own = drawers.ours(diagram, np.array([0, len(diagram)]), SPEC.replace(precision=kind))[0]
        worst = max(worst, drawers.difference(own, exact))
    if worst > TOLERATED[kind]:
        raise Disagreement(f"an image in {kind} is off by {worst:.1e} of its maximum")
    return worst
