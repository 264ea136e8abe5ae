"""Statistics of a window of a signal: 19 of them for the three axes of an accelerometer.

PI-Net's features are 19 statistics of a frame; which ones is not known. These are our choice: of
each axis the mean, variance, root mean square and range (12), of each
pair of axes Pearson's correlation and the length of their two ranges (6), and the length of all
ranges (1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec


def count_statistics(channels: int) -> int:
    """How many statistics a window of that many channels has: 4 C + C (C - 1) + 1."""
    return 4 * channels + channels * (channels - 1) + 1


def name_statistics(channels: int) -> tuple[str, ...]:
    """What each of them is, in order, such as `mean 0` and `correlation 0 1`."""
    single = [
        f"{kind} {channel}"
        for kind in ("mean", "variance", "rms", "range")
        for channel in range(channels)
    ]
    pairs = [(first, other) for first in range(channels) for other in range(first + 1, channels)]
    double = [f"{kind} {a} {b}" for kind in ("correlation", "ranges") for a, b in pairs]
    return (*single, *double, "ranges")


def statistics(windows: Tensor) -> Tensor:
    """Statistics (n, F) of windows (n, C, L), in the order of `name_statistics`.

    The variance divides by L. The correlation of a constant channel is 0, not undefined.
    Sums are taken in float64, so that a large mean does not drown a small variance; the result
    has the dtype of the windows. Not meant for gradients: a constant channel has none.
    Raises InvalidSpec unless the windows are floats (n, C, L) of a length from 1 on.
    """
    if windows.ndim != 3 or windows.shape[2] < 1 or not windows.is_floating_point():
        raise InvalidSpec(
            f"statistics are of floats (n, channels, length), got {windows.dtype} of the shape"
            f" {tuple(windows.shape)}"
        )
    exact = windows.detach().double()
    mean = exact.mean(dim=2)  # (n, C)
    centred = exact - mean[..., None]
    variance = centred.square().mean(dim=2)
    rms = exact.square().mean(dim=2).sqrt()
    span = exact.amax(dim=2) - exact.amin(dim=2)
    first, other = torch.triu_indices(windows.shape[1], windows.shape[1], 1, device=windows.device)
    unit = centred / torch.where(span > 0, span, torch.inf)[..., None]  # constant channels: 0
    length = unit.square().sum(dim=2).sqrt()  # (n, C), 0 or from 0.5 on: it spans 1
    together = (unit[:, first] * unit[:, other]).sum(dim=2)  # (n, pairs)
    correlation = together / (length[:, first] * length[:, other]).clamp(min=0.25)
    ranges = torch.hypot(span[:, first], span[:, other])
    total = span.square().sum(dim=1, keepdim=True).sqrt()
    found = torch.cat([mean, variance, rms, span, correlation, ranges, total], dim=1)
    return found.to(windows.dtype)
