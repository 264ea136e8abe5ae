"""Losses of distillation as loops in float64, straight from their formulas."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def softmax(logits: Sequence[float], temperature: float = 1.0) -> list[float]:
    largest = max(logits)
    powers = [math.exp((z - largest) / temperature) for z in logits]
    return [power / sum(powers) for power in powers]


def kl(student: Array, teacher: Array, temperature: float) -> list[float]:
    """One number a sample."""
    found = []
    for own, other in zip(student, teacher, strict=True):
        p, q = softmax(other, temperature), softmax(own, temperature)
        found.append(sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True)))
    return found


def cross_entropy(logits: Array, shares: Array) -> list[float]:
    return [
        -sum(t * math.log(q) for t, q in zip(target, softmax(row), strict=True))
        for row, target in zip(logits, shares, strict=True)
    ]


def deviation(values: Sequence[float], unbiased: bool = True) -> float:
    mean = sum(values) / len(values)
    squares = sum((value - mean) ** 2 for value in values)
    return math.sqrt(squares / (len(values) - int(unbiased)))


def rescale(logits: Array, factor: float) -> Array:
    return np.array([[factor * z / deviation(row) for z in row] for row in logits])


def standardise(logits: Array, unbiased: bool) -> Array:
    return np.array(
        [[(z - sum(row) / len(row)) / deviation(row, unbiased) for z in row] for row in logits]
    )


def unit(values: Sequence[float]) -> list[float]:
    norm = math.sqrt(sum(value**2 for value in values))
    return [value / norm if norm > 0 else 0.0 for value in values]


def energy(maps: Array, power: float = 2.0) -> Array:
    """(n, *positions) mean over channels."""
    found = np.zeros((maps.shape[0], *maps.shape[2:]))
    for i, c in np.ndindex(maps.shape[:2]):
        for position in np.ndindex(maps.shape[2:]):
            found[(i, *position)] += abs(maps[(i, c, *position)]) ** power / maps.shape[1]
    return found


def pool(maps: Array, sizes: Sequence[int]) -> Array:
    """Means of cells from floor(k m / s) to ceil((k + 1) m / s) of the last axes."""
    lead = maps.shape[: maps.ndim - len(sizes)]
    found = np.zeros((*lead, *sizes))
    for place in np.ndindex(*sizes):
        cut = tuple(
            slice(k * m // s, -((-(k + 1) * m) // s))
            for k, s, m in zip(place, sizes, maps.shape[len(lead) :], strict=True)
        )
        cell = maps[(..., *cut)]
        found[(..., *place)] = cell.reshape(*lead, -1).mean(-1)
    return found


def squares(own: Sequence[Sequence[float]], other: Sequence[Sequence[float]], mean: str) -> float:
    """Sum of squared differences, by the batch or by all elements."""
    total = sum(
        (a - b) ** 2
        for row, column in zip(own, other, strict=True)
        for a, b in zip(row, column, strict=True)
    )
    return total / (len(own) * (len(own[0]) if mean == "element_mean" else 1))


def at(student: Array, teacher: Array, mean: str, power: float = 2.0) -> float:
    maps = [[unit(e.ravel()) for e in energy(each, power)] for each in (student, teacher)]
    return squares(maps[0], maps[1], mean)


def similarity(maps: Array) -> list[list[float]]:
    rows = [each.ravel().tolist() for each in maps]
    return [[sum(a * b for a, b in zip(x, y, strict=True)) for y in rows] for x in rows]


def merge(similarities: Sequence[Sequence[Sequence[float]]], weights: Sequence[float]) -> list:
    count = len(similarities[0])
    return [
        [sum(w * g[i][j] for w, g in zip(weights, similarities, strict=True)) for j in range(count)]
        for i in range(count)
    ]


def sp(own: Sequence, other: Sequence) -> float:
    return squares([unit(row) for row in own], [unit(row) for row in other], "element_mean")


def orthogonal(patch: Array, product: bool) -> Array:
    rows = [unit(row) for row in patch]
    found = similarity(np.array(rows)) if product else [list(row) for row in rows]
    for i in range(min(len(rows), len(found[0]))):
        found[i][i] -= 1  # of both sides of a loss, where it cancels
    return np.array(found)


def cut(maps: Array, side: int, grid: bool) -> list[Array]:
    """Bands of rows, the first ones longer; or the same of columns too."""
    bands = np.array_split(maps, side)
    return [p for band in bands for p in np.array_split(band, side, axis=1)] if grid else bands


def tpkd(own: Array, merged: Array, side: int, grid: bool, product: bool, mean: str) -> float:
    pairs = list(zip(cut(own, side, grid), cut(merged, side, grid), strict=True))
    losses = [squares(orthogonal(a, product), orthogonal(b, product), mean) for a, b in pairs]
    return sum(losses) / len(losses)


def huber(difference: float) -> float:
    size = abs(difference)
    return size**2 / 2 if size < 1 else size - 0.5


def distances(rows: Array) -> list[float]:
    found = [math.dist(rows[i], rows[j]) for i, j in itertools.combinations(range(len(rows)), 2)]
    mean = sum(found) / len(found)
    return [value / mean if mean > 0 else 0.0 for value in found]


def rkd_distance(student: Array, teacher: Array) -> float:
    pairs = list(zip(distances(student), distances(teacher), strict=True))
    return sum(huber(a - b) for a, b in pairs) / len(pairs)


def angle(rows: Array, i: int, j: int, k: int) -> float:
    return float(np.dot(unit(rows[i] - rows[j]), unit(rows[k] - rows[j])))


def rkd_angle(student: Array, teacher: Array) -> float:
    found = [
        huber(angle(student, *three) - angle(teacher, *three))
        for three in itertools.permutations(range(len(student)), 3)
    ]
    return sum(found) / len(found)


def afd_attention(queries: Array, keys: Array, positions: Array) -> Array:
    n, teachers, size = queries.shape
    found = np.zeros((n, teachers, keys.shape[1]))
    for i, t in np.ndindex(n, teachers):
        logits = [
            (sum(queries[i, t] * keys[i, s, t]) + positions[t, s]) / math.sqrt(size)
            for s in range(keys.shape[1])
        ]
        found[i, t] = softmax(logits)
    return found


def afd(student: Sequence[Array], teacher: Sequence[Array], attention: Array) -> float:
    total = 0.0
    for i, t, s in np.ndindex(attention.shape):
        other = energy(teacher[t])[i]
        own = pool(energy(student[s])[i], other.shape)
        differences = zip(unit(own.ravel()), unit(other.ravel()), strict=True)
        total += attention[i, t, s] * sum((a - b) ** 2 for a, b in differences) / other.size
    return total / len(attention)


def amd_map(maps: Array) -> Array:
    energies = energy(maps) * maps.shape[1]
    return np.array([e / (math.sqrt(sum(e.ravel() ** 2)) + 1e-6) for e in energies])


def amd_terms(own: Array, other: Array, mean: str, scale: float, margin: float) -> float:
    """Of maps q (n, *positions)."""
    scores: list[list[list[list[float]]]] = []
    for q in (own, other):
        each: list[list[list[float]]] = [[], [], []]
        for row in q.reshape(len(q), -1):
            u = [scale * math.cos(margin * math.acos(min(v, 1 - 1e-7))) for v in row]
            v = [scale * (1 - value) for value in row]
            g = [a - math.log(math.exp(a) + math.exp(b)) for a, b in zip(u, v, strict=True)]
            for rows, values in zip(each, (g, u, v), strict=True):
                rows.append(unit(values))
        scores.append(each)
    return sum(squares(a, b, mean) for a, b in zip(*scores, strict=True)) / 3


def amd_local(own: Array, other: Array, mean: str, scale: float, margin: float) -> float:
    """Of maps q (n, height, width), by quadrants."""
    h, w = own.shape[1] // 2, own.shape[2] // 2
    losses = [
        amd_terms(own[:, rows, columns], other[:, rows, columns], mean, scale, margin)
        for rows in (slice(0, h), slice(h, None))
        for columns in (slice(0, w), slice(w, None))
    ]
    return sum(losses) / 4


def entropy_weights(teachers: Sequence[Array], temperature: float) -> Array:
    """(T, n)."""
    found = np.zeros((len(teachers), len(teachers[0])))
    for i in range(found.shape[1]):
        each = [softmax(logits[i], temperature) for logits in teachers]
        entropies = [-sum(p * math.log(p) for p in row) for row in each]
        for t, value in enumerate(entropies):
            found[t, i] = (1 - value / sum(entropies)) / (len(teachers) - 1)
    return found


def confidence_weights(teachers: Sequence[Array], shares: Array) -> Array:
    """(T, n)."""
    losses = np.array([cross_entropy(logits, shares) for logits in teachers])
    found = np.zeros_like(losses)
    for i in range(losses.shape[1]):
        for t, value in enumerate(softmax(losses[:, i].tolist())):
            found[t, i] = (1 - value) / (len(teachers) - 1)
    return found


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def amd(own: Array, other: Array, scale: float, margin: float) -> float:
    """The mean over positions of whole maps, at the smaller size."""
    sizes = [min(pair) for pair in zip(own.shape[2:], other.shape[2:], strict=True)]
    q = [amd_map(pool(each, sizes)) for each in (own, other)]
    return amd_terms(q[0], q[1], "element_mean", scale, margin)


def amd_parts(own: Array, other: Array, scale: float, margin: float) -> float:
    """The same of 2 parts of a signal or 2 x 2 of an image, mean over parts."""
    sizes = [min(pair) for pair in zip(own.shape[2:], other.shape[2:], strict=True)]
    q = [amd_map(pool(each, sizes)) for each in (own, other)]
    cuts = itertools.product(*((slice(0, s // 2), slice(s // 2, None)) for s in sizes))
    losses = [
        amd_terms(q[0][:, *cut], q[1][:, *cut], "element_mean", scale, margin) for cut in cuts
    ]
    return mean(losses)


def normed(rows: Array, weight: Array, bias: Array, scale: Array, shift: Array) -> Array:
    """A linear layer (D, C) of rows (n, C), then a batch norm in training."""
    found = np.array(
        [[sum(w * row) + b for w, b in zip(weight, bias, strict=True)] for row in rows]
    )
    for d, column in enumerate(found.T):
        middle = mean(column.tolist())
        spread = math.sqrt(mean([(v - middle) ** 2 for v in column.tolist()]) + 1e-5)
        found[:, d] = [scale[d] * (v - middle) / spread + shift[d] for v in column.tolist()]
    return found
