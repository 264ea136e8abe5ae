"""What is drawn, and how: an order by hash, and classes and groups shared out by it.

Only hashes and whole numbers decide, so that one seed draws the same everywhere.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pi_cache.errors import InvalidFolds
from pi_cache.sampling.samples import Numbers

WEIGHT = 1 << 32
"""Classes are weighed in whole numbers, which round alike everywhere."""


def ranks(ids: Iterable[str], seed: int) -> Numbers:
    """(n,) place of each id in the order of the SHA-256 of seed and id. Raises InvalidFolds."""
    try:
        prefix = f"{operator.index(seed)}\0"
    except TypeError:
        raise InvalidFolds(f"seed must be a whole number, got {seed!r}") from None
    digests = b"".join([hashlib.sha256(f"{prefix}{name}".encode()).digest()[:16] for name in ids])
    halves = np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)
    ranks = np.empty(len(halves), np.int64)
    ranks[np.lexsort((halves[:, 1], halves[:, 0]))] = np.arange(len(halves))
    return ranks


def class_counts(labels: Numbers, code: Numbers) -> Numbers:
    """(groups, classes) how many samples of each class a group has."""
    _, label = np.unique(labels, return_inverse=True)
    counts = np.zeros((int(code.max()) + 1, int(label.max()) + 1), np.int64)
    np.add.at(counts, (code, label), 1)
    return counts


def _largest_first(counts: Numbers, ranks: Numbers) -> list[int]:
    order: list[int] = np.lexsort((ranks, -counts.sum(axis=1))).tolist()
    return order


def deal_groups(counts: Numbers, ranks: Numbers, folds: int) -> Numbers:
    """(groups,) the fold of each: that which has least of its classes, then least of all.

    An empty fold has nothing of any class, so none stays empty.
    """
    weights = WEIGHT // counts.sum(axis=0)  # (classes,)
    held = np.zeros((folds, counts.shape[1]), np.int64)
    part = np.empty(len(counts), np.int64)
    for group in _largest_first(counts, ranks):
        shared = (held * counts[group] * weights).sum(axis=1)  # (folds,)
        part[group] = np.lexsort((held.sum(axis=1), shared))[0]
        held[part[group]] += counts[group]
    return part


def draw(labels: Numbers, ranks: Numbers, share: float) -> NDArray[np.bool_]:
    """(n,) whether a sample is drawn: the first of each class by rank, never a whole class."""
    order = np.lexsort((ranks, labels))
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    # Rounding the running total keeps the whole within one sample too.
    totals = np.rint(share * np.cumsum(counts)).astype(np.int64)
    wanted = np.minimum(np.diff(totals, prepend=0), counts - 1)
    drawn = np.zeros(len(labels), bool)
    drawn[order] = np.arange(len(labels)) - np.repeat(starts, counts) < np.repeat(wanted, counts)
    return drawn


def draw_groups(counts: Numbers, ranks: Numbers, share: float) -> NDArray[np.bool_]:
    """(groups,) whether a group is drawn: as long as that brings the classes nearer their share."""
    target = np.rint(share * counts.sum(axis=0)).astype(np.int64)  # (classes,)
    weights = WEIGHT // counts.sum(axis=0)
    drawn = np.zeros(len(counts), bool)

    def distance(held: Numbers) -> int:
        return int(((held - target) ** 2 * weights).sum())

    held = np.zeros_like(target)
    for group in _largest_first(counts, ranks):
        if distance(held + counts[group]) < distance(held):
            drawn[group] = True
            held = held + counts[group]
    if not drawn.any():
        drawn[min(range(len(counts)), key=lambda g: (distance(counts[g]), ranks[g]))] = True
    return drawn
