"""RandAugment (Cubuk et al., NeurIPS 2020, arXiv 1909.13719) of whole batches.

The fourteen operations and the ranges of their magnitudes, on images of levels 0..255, for a
magnitude m of 30. `+-`: the sign is drawn for each image.

| operation | what it does at magnitude m |
| --- | --- |
| identity | nothing |
| auto-contrast | the darkest and brightest level of each channel become 0 and 255 |
| equalize | the levels of each channel are spread evenly |
| rotate | by +- 30 m / 30 degrees |
| solarize | levels from 255 (1 - m / 30) on are inverted |
| color | saturation times 1 +- 0.9 m / 30 |
| posterize | 8 - round(4 m / 30) bits stay |
| contrast, brightness, sharpness | times 1 +- 0.9 m / 30 |
| shear-x, shear-y | by +- 0.3 m / 30 pixels a pixel |
| translate-x, translate-y | by +- 150 / 331 m / 30 of the side, in whole pixels |

Rounding is that of Pillow, which the authors used. Where a pixel comes from outside it is `fill`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from pi_cache.errors import InvalidSpec
from pi_cache.specs import DiagramSpec
from training.augment.base import BYTE_MAXIMUM, Augmentation, Drawn
from training.augment.draws import whole
from training.augment.effects import Effect, other

STRONGEST = 30
"""The largest magnitude."""
LEVELS = 256


@dataclass(frozen=True, kw_only=True)
class RandAugment(Augmentation):
    """`count` operations in a row on each image, drawn from `operations`, of one magnitude.

    magnitude: 0..30; the paper uses 2 operations of magnitude 9 for ResNet-50 on ImageNet.
    fill: in units of the field. Bytes stay bytes; floats must lie in 0..1 and come back as levels
    of 255. Images have 1 or 3 channels.
    """

    count: int = 2
    magnitude: float = 9.0
    fill: float = 0.0
    operations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", tuple(self.operations) or tuple(OPERATIONS))
        unknown = [name for name in self.operations if name not in OPERATIONS]
        if unknown:
            raise InvalidSpec(f"no operation {unknown[0]!r}; there are {', '.join(OPERATIONS)}")
        if not 0 <= self.magnitude <= STRONGEST:
            raise InvalidSpec(f"magnitude must lie in 0..{STRONGEST}, got {self.magnitude!r}")
        if self.count < 0:
            raise InvalidSpec(f"count must not be negative, got {self.count!r}")

    @property
    def neutral(self) -> bool:
        return self.count == 0 or set(self.operations) == {"identity"}

    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        if batch.shape[1] not in (1, 3):
            raise InvalidSpec(f"{self.name} takes 1 or 3 channels, got {batch.shape[1]}")
        byte = batch.dtype == torch.uint8
        levels = batch.float() if byte else (batch * BYTE_MAXIMUM).round().clamp(0, 255).float()
        for _ in range(self.count):
            levels = self._one_each(levels, generator)
        return (levels if byte else levels / BYTE_MAXIMUM).to(batch.dtype), Drawn()

    def _one_each(self, levels: Tensor, generator: Generator) -> Tensor:
        """One operation on each image: those of the same one are done together."""
        operation = whole((len(levels),), generator, 0, len(self.operations) - 1)
        sign = whole((len(levels),), generator, 0, 1).double() * 2 - 1
        order = operation.argsort(stable=True)
        counts = operation.bincount(minlength=len(self.operations)).tolist()
        done = levels.clone()
        for name, rows in zip(self.operations, torch.split(order, counts), strict=True):
            if len(rows) and name != "identity":
                strength = sign[rows] * (self.magnitude / STRONGEST)
                done[rows] = operate(name, levels[rows], strength, self.fill * BYTE_MAXIMUM)
        return done

    def effect(self, spec: DiagramSpec) -> Effect:
        return other("pixels are moved and intensities changed at random")


def operate(name: str, levels: Tensor, strength: Tensor, fill: float = 0.0) -> Tensor:
    """Images (n, C, H, W) of whole levels 0..255 after one operation; the same type.

    strength: (n,) float64 in -1..1, magnitude / 30 with its sign. fill: a level.
    """
    return OPERATIONS[name](levels, strength, fill)


def warp(levels: Tensor, matrix: Tensor, fill: float) -> Tensor:
    """Images whose pixel (x, y) is that at (a x + b y + c, d x + e y + f), the nearest one.

    matrix: (n, 6) float64, a to f; coordinates are those of the centres of pixels.
    """
    count, _, height, width = levels.shape
    like = {"dtype": torch.float64, "device": levels.device}
    y = torch.arange(height, **like)[:, None] + 0.5  # type: ignore[call-overload]
    x = torch.arange(width, **like) + 0.5  # type: ignore[call-overload]
    a, b, c, d, e, f = matrix[:, :, None, None].unbind(dim=1)  # (n, 1, 1) each
    column, row = (a * x + b * y + c).floor().long(), (d * x + e * y + f).floor().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)  # (n, H, W)
    sample = torch.arange(count, device=levels.device)[:, None, None]
    taken = levels[sample, :, row.clamp(0, height - 1), column.clamp(0, width - 1)]
    return taken.permute(0, 3, 1, 2).where(inside[:, None], torch.full_like(levels, fill))


def _matrix(strength: Tensor, **entries: Tensor) -> Tensor:
    """(n, 6), the identity but for the entries given."""
    zero, one = torch.zeros_like(strength), torch.ones_like(strength)
    plain = {"a": one, "b": zero, "c": zero, "d": zero, "e": one, "f": zero}
    return torch.stack(list((plain | entries).values()), dim=1)


def _rotation(strength: Tensor, height: int, width: int) -> Tensor:
    """Counter-clockwise by 30 * strength degrees about the centre."""
    angle = -torch.deg2rad(30 * strength)
    cosine, sine = angle.cos(), angle.sin()
    x, y = width / 2, height / 2
    return _matrix(
        strength,
        a=cosine,
        b=sine,
        c=x - cosine * x - sine * y,
        d=-sine,
        e=cosine,
        f=y + sine * x - cosine * y,
    )


def _blend(levels: Tensor, degenerate: Tensor, strength: Tensor) -> Tensor:
    """degenerate + (1 + 0.9 strength) * (levels - degenerate), cut to 0..255 and rounded down."""
    factor = (1 + 0.9 * strength).float()[:, None, None, None]
    return (degenerate + factor * (levels - degenerate)).clamp(0, 255).floor()


def grey(levels: Tensor) -> Tensor:
    """(n, 1, H, W): luma of ITU-R 601-2, of one channel itself."""
    if levels.shape[1] == 1:
        return levels
    weights = torch.tensor([19595.0, 38470.0, 7471.0], device=levels.device)
    weighted = (levels * weights[:, None, None]).sum(dim=1, keepdim=True)
    return ((weighted + 32768) / 65536).floor()


def _contrast(levels: Tensor, strength: Tensor) -> Tensor:
    mean = (grey(levels).double().mean(dim=(1, 2, 3), keepdim=True) + 0.5).floor().float()
    return _blend(levels, mean, strength)


def _sharpness(levels: Tensor, strength: Tensor) -> Tensor:
    """Blended with a smoothed image; the outermost pixels are not smoothed."""
    channels = levels.shape[1]
    kernel = torch.ones((3, 3), device=levels.device)
    kernel[1, 1] = 5.0
    smooth = levels.clone()
    if min(levels.shape[2:]) >= 3:
        inner = functional.conv2d(levels, kernel.expand(channels, 1, 3, 3), groups=channels)
        smooth[:, :, 1:-1, 1:-1] = (inner / 13 + 0.5).floor()
    return _blend(levels, smooth, strength)


def _posterize(levels: Tensor, strength: Tensor) -> Tensor:
    lost = 2.0 ** (4 * strength.abs()).round().float()[:, None, None, None]
    return (levels / lost).floor() * lost


def _solarize(levels: Tensor, strength: Tensor) -> Tensor:
    threshold = (255 * (1 - strength.abs())).float()[:, None, None, None]
    return torch.where(levels < threshold, levels, 255 - levels)


def _auto_contrast(levels: Tensor, strength: Tensor) -> Tensor:
    low = levels.amin(dim=(2, 3)).double()[:, :, None]  # (n, C, 1)
    high = levels.amax(dim=(2, 3)).double()[:, :, None]
    # A number over a tensor is the number times reciprocals, which rounds twice.
    scale = torch.full_like(high, 255) / (high - low).clamp(min=1)
    level = torch.arange(LEVELS, device=levels.device)
    table = (level * scale - low * scale).trunc().clamp(0, 255)
    return _looked_up(levels, torch.where(high > low, table, level.double()))


def _equalize(levels: Tensor, strength: Tensor) -> Tensor:
    """The cumulated histogram, in steps of (pixels - those of the brightest level) // 255."""
    flat = levels.flatten(2).long()  # (n, C, HW)
    histogram = torch.zeros((*flat.shape[:2], LEVELS), dtype=torch.long, device=levels.device)
    histogram.scatter_add_(2, flat, torch.ones_like(flat))
    brightest = histogram.gather(2, flat.amax(dim=2, keepdim=True))
    step = (flat.shape[2] - brightest) // 255  # (n, C, 1)
    before = histogram.cumsum(dim=2) - histogram
    table = ((step // 2 + before) // step.clamp(min=1)).clamp(max=255)
    level = torch.arange(LEVELS, device=levels.device)
    return _looked_up(levels, torch.where(step > 0, table, level).double())


def _looked_up(levels: Tensor, table: Tensor) -> Tensor:
    """Each level replaced by its entry in the table (n, C, 256) of its channel."""
    return table.gather(2, levels.flatten(2).long()).reshape(levels.shape).float()


def _whole_pixels(strength: Tensor, side: int) -> Tensor:
    return (strength * (150 / 331) * side).trunc()


Operation = Callable[[Tensor, Tensor, float], Tensor]
"""Of levels (n, C, H, W), strengths (n,) and the level of what comes from outside."""


def _moving(matrix: Callable[[Tensor, int, int], Tensor]) -> Operation:
    """Of the matrices (n, 6) that strengths, height and width give."""
    return lambda levels, strength, fill: warp(
        levels, matrix(strength, levels.shape[2], levels.shape[3]), fill
    )


def _recolouring(change: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    """Of what needs levels and strengths only."""
    return lambda levels, strength, fill: change(levels, strength)


OPERATIONS: dict[str, Operation] = {
    "identity": _recolouring(lambda levels, m: levels),
    "auto-contrast": _recolouring(_auto_contrast),
    "equalize": _recolouring(_equalize),
    "rotate": _moving(_rotation),
    "solarize": _recolouring(_solarize),
    "color": _recolouring(lambda levels, m: _blend(levels, grey(levels), m)),
    "posterize": _recolouring(_posterize),
    "contrast": _recolouring(_contrast),
    "brightness": _recolouring(lambda levels, m: _blend(levels, torch.zeros_like(levels), m)),
    "sharpness": _recolouring(_sharpness),
    "shear-x": _moving(lambda m, height, width: _matrix(m, b=0.3 * m)),
    "shear-y": _moving(lambda m, height, width: _matrix(m, d=0.3 * m)),
    "translate-x": _moving(lambda m, height, width: _matrix(m, c=_whole_pixels(m, width))),
    "translate-y": _moving(lambda m, height, width: _matrix(m, f=_whole_pixels(m, height))),
}
