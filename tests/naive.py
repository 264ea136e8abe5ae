"""The slow, obvious truth that fast code is compared with."""

from __future__ import annotations

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
