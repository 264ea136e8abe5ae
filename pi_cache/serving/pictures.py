"""The numbers of a few samples of a store, for drawing: inputs, diagrams and images.

Arrays travel inside JSON as little-endian bytes in base64, with their shape and type; numpy reads
them by `numpy.frombuffer(base64.b64decode(x["base64"]), x["dtype"]).reshape(x["shape"])`.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cache.errors import InvalidSpec
from pi_cache.reader import Store
from pi_cache.sampling.windows import Window
from pi_cache.serving.overview import label_name
from pi_cache.specs import VALUE_RANGE, Status

MOST_SAMPLES = 48
"""Samples of one answer."""
MOST_BYTES = 1 << 20
"""Bytes of the numbers of one answer, before base64: what waits for slow readers fits in memory."""
LARGEST_INPUT = 1 << 19
"""Bytes of an input; a larger one is not sent."""
LARGEST_SIDE = 256
"""Cells of a side of an image; a larger one is averaged."""
MOST_POINTS = 2000
"""Points of a diagram: the most persistent ones, essential classes first."""
WITH_IMAGE = (Status.OK, Status.CONSTANT)
"""Samples of which an image and a diagram were computed."""
NO_DIAGRAM = MappingProxyType({"points": None, "points_in_all": None})
WITHOUT_INPUT = (
    Status.UNDECODABLE,
    Status.WRONG_SHAPE,
    Status.TOO_LARGE,
    Status.NOT_COMPUTED,
)
"""Samples of which no input was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which samples: of a label, with a status, the first `each` of every class; None is any."""

    label: int | None = None
    status: str | None = None
    each: int | None = None

    def rows(self, store: Store) -> NDArray[np.intp]:
        """(n,) their numbers, ascending; with `each` class by class."""
        kept = np.ones(len(store), bool)
        if self.label is not None:
            kept &= store.labels == self.label
        if self.status is not None:
            kept &= store.status == Status[self.status]
        rows = np.flatnonzero(kept)
        return rows if self.each is None else first_of_each(store.labels[rows], rows, self.each)


def first_of_each(
    labels: NDArray[np.int64], rows: NDArray[np.intp], count: int
) -> NDArray[np.intp]:
    """The first `count` rows of each label, ordered by label. labels, rows: (n,)."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    place = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return rows[order[place < count]]


def facts_of(store: Store, sample: int) -> dict[str, Any]:
    """Who a sample is and what became of it. rate: in Hz, where its id is that of a window."""
    label = int(store.labels[sample])
    return {
        "sample": sample,
        "id": str(store.ids[sample]),
        "label": None if label < 0 else label,
        "label_name": label_name(store, label),
        "group": None if store.groups is None else str(store.groups[sample]),
        "split": None if store.splits is None else str(store.splits[sample]),
        "status": Status(int(store.status[sample])).name,
        "rate": _rate(str(store.ids[sample])),
    }


def _rate(name: str) -> float | None:
    with suppress(InvalidSpec):
        return Window.parse(name).rate
    return None


def drawn(store: Store, sample: int, channels: Sequence[int]) -> dict[str, Any]:
    """A sample with its input and, of each of these channels, its image and its diagram."""
    facts = facts_of(store, sample)
    status = Status[facts["status"]]
    computed = status in WITH_IMAGE
    images = _image(store, sample, channels) if computed else [None] * len(channels)
    diagrams = _diagrams(store, sample, channels) if computed else [NO_DIAGRAM] * len(channels)
    parts = zip(channels, images, diagrams, strict=True)
    return facts | {
        "input": None if status in WITHOUT_INPUT else _input(store, sample),
        "channels": [{"channel": c, "image": image, **points} for c, image, points in parts],
    }


def sample_bytes(store: Store, channels: int) -> int:
    """At most how many bytes of numbers a sample with so many channels takes in an answer."""
    points = 8 * MOST_POINTS if _holds(store, "points") else 0
    rows, columns = (min(side, LARGEST_SIDE) for side in store.column("images").shape[1:])
    return channels * (4 * rows * columns + points) + _input_bytes(store)


def _input_bytes(store: Store) -> int:
    """Bytes of an input as it is sent; 0 where a store has none, or they are too large."""
    if not _holds(store, "inputs"):
        return 0
    column = store.column("inputs")
    size = math.prod(column.shape) * (1 if column.dtype == "uint8" else 4)
    return size if size <= LARGEST_INPUT else 0


def _holds(store: Store, name: str) -> bool:
    return any(column.name == name for column in store.manifest.columns)


def numbers(values: NDArray[Any]) -> dict[str, Any]:
    """An array for JSON: bytes as they are, all other numbers as float32."""
    kept = values if values.dtype == np.uint8 else values.astype("<f4")
    data = base64.b64encode(np.ascontiguousarray(kept).tobytes()).decode()
    return {"shape": list(values.shape), "dtype": kept.dtype.str, "base64": data}


def _image(store: Store, sample: int, channels: Sequence[int]) -> list[dict[str, Any]]:
    """The images (persistence, birth) of some channels, bytes as what they stand for."""
    rows = store.read("images", [sample])[0][list(channels)]
    if rows.dtype == np.uint8:
        low, high = (0.0, 1.0) if store.spec.gramian is None else VALUE_RANGE
        rows = low + (high - low) * (rows.astype(np.float32) / 255)
    return [numbers(averaged(row.astype(np.float32))) for row in rows]


def averaged(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """An image (rows, columns) of at most LARGEST_SIDE cells a side: the mean of k x k cells each.

    Where k does not divide a side, its last cells count again in the last mean.
    """
    k = -(-max(image.shape) // LARGEST_SIDE)
    whole = np.pad(image, [(0, -side % k) for side in image.shape], mode="edge")
    blocks = whole.reshape(whole.shape[0] // k, k, whole.shape[1] // k, k)
    reduced: NDArray[np.float32] = blocks.mean(axis=(1, 3))
    return reduced


def _input(store: Store, sample: int) -> dict[str, Any] | None:
    """The sample as stored, None where a store has none or one too large to show.

    maximum: what its values are divided by before they are filtered, None for nothing.
    """
    if not _holds(store, "inputs") or not _input_bytes(store):
        return None
    column = store.column("inputs")
    note = {"dimensions": list(column.dimensions), "maximum": column.attributes.get("maximum")}
    return numbers(store.read("inputs", [sample])[0]) | note


def _diagrams(store: Store, sample: int, channels: Sequence[int]) -> list[Mapping[str, Any]]:
    """Points (birth, death) of some channels, an infinite death of an essential class as it is."""
    if not _holds(store, "points"):
        return [NO_DIAGRAM] * len(channels)
    points, offsets = store.diagrams([sample])
    of_channels = [points[offsets[0, c] : offsets[0, c + 1]] for c in channels]
    return [
        {"points": numbers(most_persistent(few, MOST_POINTS)), "points_in_all": len(few)}
        for few in of_channels
    ]


def most_persistent(points: NDArray[Any], count: int) -> NDArray[Any]:
    """The `count` points (P, 2) of largest |death - birth|, in falling order of it."""
    order = np.argsort(-np.abs(points[:, 1] - points[:, 0]), kind="stable")
    return points[order[:count]]
