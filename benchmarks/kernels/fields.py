"""The works that are diagrams of fields: A, of signals, and C, of images."""

from __future__ import annotations

import numpy as np

from benchmarks.kernels import bounds, inputs
from benchmarks.kernels.drawers import BY_HAND
from benchmarks.kernels.inputs import Sizes, spread
from benchmarks.kernels.peers import check_diagrams, cubical_peers, path_peers, split
from benchmarks.kernels.table import Peer, Result, Section, compared
from benchmarks.kernels.timing import Contender, best_times
from pipeline.kernels.cubical import cubical_h01
from pipeline.kernels.path import path_h0

PRECISIONS = ("float64", "float32")


def paths(sizes: Sizes) -> Section:
    """A: H0 of signals."""
    signals = inputs.signals(sizes)
    few = spread(signals, sizes.few)
    peers = path_peers()
    typed = {kind: signals.astype(kind) for kind in PRECISIONS}
    for name, peer in peers.items():
        for signal in few:
            kind = "float32" if peer.single else "float64"
            own = split(*path_h0(signal[None].astype(kind), 0.0), 1)[0]
            check_diagrams(name, peer, signal.astype(kind), own)
    ours = [
        Contender(name=kind, runs=[lambda s=s: path_h0(s, 0.0)], items=len(s))
        for kind, s in typed.items()
    ]
    theirs = [
        Contender(name=name, runs=[lambda s=s, p=peer: p.compute(s) for s in few])
        for name, peer in peers.items()
    ]
    best = best_times([*ours, *theirs], sizes.rounds)
    pairs = len(path_h0(signals, 0.0)[0]) / len(signals)
    results = [
        Result(
            work=f"A path H0, {kind}",
            unit="signal of 1,024",
            seconds=best[kind].mean(),
            inputs=len(signals),
            peers=against(best, theirs, best[kind].mean()),
            bound=bounds.of_path(typed[kind], pairs),
        )
        for kind in PRECISIONS
    ]
    line = f"signals: channels of {inputs.photographs(sizes.channels)[1]}; {pairs:.0f} pairs each"
    return compared("A. Sub-level H0 of signals", results, [line])


def against(best: dict[str, np.ndarray], peers: list[Contender], ours: float) -> list[Peer]:
    """The others' times and how many times ours they are. ours: seconds an item."""
    return [
        Peer(
            name=peer.name,
            seconds=float(best[peer.name].mean()),
            ratio=float(best[peer.name].mean()) / ours,
            inputs=peer.inputs,
            by_hand=peer.name == BY_HAND,
        )
        for peer in peers
    ]


def cubical(sizes: Sizes) -> Section:
    """C: H0 and H1 of images."""
    results = []
    for side, count, few in (
        (32, sizes.channels, sizes.few),
        (sizes.side, sizes.large, sizes.large),
    ):
        photos = inputs.photos(sizes, count, side)
        for kind, batch in (("photos", photos), ("noise", inputs.noise(count, side))):
            for cells in (True, False):
                results += _cubical(kind, batch, cells, few, sizes.rounds)
    lines = ["224 x 224 photos are 32 x 32 ones, enlarged by bicubic interpolation"]
    return compared("C. Cubical H0 and H1 of images", results, lines if sizes.side == 224 else [])


def _cubical(kind: str, batch: np.ndarray, cells: bool, few: int, rounds: int) -> list[Result]:
    batch = batch.astype(np.float32).astype(np.float64)  # the same values in both precisions
    some = spread(batch, few)
    peers = cubical_peers(cells=cells)
    typed = {name: batch.astype(name) for name in PRECISIONS}
    for name, peer in peers.items():
        for precision in PRECISIONS:
            own = split(*cubical_h01(some.astype(precision), cells=cells), 2)
            for image, pairs in zip(some, own, strict=True):
                check_diagrams(name, peer, image, pairs)
    ours = [
        Contender(name=name, runs=[lambda b=b: cubical_h01(b, cells=cells)], items=len(b))
        for name, b in typed.items()
    ]
    theirs = [
        Contender(name=name, runs=[lambda i=i, p=peer: p.compute(i) for i in some])
        for name, peer in peers.items()
    ]
    best = best_times([*ours, *theirs], rounds)
    side = batch.shape[1]
    pairs = len(cubical_h01(batch, cells=cells)[0]) / len(batch)
    return [
        Result(
            work=f"C {kind}, {'cells' if cells else 'vertices'}, {name}",
            unit=f"image {side} x {side}",
            seconds=best[name].mean(),
            inputs=len(batch),
            peers=against(best, theirs, best[name].mean()),
            bound=bounds.of_cubical(spread(typed[name], 50), pairs),
        )
        for name in ("float32", "float64")
    ]
