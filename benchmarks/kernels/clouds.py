"""The works on clouds: D, image clouds, and E, delay embeddings."""

from __future__ import annotations

import numpy as np

from benchmarks.kernels import bounds, inputs
from benchmarks.kernels.fields import against
from benchmarks.kernels.inputs import DELAY, Sizes, spread
from benchmarks.kernels.peers import check_diagrams, rips_peers, rounded_lengths, split
from benchmarks.kernels.table import Peer, Result, Section, compared
from benchmarks.kernels.timing import Contender, best_times
from benchmarks.machine import three_digits
from pipeline.kernels.rips import rips_h01

DIMENSIONS = (3, 6, 10)


def image_clouds(sizes: Sizes) -> Section:
    """D: clouds (x, y, intensity), all in one call and one at a time."""
    clouds = inputs.clouds(sizes)
    some = spread(clouds, sizes.slow)
    ours, theirs = _contenders(clouds, some)
    alone = Contender(name="alone", runs=[lambda c=c: _together(c[None]) for c in some])
    best = best_times([*ours, alone, *theirs], sizes.rounds)
    common = {
        "unit": f"cloud of {clouds.shape[1]:,} in R^3",
        "bound": float(np.mean([_bound(cloud) for cloud in some])),
    }
    results = [
        Result(
            work="D Rips H0 and H1, one call",
            seconds=best["ours"].mean(),
            inputs=len(clouds),
            peers=against(best, theirs, best["ours"].mean()),
            **common,
        ),
        Result(
            work="D one cloud a call, medians",
            seconds=float(np.median(best["alone"])),
            inputs=len(some),
            peers=[
                Peer(
                    name=peer.name,
                    seconds=float(np.median(best[peer.name])),
                    ratio=float(np.median(best[peer.name] / best["alone"])),
                    inputs=peer.inputs,
                )
                for peer in theirs
            ],
            **common,
        ),
    ]
    return compared("D. Vietoris-Rips of image clouds", results, [GIVEN])


GIVEN = "the others are given the matrix of lengths, which our kernel computes in its time"


def embeddings(sizes: Sizes) -> Section:
    """E: delay embeddings of several kinds of signals."""
    results = []
    for kind in inputs.KINDS:
        for dimension in DIMENSIONS:
            clouds = inputs.embedded(kind, dimension, sizes)
            some = spread(clouds, sizes.slow_embedded)
            ours, theirs = _contenders(clouds, some)
            best = best_times([*ours, *theirs], sizes.rounds)
            results.append(
                Result(
                    work=f"E {kind}",
                    unit=f"{clouds.shape[1]} points in R^{dimension}",
                    seconds=best["ours"].mean(),
                    inputs=len(clouds),
                    peers=against(best, theirs, best["ours"].mean()),
                    bound=float(np.mean([_bound(cloud) for cloud in some])),
                )
            )
    line = f"signals of {sizes.samples} samples, delay {DELAY}; all clouds of a kind in one call"
    return compared("E. Vietoris-Rips of delay embeddings", results, [line, *_summary(results)])


def _summary(results: list[Result]) -> list[str]:
    ratios = {f"{r.work[2:]}, {r.unit}": r.best.ratio for r in results if r.best is not None}
    if not ratios:
        return []
    least = min(ratios, key=lambda name: ratios[name])
    median = three_digits(float(np.median(list(ratios.values()))))
    return [f"by the best peer of each kind: median {median}, least {ratios[least]:.1f} ({least})"]


def _contenders(clouds: np.ndarray, some: np.ndarray) -> tuple[list[Contender], list[Contender]]:
    """Ours, with all clouds in one call, and the others with some of them; these are compared."""
    peers = rips_peers()
    matrices = [rounded_lengths(cloud) for cloud in some]
    for cloud, matrix in zip(some, matrices, strict=True):
        own = split(*_together(cloud[None]), 2)[0]
        for name, peer in peers.items():
            check_diagrams(name, peer, matrix, own)
    ours = [Contender(name="ours", runs=[lambda: _together(clouds)], items=len(clouds))]
    theirs = [
        Contender(name=name, runs=[lambda m=m, p=peer: p.compute(m) for m in matrices], warm=True)
        for name, peer in peers.items()
    ]
    return ours, theirs


def _together(clouds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Diagrams of clouds (count, n, D) in one call."""
    starts = np.arange(len(clouds) + 1) * clouds.shape[1]
    return rips_h01(clouds.reshape(-1, clouds.shape[2]), starts)


def _bound(cloud: np.ndarray) -> float:
    points, _ = _together(cloud[None])
    return bounds.of_rips(cloud, bounds.last_event(points), rounded_lengths(cloud))
