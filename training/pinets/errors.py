"""How far predicted persistence images are from the exact ones, summed batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec

LOW = 0.05
"""The quantile of correlations that is reported beside their mean and median."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Errors of n images, in units of a pixel's value.

    mse, rmse, mae: of all pixels; by_channel has the same of each channel by its name.
    explained: R2, the share of the squared distance to the mean image of the training side that
    the prediction takes away; 0 is no better than that image, below 0 worse. over_zero: the same
    beside an image of zeros. Both None where the images are that image already.
    correlation: Pearson's, over all pixels of a sample: mean, median, the 5 % quantile, of the
    samples where it is defined; undefined counts the others, of which one image is constant.
    """

    samples: int
    mse: float
    rmse: float
    mae: float
    explained: float | None
    over_zero: float | None
    correlation: dict[str, float]
    undefined: int
    by_channel: dict[str, dict[str, float | None]]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


class Sums:
    """What `Errors` are made of, added up in float64.

    mean: (C, P, P), the mean image of the training side, that a prediction is compared with.
    """

    def __init__(self, mean: Tensor) -> None:
        self.mean = mean.double()
        self.samples = 0
        zeros = torch.zeros(len(mean), dtype=torch.float64)
        self.squared, self.absolute = zeros.clone(), zeros.clone()
        self.of_mean, self.of_zero = zeros.clone(), zeros.clone()
        self.correlations: list[Tensor] = []

    def add(self, predicted: Tensor, exact: Tensor) -> None:
        """Add a batch, both (n, C, P, P). Raises InvalidSpec for images of another shape."""
        if predicted.shape != exact.shape or exact.shape[1:] != self.mean.shape:
            raise InvalidSpec(
                f"predicted images are {tuple(predicted.shape)}, exact ones {tuple(exact.shape)},"
                f" the mean image {tuple(self.mean.shape)}; take the store that the PI-Net was"
                " trained on, or one of the same channels and pixels"
            )
        predicted, exact = predicted.double().cpu(), exact.double().cpu()
        apart = predicted - exact
        self.samples += len(exact)
        self.squared += _by_channel(apart.square())
        self.absolute += _by_channel(apart.abs())
        self.of_mean += _by_channel((exact - self.mean).square())
        self.of_zero += _by_channel(exact.square())
        self.correlations.append(correlations(predicted, exact))

    def errors(self, channels: Sequence[str]) -> Errors:
        """What was added. channels: a name for each. Raises InvalidSpec where nothing was."""
        if not self.samples:
            raise InvalidSpec("there are no images to compare; choose a side that has samples")
        pixels = self.samples * self.mean[0].numel()
        found = torch.cat(self.correlations)
        return Errors(
            samples=self.samples,
            **self._of(slice(None), pixels * len(self.mean)),  # type: ignore[arg-type]
            correlation=_summary(found[~found.isnan()]),
            undefined=int(found.isnan().sum()),
            by_channel={
                name: self._of(slice(number, number + 1), pixels)
                for number, name in enumerate(channels)
            },
        )

    def _of(self, channels: slice, pixels: int) -> dict[str, float | None]:
        squared, absolute = self.squared[channels].sum(), self.absolute[channels].sum()
        mse = float(squared) / pixels
        return {
            "mse": mse,
            "rmse": mse**0.5,
            "mae": float(absolute) / pixels,
            "explained": _taken_away(squared, self.of_mean[channels].sum()),
            "over_zero": _taken_away(squared, self.of_zero[channels].sum()),
        }


def correlations(predicted: Tensor, exact: Tensor) -> Tensor:
    """(n,) Pearson's correlation of each sample's pixels; NaN where either image is constant."""
    first, second = predicted.flatten(1), exact.flatten(1)
    constant = (first.amax(1) == first.amin(1)) | (second.amax(1) == second.amin(1))
    first = first - first.mean(1, keepdim=True)
    second = second - second.mean(1, keepdim=True)
    found = (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))
    return torch.where(constant, torch.nan, found)


def mean_image(batches: Iterable[Tensor]) -> Tensor:
    """(C, P, P) float64, the mean of images that come in batches (n, C, P, P).

    Raises InvalidSpec where there are none.
    """
    total: Tensor | None = None
    samples = 0
    for images in batches:
        summed = images.double().sum(0).cpu()
        total = summed if total is None else torch.add(total, summed)
        samples += len(images)
    if total is None:
        raise InvalidSpec("there are no images to take the mean of")
    return total / samples


def _by_channel(values: Tensor) -> Tensor:
    """(C,) sums of (n, C, P, P)."""
    return values.sum((0, 2, 3))


def _taken_away(left: Tensor, before: Tensor) -> float | None:
    return 1 - float(left / before) if before else None


def _summary(values: Tensor) -> dict[str, float]:
    if not len(values):
        return {}
    quantiles = values.quantile(torch.tensor([LOW, 0.5], dtype=values.dtype))
    return {"mean": float(values.mean()), "median": float(quantiles[1]), "low": float(quantiles[0])}
