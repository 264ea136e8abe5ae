"""Sources of exactly transformed samples: flipped or turned images, reversed or negated signals.

Ids, labels, groups and splits stay, so that a store of a variant joins that of the plain samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np

from pi_cache.errors import InvalidSpec, UnknownSource
from pi_cache.specs import VARIANT, ImageSpec, variant_fingerprint
from pipeline.sources.base import Reader, Source

Transform = Callable[[np.ndarray], np.ndarray]

IMAGE_VARIANTS: dict[str, Transform] = {
    "flip": lambda image: image[:, ::-1],
    "flip-vertical": lambda image: image[::-1],
    "rot180": lambda image: image[::-1, ::-1],
    "transpose": lambda image: image.swapaxes(0, 1),
    "anti-transpose": lambda image: image.swapaxes(0, 1)[::-1, ::-1],
    "rot90": lambda image: np.rot90(image, 1),
    "rot270": lambda image: np.rot90(image, 3),
}
"""Of images (H, W, C); angles are counter-clockwise, `flip` is left to right."""
SIGNAL_VARIANTS: dict[str, Transform] = {
    "reverse": lambda signal: signal[::-1],
    "negate": lambda signal: -signal,
}
"""Of signals (T, C)."""
VARIANTS: Mapping[str, Mapping[str, Transform]] = {
    "image": IMAGE_VARIANTS,
    "signal": SIGNAL_VARIANTS,
}
"""By the kind of sample."""
EXCHANGING = ("transpose", "anti-transpose", "rot90", "rot270")
"""Those that exchange height and width."""


@dataclass(frozen=True)
class VariantReader:
    """Samples of another reader, each transformed when it is read."""

    plain: Reader
    sample: str
    variant: str

    def read(self, position: int) -> np.ndarray:
        """One sample."""
        return np.ascontiguousarray(self._transform(self.plain.read(position)))

    def read_together(self) -> np.ndarray | None:
        """All samples (n, ...) where they lie together."""
        arrays = self.plain.read_together()
        if arrays is None:
            return None
        # Samples are put last, so that the first axes are those of one.
        turned = self._transform(np.moveaxis(arrays, 0, -1))
        return np.ascontiguousarray(np.moveaxis(turned, -1, 0))

    def slice(self, start: int, stop: int) -> VariantReader:
        """The samples start..stop."""
        return replace(self, plain=self.plain.slice(start, stop))

    def digests(self) -> Iterator[bytes]:
        """Those of the plain samples after the name of the variant."""
        yield self.variant.encode()
        yield from self.plain.digests()

    def _transform(self, array: np.ndarray) -> np.ndarray:
        return VARIANTS[self.sample][self.variant](array)


@dataclass(frozen=True, kw_only=True)
class VariantSource(Source):
    """Samples of the source `plain`, transformed. Its fingerprint follows from that of `plain`."""

    plain: Source
    variant: str

    def __getitem__(self, samples: slice) -> Self:
        plain = self.plain[samples]
        return replace(
            self,
            plain=plain,
            reader=VariantReader(plain.reader, self.sample, self.variant),
            ids=plain.ids,
            labels=plain.labels,
            groups=plain.groups,
            splits=plain.splits,
        )

    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of the plain fingerprint and the name of the variant."""
        return variant_fingerprint(self.plain.fingerprint(), self.variant)


def variant_of(source: Source, variant: str) -> VariantSource:
    """The samples of a source, transformed; `options` has the variant.

    variant: one of VARIANTS for its kind of sample. Raises UnknownSource for any other, for a
    variant of a variant, and where integers would have to change their sign.
    """
    check_variant(source, variant)
    known = {f.name: getattr(source, f.name) for f in fields(source)}
    shape = source.shape
    if variant in EXCHANGING:
        shape = (shape[1], shape[0], *shape[2:])
    changed: dict[str, Any] = {
        "plain": source,
        "variant": variant,
        "shape": shape,
        "reader": VariantReader(source.reader, source.sample, variant),
        "options": {**source.options, VARIANT: variant},
    }
    return VariantSource(**{**known, **changed})


def variants_of(source: Source, names: Sequence[str], image: ImageSpec) -> list[VariantSource]:
    """The sources of several variants, whose images will lie beside those of the plain samples.

    Raises UnknownSource as `variant_of`, and InvalidSpec where each store would be divided by a
    maximum of its own, so that a batch of both had two scales.
    """
    if names and image.normalise == "dataset-max":
        raise InvalidSpec(
            "variants with normalise dataset-max: each store would be divided by its own maximum;"
            " use own-max or none"
        )
    return [variant_of(source, name) for name in names]


def check_variant(source: Source, variant: str) -> None:
    """Raise UnknownSource where a source has no such variant."""
    where = f"{source.kind}:{source.location}".rstrip(":")
    if isinstance(source, VariantSource):
        raise UnknownSource(f"{where} is a variant already, {source.variant}; name the plain one")
    known = VARIANTS.get(source.sample, {})
    if variant not in known:
        there = f"there are {', '.join(known)}" if known else "there are none"
        raise UnknownSource(f"{variant!r} is no variant of {source.sample} samples; {there}")
    if variant == "negate" and source.dtype.kind != "f":
        raise UnknownSource(
            f"{where} has {source.dtype} values, which cannot change sign; give it as floats"
        )
