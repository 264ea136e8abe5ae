"""Diagrams on the device, and the images of each batch drawn from them when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pi_cache.errors import InvalidSpec
from pi_cache.quantities import bytes_text
from pi_cache.reader import Store
from pi_cache.specs import ImageSpec
from training.coded import code_points
from training.ragged import Numbers, Ragged
from training.render import Renderer, parse_sigma
from training.selection import parse_channels, parse_usable

BLOCK = 1024
"""Samples whose diagrams are read at a time."""

PointTransform = Callable[[Tensor, Tensor], Tensor]
"""Points (n, 2) of births and deaths and offsets (S, C + 1), on the CPU -> as many points."""


class RenderedImages:
    """Images of some samples of a store, drawn from their diagrams; see `Renderer`.

    samples: numbers, ids or a mask of the store, all OK; positions count among them, in this order.
    channels: names or numbers, None for all.
    image: another spec than that of the store, such as another sigma or more pixels.
    dtype: of the images; float64 ones are drawn in float64, others in float32.
    augment: changes the points of a batch before they are drawn. A point that it gives no
    persistence is not drawn.
    dataset_max: for normalise dataset-max. Where it is not given, all OK samples of the store are
    drawn once to find it.

    `sigma` may be set at any time, to a number or to a tensor that is learned.
    Raises InvalidSpec, where the store has no diagrams too; CorruptStore.
    """

    def __init__(
        self,
        store: Store,
        samples: ArrayLike | Sequence[str],
        *,
        channels: Sequence[str | int] | None = None,
        image: ImageSpec | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        augment: PointTransform | None = None,
        dataset_max: float | None = None,
    ) -> None:
        self.image = image or store.spec.image
        self.device = torch.device(device)
        self.dtype = dtype
        self.augment = augment
        self.sigma: float | Tensor = self.image.sigma
        if self.image.normalise == "dataset-max" and dataset_max is None:
            dataset_max = dataset_maximum(store, self.image, self.device)
        drawn = torch.float64 if dtype == torch.float64 else torch.float32
        self._renderer = Renderer(self.image, dtype=drawn, dataset_max=dataset_max)
        numbers = parse_usable(samples, store)
        self._labels = torch.from_numpy(store.labels[numbers]).to(self.device)
        self._index = torch.from_numpy(numbers).to(self.device)
        self._load(store, numbers, None if channels is None else parse_channels(channels, store))
        self.why = self._explain(store)

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def bytes(self) -> int:
        """Bytes of memory that diagrams take, and where those of each sample lie."""
        return self._points.bytes + self._starts.nbytes + self._lengths.nbytes

    def batch(self, positions: Tensor) -> dict[str, Tensor]:
        """`images` (n, C, P, B), `labels` (n,) and `index` (n,), the numbers in the store.

        positions: (n,) int64, best on the CPU: where the points of a sample lie is known there.
        """
        rows = positions.cpu().numpy()
        shape = (len(rows), self._starts.shape[1])
        ragged = Ragged(self._starts[rows].ravel(), self._lengths[rows].ravel())
        points = self._points.take(ragged.points(self.device))
        ragged = ragged.packed()
        if self.augment is not None:
            points = self._augmented(points, ragged, shape)
        images = self._renderer.draw(points, ragged, parse_sigma(self.sigma, self.image))
        where = positions.to(self.device)
        return {
            "images": images.view(*shape, *images.shape[1:]).to(self.dtype),
            "labels": self._labels.index_select(0, where),
            "index": self._index.index_select(0, where),
        }

    def close(self) -> None:
        """Let go of the diagrams; nothing can be drawn after that."""
        self._points = code_points([], self.device)
        self._starts, self._lengths = (np.empty((0, 1), np.int64) for _ in range(2))

    def _load(self, store: Store, numbers: Numbers, channels: Sequence[int] | None) -> None:
        """Read the diagrams in the order in which they lie in the store."""
        order = np.argsort(numbers, kind="stable")
        lengths: list[Numbers] = []

        def blocks() -> Iterator[NDArray[np.float64]]:
            for start in range(0, len(order), BLOCK):
                points, offsets = store.diagrams(numbers[order[start : start + BLOCK]])
                chosen = slice(None) if channels is None else list(channels)
                begins, counts = offsets[:, :-1][:, chosen], np.diff(offsets, axis=1)[:, chosen]
                lengths.append(counts)
                part = Ragged(begins.ravel(), counts.ravel())
                yield points[part.points(torch.device("cpu")).numpy()]

        self._points = code_points(blocks(), self.device)
        self._lengths = np.empty_like(np.concatenate(lengths))
        self._lengths[order] = np.concatenate(lengths)
        packed = np.concatenate(lengths).ravel()
        self._starts = np.empty_like(self._lengths)
        self._starts[order] = (np.cumsum(packed) - packed).reshape(self._lengths.shape)

    def _augmented(self, points: Tensor, ragged: Ragged, shape: tuple[int, int]) -> Tensor:
        starts, lengths = (part.reshape(shape) for part in ragged)
        offsets = np.concatenate([starts, starts[:, -1:] + lengths[:, -1:]], axis=1)
        changed = self.augment(points, torch.from_numpy(offsets)) if self.augment else points
        if changed.shape != points.shape:
            raise InvalidSpec(
                f"augment must give as many points as it gets, {tuple(points.shape)}, got"
                f" {tuple(changed.shape)}; give a point no persistence to leave it out"
            )
        return changed

    def _explain(self, store: Store) -> str:
        count, size = self._starts.size * self.image.pixels**2, self.dtype.itemsize
        return (
            f"rendered on {self.device}: the diagrams of {len(self):,} samples take"
            f" {bytes_text(self.bytes)} as {self._points.form}; their images would take"
            f" {bytes_text(count * size)}"
        )


def dataset_maximum(store: Store, image: ImageSpec, device: torch.device) -> float:
    """The largest value of all raw images of the OK samples of a store: noted there, or drawn."""
    known = store.manifest.statistics.get("max_dataset")
    if known is not None and image == store.spec.image:
        return float(known)
    renderer = Renderer(image.replace(normalise="none", dtype="float32"))
    numbers, largest = np.flatnonzero(store.status == 0), 0.0
    for start in range(0, len(numbers), BLOCK):
        points, offsets = store.diagrams(numbers[start : start + BLOCK])
        images = renderer(torch.from_numpy(points).to(device), offsets)
        largest = max(largest, float(images.max()))
    return largest
