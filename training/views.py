"""What a network reads of a batch: some of its arrays, normalised and joined along channels.

    inputs                              the raw samples: signals or photographs
    rows + columns                      the images of two stores, 6 channels of TGD
    statistics(inputs) + vector(pi)     19 numbers of a window, and its flattened images

Means and deviations are those of the training samples, and go with the network that was trained on
them, so that a teacher is shown what it was trained on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pi_cache.errors import InvalidSpec
from pi_cache.reader import Store
from training.joined import JoinedDataset
from training.models.features import count_statistics, statistics
from training.statistics import ZEROS, fit

KINDS = ("whole", "statistics", "vector")
NORMS = ("values", "windows", "none")
"""How deviations are taken, see `statistics.Statistics`; none leaves values as they are. Those of
`statistics(...)` are of all samples, as a sample has one value of each."""
_TERM = re.compile(r"(?:(statistics|vector)\(([^()+\s]+)\)|([^()+\s]+))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One array of a batch, and how it is normalised.

    kind: `whole`; `statistics`, of windows (n, C, L); `vector`, flattened after it is normalised.
    shape: of one sample, channels first. mean, std: of each channel, or of each statistic; empty
    where values stay as they are.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for field in ("shape", "mean", "std"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        sound = self.kind in KINDS and len(self.mean) == len(self.std) and bool(self.shape)
        sound = sound and all(type(length) is int and length > 0 for length in self.shape)
        if not sound or (self.mean and not self._normalises()):
            raise InvalidSpec(f"no piece of a view: {self!r:.200}")

    @property
    def delivered(self) -> tuple[int, ...]:
        """The shape that one sample has in the view."""
        if self.kind == "statistics":
            return (count_statistics(self.shape[0]),)
        return (math.prod(self.shape),) if self.kind == "vector" else self.shape

    def __call__(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(n, *delivered) floats. Raises InvalidSpec where the batch has no such array."""
        if self.name not in batch:
            raise InvalidSpec(f"this view reads {self.name!r}, the batch has {', '.join(batch)}")
        values = batch[self.name]
        if tuple(values.shape[1:]) != self.shape or not values.is_floating_point():
            raise InvalidSpec(
                f"{self.name} must be floats (n, {', '.join(map(str, self.shape))}), got"
                f" {values.dtype} {tuple(values.shape)}; batches come channels first"
            )
        if self.kind == "statistics":
            values = statistics(values)
        if self.mean:
            values = (values - self._along(self.mean, values)) / self._along(self.std, values)
        return values.flatten(1) if self.kind == "vector" else values

    def _normalises(self) -> bool:
        """Whether means are finite and deviations above 0: of each channel or statistic, or one
        of all, as the statistics of a store without channels are."""
        count = self.shape[0] if self.kind == "vector" else self.delivered[0]
        numbers = (*self.mean, *self.std)
        real = all(isinstance(each, float | int) and math.isfinite(each) for each in numbers)
        return real and len(self.mean) in (1, count) and min(self.std) > 0

    def _along(self, numbers: tuple[float, ...], values: Tensor) -> Tensor:
        made = torch.tensor(numbers, dtype=values.dtype, device=values.device)
        return made.view(-1, *[1] * (values.ndim - 2))


@dataclass(frozen=True, slots=True)
class View:
    """What a network reads: pieces, joined along channels in their order.

    Called with a batch by name, whose arrays are floats with channels second, it gives
    (n, channels, ...). Raises InvalidSpec for pieces that do not fit together.
    """

    pieces: tuple[Piece, ...]

    def __post_init__(self) -> None:
        sides = {piece.delivered[1:] for piece in self.pieces}
        if len(sides) != 1:
            shapes = ", ".join(f"{p.name} {p.delivered}" for p in self.pieces) or "nothing"
            raise InvalidSpec(
                f"pieces of a view must agree in all but channels, got {shapes}; flatten them with"
                " vector(...)"
            )

    def __call__(self, batch: Mapping[str, Tensor]) -> Tensor:
        parts = [piece(batch) for piece in self.pieces]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def __str__(self) -> str:
        return " + ".join(
            piece.name if piece.kind == "whole" else f"{piece.kind}({piece.name})"
            for piece in self.pieces
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample, channels first."""
        return (self.channels, *self.pieces[0].delivered[1:])

    @property
    def channels(self) -> int:
        """Of all pieces together."""
        return sum(piece.delivered[0] for piece in self.pieces)

    @property
    def dimensions(self) -> int:
        """0 for vectors, 1 for signals, 2 for images."""
        return len(self.pieces[0].delivered) - 1

    @property
    def names(self) -> tuple[str, ...]:
        """Arrays of a batch that are read, each once."""
        return tuple(dict.fromkeys(piece.name for piece in self.pieces))

    def to_dict(self) -> list[dict[str, Any]]:
        """Its pieces as plain values."""
        return [asdict(piece) for piece in self.pieces]

    @classmethod
    def from_dict(cls, pieces: Sequence[Mapping[str, Any]]) -> View:
        """The view that `to_dict` wrote. Raises InvalidSpec."""
        try:
            return cls(tuple(Piece(**piece) for piece in pieces))
        except TypeError as error:
            raise InvalidSpec(f"no view: {error}") from error


def parse_terms(text: str) -> tuple[tuple[str, str], ...]:
    """Kind and name of each piece of a view's text. Raises InvalidSpec."""
    found = []
    for term in text.split("+"):
        match = _TERM.fullmatch(term.strip())
        if match is None:
            raise InvalidSpec(
                f"a view is names joined by +, such as inputs, rows+columns or"
                f" statistics(inputs)+vector(pi); got {text!r}"
            )
        kind, inner, plain = match.groups()
        found.append((kind or "whole", inner or plain))
    return tuple(found)


def fit_view(text: str, train: JoinedDataset, *, normalise: str = "values") -> View:
    """The view of that text, normalised by the training samples.

    train: the training side alone. normalise: one of NORMS. Raises InvalidSpec for an array that
    is not there, CorruptStore.
    """
    if normalise not in NORMS:
        raise InvalidSpec(f"normalise must be one of {', '.join(NORMS)}, got {normalise!r}")
    return View(tuple(_piece(k, name, train, normalise) for k, name in parse_terms(text)))


def _piece(kind: str, name: str, train: JoinedDataset, normalise: str) -> Piece:
    part = train.parts.get(name)
    if part is None:
        raise InvalidSpec(
            f"no array {name!r} to view; there are {', '.join(train.parts)}; name a store with"
            f" {name}=KEY, or build with --with-inputs for inputs"
        )
    bare = Piece(name=name, kind=kind, shape=channels_first(train, name))
    if normalise == "none":
        return bare
    if kind == "statistics":
        mean, std = _moments(train, bare, "values")
    elif isinstance(part.source, Store):
        fitted = fit(part.source, part.rows, kind=normalise, array=part.array)
        mean, std = fitted.mean, fitted.std
    else:
        mean, std = _moments(train, bare, normalise)
    ones = tuple(value or ZEROS["one"] for value in std)
    return Piece(name=name, kind=kind, shape=bare.shape, mean=mean, std=ones)


def channels_first(dataset: JoinedDataset, name: str) -> tuple[int, ...]:
    """The shape of a sample of an array in a batch whose channels come first."""
    shape = dataset.parts[name].shape
    return (shape[-1], *shape[:-1]) if name == "inputs" and len(shape) > 1 else shape


def _moments(
    train: JoinedDataset, piece: Piece, kind: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel of what a piece gives, in float64. kind: of NORMS."""
    whole = Piece(name=piece.name, kind=piece.kind.replace("vector", "whole"), shape=piece.shape)
    rows = []
    for start in range(0, len(train), 1024):
        batch = train.batch(slice(start, start + 1024))
        if piece.name == "inputs":
            batch["inputs"] = batch["inputs"].movedim(-1, 1)
        rows.append(whole({piece.name: batch[piece.name].float()}).double().numpy())
    values: NDArray[np.float64] = np.concatenate(rows)
    axes = (0, *range(2, values.ndim))
    std = values.std(axes[1:]).mean(0) if kind == "windows" else values.std(axes)
    return tuple(values.mean(axes).tolist()), tuple(std.tolist())
