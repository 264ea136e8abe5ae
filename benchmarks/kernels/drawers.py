"""Persistence images by other libraries: 50 x 50 pixels, window 0..1, linear weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from benchmarks.kernels.peers import PACKAGES, Disagreement
from benchmarks.machine import versions
from pi_cache.specs import ImageSpec
from pipeline.images import draw, select

SPEC = ImageSpec(pixels=50, sigma=0.05, threshold=0.005)
LEGACY = SPEC.replace(grid="legacy-persim", weight="relative", row_order="descending")
BY_HAND = "SciPy and BLAS by hand"
LARGEST_ERROR = 1e-13
"""Of an image, as a part of its maximum: libraries that integrate are as close as that."""


class Drawer(NamedTuple):
    """A library. compute: a diagram to its answer. image: that as one of `spec`.

    spec: None where it does not integrate over cells, so that images cannot be compared.
    """

    compute: Callable[[np.ndarray], Any]
    image: Callable[[Any], np.ndarray] = np.asarray
    spec: ImageSpec | None = SPEC


def drawers(diagrams: Sequence[np.ndarray]) -> dict[str, Drawer]:
    """Those that are installed. diagrams: finite ones, for what has to be fitted before."""
    makers = {
        "persim PersistenceImager": ("persim", _imager),
        "persim PersImage": ("persim", _retired),
        "gudhi, samples": ("gudhi", lambda: _samples(diagrams)),
        "giotto-tda, filters": ("giotto-tda", lambda: _filters(diagrams)),
    }
    found = versions(PACKAGES)
    others = {name: make() for name, (package, make) in makers.items() if package in found}
    return {BY_HAND: Drawer(by_scipy)} | others


def by_scipy(diagram: np.ndarray) -> np.ndarray:
    """The image as a product of two matrices of masses."""
    birth, persistence = diagram[:, 0], diagram[:, 1] - diagram[:, 0]
    edges = np.linspace(0, 1, SPEC.pixels + 1)
    masses_of_birth = np.diff(ndtr((edges - birth[:, None]) / SPEC.sigma))  # (n, 50)
    masses = np.diff(ndtr((edges - persistence[:, None]) / SPEC.sigma))
    return (masses * persistence[:, None]).T @ masses_of_birth


def _imager() -> Drawer:
    from persim import PersistenceImager

    variance = [[SPEC.sigma**2, 0], [0, SPEC.sigma**2]]
    imager = PersistenceImager((0, 1), (0, 1), 1 / SPEC.pixels, kernel_params={"sigma": variance})
    return Drawer(imager.transform, np.transpose)


def _retired() -> Drawer:
    from persim import PersImage

    size = [SPEC.pixels] * 2
    retired = PersImage(size, SPEC.sigma, specs={"minBD": 0, "maxBD": 1}, verbose=False)
    return Drawer(retired.transform, spec=LEGACY)


def _samples(diagrams: Sequence[np.ndarray]) -> Drawer:
    from gudhi.representations import PersistenceImage

    sampled = PersistenceImage(
        bandwidth=SPEC.sigma,
        weight=lambda point: point[1],
        resolution=[SPEC.pixels] * 2,
        im_range=[0, 1, 0, 1],
    )
    sampled.fit(list(diagrams))
    return Drawer(lambda diagram: sampled.transform([diagram]), spec=None)


def _filters(diagrams: Sequence[np.ndarray]) -> Drawer:
    from gtda.diagrams import PersistenceImage

    def padded(several: Sequence[np.ndarray]) -> np.ndarray:
        array = np.zeros((len(several), max(map(len, several)), 3))
        for row, diagram in zip(array, several, strict=True):
            row[: len(diagram), :2] = diagram
        return array

    pixels = SPEC.sigma * SPEC.pixels
    filtered = PersistenceImage(pixels, SPEC.pixels, weight_function=lambda p: p, n_jobs=1)
    filtered.fit(padded(diagrams))
    return Drawer(lambda diagram: filtered.transform(padded([diagram])), spec=None)


def ours(points: np.ndarray, offsets: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Raw images of ragged diagrams."""
    return draw(select(points, offsets, spec), spec)


def check_image(name: str, drawer: Drawer, diagram: np.ndarray) -> None:
    """Raise Disagreement where the image is not ours."""
    if drawer.spec is None:
        return
    own = ours(diagram, np.array([0, len(diagram)]), drawer.spec)[0]
    error = difference(drawer.image(drawer.compute(diagram)), own)
    if error > LARGEST_ERROR:
        raise Disagreement(f"{name} and our image differ by {error:.1e} of its maximum")


def difference(image: np.ndarray, other: np.ndarray) -> float:
    """The largest one, as a part of the maximum."""
    return float(np.abs(image - other).max() / np.abs(other).max())
