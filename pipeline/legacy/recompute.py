"""Samples of a source computed again in different ways, to compare imported images with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pi_cache.specs import DiagramSpec, ImageSpec, SourceSpec, StoreSpec
from pipeline.diagrams import Diagrams
from pipeline.engines import engine_of
from pipeline.executors import single_threaded
from pipeline.images import draw, normalise, quantise, select
from pipeline.plan import spread
from pipeline.shard import Clock, diagrams_of, warm
from pipeline.sources.base import Source, read_samples
from pipeline.statistics import USABLE

FAINT = 1e-6
"""An image whose largest value is not above it, divided by that value, shows rounding errors."""
LOOKED_AT = 16
"""Samples that are looked at where nothing is recomputed."""
TIME_LIMIT = 600.0
"""Seconds for a field of a sample."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way in which images may have been made.

    scale: what they were divided by: `spec` for what the image spec says, `sample` for the largest
    value of all channels of the sample, `one` for one number for all, which the images tell.
    factor: what they were multiplied by in the end. words, remedy: of how it differs from what is
    claimed, "" for the claim itself.
    """

    diagram: DiagramSpec
    image: ImageSpec
    scale: str = "spec"
    factor: float = 1.0
    words: str = ""
    remedy: str = ""


@dataclass
class Recomputed:
    """Some samples of a source, and their diagrams by spec as they are asked for."""

    source: Source
    spec: SourceSpec
    positions: Sequence[int]
    _diagrams: dict[str, list[Diagrams | None]] = field(default_factory=dict)

    def taken(self, chosen: Sequence[int]) -> Recomputed:
        """Some of these samples."""
        kept = {key: [found[k] for k in chosen] for key, found in self._diagrams.items()}
        return Recomputed(self.source, self.spec, [self.positions[k] for k in chosen], kept)

    def usable(self, way: Way) -> np.ndarray:
        """(n,) whether each sample has diagrams."""
        return np.array([found is not None for found in self._of(self._resolved(way))])

    def raw(self, way: Way) -> np.ndarray:
        """Images (n, C, P, P) before they are divided by anything; zeros where there are none."""
        spec = self._resolved(way)
        found = self._of(spec)
        image = spec.image.replace(normalise="none", dtype="float64")
        drawn = [None if one is None else draw(select(one.points, one.offsets, image), image)
                 for one in found]  # fmt: skip
        shape = next((one.shape for one in drawn if one is not None), (1, 1, 1))
        images = [np.zeros(shape) if one is None else np.asarray(one, np.float64) for one in drawn]
        return np.stack(images)

    def _resolved(self, way: Way) -> StoreSpec:
        """The spec with what follows from the kind of source. Raises InvalidSpec."""
        return StoreSpec(source=self.spec, diagram=way.diagram, image=way.image)

    def _of(self, spec: StoreSpec) -> list[Diagrams | None]:
        if spec.diagram_key not in self._diagrams:
            engine_of(spec.diagram)
            with single_threaded():
                warm(spec)
                self._diagrams[spec.diagram_key] = [
                    _diagrams(self.source[k : k + 1], spec.diagram) for k in self.positions
                ]
        return self._diagrams[spec.diagram_key]


def _diagrams(source: Source, spec: DiagramSpec) -> Diagrams | None:
    """The diagrams of the one sample of a source, None where it is not usable."""
    samples = read_samples(source)
    found, status, _ = diagrams_of(samples, source, spec, Clock(), time_limit=TIME_LIMIT)
    return found if status[0] in USABLE else None


def finished(raw: np.ndarray, way: Way, images: np.ndarray) -> np.ndarray:
    """Raw images (n, C, P, P) as the way stores them: of the type of `images`.

    images: those to compare with, which tell the number where all were divided by one.
    """
    scaled = _scaled(raw, way, images) * way.factor
    if images.dtype == np.uint8:
        scaled = np.minimum(scaled, 1.0)  # what the number that images tell leaves over
    spec = way.image.replace(normalise="own-max", dtype=str(images.dtype))
    return np.asarray(quantise(scaled, spec))


def _scaled(raw: np.ndarray, way: Way, images: np.ndarray) -> np.ndarray:
    one = way.scale == "one" or (way.scale == "spec" and way.image.normalise == "dataset-max")
    if one or way.scale == "sample":
        if way.scale == "sample":
            divisors = raw.max(axis=(1, 2, 3), keepdims=True)
        else:
            divisors = np.full((1, 1, 1, 1), _told_by(raw, images))
        return np.asarray(np.divide(raw, divisors, out=np.zeros_like(raw), where=divisors > 0))
    return np.reshape(normalise(raw.reshape(-1, *raw.shape[2:]), way.image), raw.shape)


def _told_by(raw: np.ndarray, images: np.ndarray) -> float:
    """The number that the brightest raw image was divided by, as its stored image tells."""
    if raw.shape != images.shape:
        return 1.0
    brightest = np.unravel_index(int(raw.argmax()), raw.shape)
    stored = float(images[brightest]) / (255.0 if images.dtype == np.uint8 else 1.0)
    return float(raw[brightest]) / stored if stored > 0 else 1.0


def faint_channels(raw: np.ndarray, way: Way) -> np.ndarray:
    """(n, C) whether an image is so faint that dividing it by its maximum shows only errors."""
    largest = raw.max(axis=(2, 3))
    divided = way.image.normalise == "own-max"
    found: np.ndarray = (largest > 0) & (largest <= FAINT) & divided
    return found


TOLERANCES = {"float64": 1e-9, "float32": 1e-6, "float16": 1e-3, "uint8": 1.0}
"""Largest difference of images that agree; of uint8 in levels."""
ROUNDED = 1e-3
"""Share of the pixels of uint8 images that may be a level off: a value near a whole number."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How images differ from others.

    each: (n,) the largest difference of a sample. share: of the pixels that differ, of floats by
    more than is allowed. agree: (n,) whether a sample agrees. counted: how many images were
    compared, of `channels`; faint ones are not.
    """

    each: np.ndarray
    share: float
    agree: np.ndarray
    counted: int
    channels: int

    @property
    def all_agree(self) -> bool:
        """Whether every sample does."""
        return bool(self.agree.all())

    @property
    def tells(self) -> bool:
        """Whether most images were compared; else that they agree says little."""
        return 2 * self.counted > self.channels


def compare(
    images: np.ndarray, others: np.ndarray, counted: np.ndarray, tolerance: float | None
) -> Comparison:
    """Images (n, C, P, P) against others of their type. counted: (n, C) the channels that count.

    tolerance: largest difference of what agrees; None for that of the type, with which few pixels
    of uint8 may differ.
    """
    apart = np.abs(images.astype(np.float64) - others.astype(np.float64))
    apart[~counted] = 0.0
    each = apart.max(axis=(1, 2, 3), initial=0)
    allowed = TOLERANCES[str(images.dtype)] if tolerance is None else tolerance
    differ = apart > (0 if images.dtype == np.uint8 else allowed)
    agree = each <= allowed
    if tolerance is None and images.dtype == np.uint8:
        agree &= differ.mean(axis=(1, 2, 3)) <= ROUNDED
    return Comparison(
        each=each,
        share=float(differ.mean()),
        agree=agree,
        counted=int(counted.sum()),
        channels=counted.size,
    )


def read_images(source: Source, positions: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, C, P, P) of some imported samples, and (n,) whether each can be read."""
    arrays: list[Any] = []
    good: list[bool] = []
    for k in positions:
        samples = read_samples(source[k : k + 1])
        good.append(samples.status[0] in USABLE)
        arrays.append(np.moveaxis(np.asarray(samples.arrays[0]), -1, 0))
    return np.stack(arrays), np.array(good)


def columns_are_rows(source: Source) -> bool:
    """Whether both halves of the channels are the same in a few samples, not all of them blank."""
    pictures, good = read_images(source, spread(len(source), LOOKED_AT))
    rows, columns = np.split(pictures[good], 2, axis=1)
    return bool(rows.any()) and bool((rows == columns).all())
