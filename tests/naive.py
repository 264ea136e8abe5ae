"""The slow, obvious truth that fast code is compared with."""

from __future__ import annotations

import itertools
import math

import numpy as np

# --- Persistence of a path graph ---------------------------------------------------------------


def path_h0(signal: np.ndarray, min_persistence: float = 0.0) -> list[tuple[float, float]]:
    """Sorted sub-level pairs by union-find over the edges in order; the last one never dies."""
    values = [float(value) for value in signal]
    parent = list(range(len(values)))

    def oldest(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    pairs = []
    for i in sorted(range(len(values) - 1), key=lambda i: max(values[i], values[i + 1])):
        death = max(values[i], values[i + 1])
        older, younger = sorted((oldest(i), oldest(i + 1)), key=lambda i: values[i])
        parent[younger] = older
        if death - values[younger] > min_persistence:
            pairs.append((values[younger], death))
    return [*sorted(pairs), (min(values), math.inf)]


# --- Persistence images ------------------------------------------------------------------------


def edges(
    birth_range: tuple[float, float],
    persistence_range: tuple[float, float],
    pixels: int,
    legacy: bool,
) -> tuple[list[float], float, list[float], float]:
    """Lower edges and width of the cells, birth axis first."""
    axes: list = []
    for low, high in (birth_range, persistence_range):
        if legacy:
            axes += [list(np.linspace(low, high, pixels)), birth_range[1] / pixels]
        else:
            width = (high - low) / pixels
            axes += [[low + j * width for j in range(pixels)], width]
    return tuple(axes)


def mass(low: float, high: float, mean: float, sigma: float) -> float:
    """Of a Gaussian between two bounds, as a difference of two tails on the same side."""
    a, b = (low - mean) / (sigma * math.sqrt(2)), (high - mean) / (sigma * math.sqrt(2))
    if a > 0:
        return (math.erfc(a) - math.erfc(b)) / 2
    return (math.erfc(-b) - math.erfc(-a)) / 2


def image(
    points: list[tuple[float, float, float]],
    cells: tuple[list[float], float, list[float], float],
    sigma: float,
) -> np.ndarray:
    """Raw image (persistence, birth), ascending, of (birth, persistence, weight) points."""
    birth_edges, birth_width, persistence_edges, persistence_width = cells
    pixels = np.zeros((len(persistence_edges), len(birth_edges)))
    for birth, persistence, weight in points:
        for i, y in enumerate(persistence_edges):
            for j, x in enumerate(birth_edges):
                pixels[i, j] += (
                    weight
                    * mass(y, y + persistence_width, persistence, sigma)
                    * mass(x, x + birth_width, birth, sigma)
                )
    return pixels


# --- Vietoris-Rips persistence -----------------------------------------------------------------


def rips(lengths: np.ndarray, longest: float = math.inf) -> list[list[tuple[float, float]]]:
    """Sorted H0 and H1 pairs of a small matrix of lengths, by reducing the boundary matrix."""
    n = len(lengths)
    simplices = [(0.0, (i,)) for i in range(n)]
    for size in (2, 3):
        for corners in itertools.combinations(range(n), size):
            length = max(float(lengths[a, b]) for a, b in itertools.combinations(corners, 2))
            if length <= longest:
                simplices.append((length, corners))
    simplices.sort(key=lambda simplex: (simplex[0], len(simplex[1]), simplex[1]))
    place = {corners: k for k, (_, corners) in enumerate(simplices)}
    reduced: dict[int, set[int]] = {}
    pairs: list[list[tuple[float, float]]] = [[], [], []]
    cycles = set()
    for k, (length, corners) in enumerate(simplices):
        faces = itertools.combinations(corners, len(corners) - 1) if len(corners) > 1 else ()
        column = {place[face] for face in faces}
        while column and max(column) in reduced:
            column ^= reduced[max(column)]
        if not column:
            cycles.add(k)
            continue
        low = max(column)
        reduced[low] = column
        cycles.discard(low)
        birth, face = simplices[low]
        if length > birth:
            pairs[len(face) - 1].append((birth, length))
    for k in cycles:
        pairs[len(simplices[k][1]) - 1].append((simplices[k][0], math.inf))
    return [sorted(pairs[0]), sorted(pairs[1])]


# --- Persistence of images ---------------------------------------------------------------------


def cubical_h01(
    image: np.ndarray, cells: bool, min_persistence: float = 0.0
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Sorted pairs of H0, its essential class last, and of H1: by reduction of the boundary matrix.

    Cell (i, j) of the complex is a vertex where both numbers are even, a square where both are odd,
    and otherwise an edge. Pixels are its vertices, which the others follow, or its squares, which
    the others precede.
    """
    pixels = {
        (2 * i + cells, 2 * j + cells): float(value) for (i, j), value in np.ndenumerate(image)
    }
    values = {
        (i, j): (min if cells else max)(
            pixels[p, q] for p in (i - 1, i, i + 1) for q in (j - 1, j, j + 1) if (p, q) in pixels
        )
        for i in range(2 * image.shape[0] - 1 + 2 * cells)
        for j in range(2 * image.shape[1] - 1 + 2 * cells)
    }
    order = sorted(values, key=lambda cell: (values[cell], cell[0] % 2 + cell[1] % 2))
    rank = {cell: r for r, cell in enumerate(order)}
    reduced: dict[int, set[int]] = {}  # columns by their lowest entry
    pairs: tuple = ([], [])
    unpaired = set(range(len(order)))
    for r, (i, j) in enumerate(order):
        column = {rank[i + d, j] for d in (-1, 1) if i % 2}
        column |= {rank[i, j + d] for d in (-1, 1) if j % 2}
        while column and max(column) in reduced:
            column ^= reduced[max(column)]
        if column:
            low = max(column)
            reduced[low] = column
            unpaired -= {low, r}
            birth, death = values[order[low]], values[i, j]
            if death - birth > min_persistence:
                pairs[order[low][0] % 2 + order[low][1] % 2].append((birth, death))
    (essential,) = unpaired
    return [*sorted(pairs[0]), (values[order[essential]], math.inf)], sorted(pairs[1])


# --- Gramian angular fields --------------------------------------------------------------------


def gramian_field(
    signal: np.ndarray, size: int, form: str, between: tuple[float, float] | None = None
) -> np.ndarray:
    """The field (size, size) of one signal by its angles, of values scaled and then averaged.

    Every value is repeated `size` times, so that the segments are whole. between: as of
    `pipeline.gramian.fields.scaled`.
    """
    values = [float(value) for value in signal]
    low, high = between or (min(values), max(values))
    scaled = [
        min(max(2 * (value - low) / (high - low) - 1, -1.0), 1.0) if high > low else 0.0
        for value in values
    ]
    many = np.repeat(scaled, size)
    means = [math.fsum(part) / len(part) for part in np.split(many, size)]
    angles = [math.acos(min(max(mean, -1.0), 1.0)) for mean in means]
    combine = {
        "summation": lambda one, other: math.cos(one + other),
        "difference": lambda one, other: math.sin(one - other),
    }[form]
    return np.array([[combine(one, other) for other in angles] for one in angles])
