"""Augmentations of images (n, C, H, W) that move values or leave some out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from pi_cache.errors import InvalidSpec
from pi_cache.specs import DiagramSpec, GramianSpec
from training.augment.base import Augmentation, Drawn, check_positive, check_share, stored_value
from training.augment.draws import chosen, whole
from training.augment.effects import Effect, invalid, other, permuted, unchanged

SYMMETRIES = {
    "flip": lambda batch: batch.flip(3),
    "flip-vertical": lambda batch: batch.flip(2),
    "rot180": lambda batch: batch.flip(2, 3),
    "transpose": lambda batch: batch.transpose(2, 3),
    "anti-transpose": lambda batch: batch.transpose(2, 3).flip(2, 3),
    "rot90": lambda batch: batch.rot90(1, (2, 3)),
    "rot270": lambda batch: batch.rot90(3, (2, 3)),
}
"""The symmetries of a square; angles are counter-clockwise. `flip` is left to right."""
EXCHANGING = ("transpose", "anti-transpose", "rot90", "rot270")
"""Those that exchange height and width."""


@dataclass(frozen=True, kw_only=True)
class Symmetry(Augmentation):
    """Flips or turns each image with a probability; values are moved and none is lost.

    symmetry: one of SYMMETRIES. Raises InvalidSpec for images that are not square, where it
    exchanges height and width and the probability is below 1.
    """

    symmetry: str = "flip"
    probability: float = 0.5

    def __post_init__(self) -> None:
        if self.symmetry not in SYMMETRIES:
            raise InvalidSpec(
                f"symmetry must be one of {', '.join(SYMMETRIES)}, got {self.symmetry!r}"
            )
        check_share("probability", self.probability)

    @property
    def neutral(self) -> bool:
        return self.probability == 0

    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        changed = chosen(len(batch), self.probability, generator)
        turned = SYMMETRIES[self.symmetry](batch)
        if self.probability == 1:
            return turned.contiguous(), Drawn(changed=changed)
        if turned.shape != batch.shape:
            raise InvalidSpec(
                f"{self.symmetry} with a probability needs square images, got"
                f" {tuple(batch.shape[2:])}; pad or crop them, or turn them all"
            )
        return torch.where(changed[:, None, None, None], turned, batch), Drawn(changed=changed)

    def effect(self, spec: DiagramSpec) -> Effect:
        if spec.filtration == "cubical":
            return unchanged("neighbours stay neighbours")
        if spec.filtration == "rips":
            return self._of_clouds(spec)
        return self._of_scans(spec)

    def _of_clouds(self, spec: DiagramSpec) -> Effect:
        if spec.metric != "cosine":
            return unchanged("(x, y, intensity) is mirrored, which keeps distances", exact=False)
        if self.symmetry == "transpose":
            return unchanged("x and y change places, which keeps angles at the origin", exact=False)
        return invalid("angles at the origin change when x or y is mirrored", variant=self.symmetry)

    def _of_scans(self, spec: DiagramSpec) -> Effect:
        if self.symmetry == "rot180":
            return unchanged("the scan is reversed, and a reversed path has the same diagram")
        if spec.scan == "both" and self.symmetry in ("transpose", "anti-transpose"):
            return permuted("the row scan and the column scan change places")
        why = {
            "flip": "each row is reversed but not their order",
            "flip-vertical": "the order of rows is reversed but not the rows",
        }.get(self.symmetry, "a scan reads the pixels in another order")
        return invalid(f"a scan is one signal of all rows: {why}", variant=self.symmetry)


@dataclass(frozen=True, kw_only=True)
class ShuffleChannels(Augmentation):
    """Puts the channels of each sample in an order of its own, with a probability."""

    samples = ("image", "signal")
    probability: float = 0.5

    def __post_init__(self) -> None:
        check_share("probability", self.probability)

    @property
    def neutral(self) -> bool:
        return self.probability == 0

    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        count, channels = batch.shape[:2]
        ranks = torch.rand((count, channels), generator=generator, device=batch.device)
        changed = chosen(count, self.probability, generator)
        plain = torch.arange(channels, device=batch.device)
        order = torch.where(changed[:, None], ranks.argsort(dim=1), plain)
        rows = torch.arange(count, device=batch.device)[:, None]
        return batch[rows, order], Drawn(order=order)

    def effect(self, spec: DiagramSpec) -> Effect:
        return permuted("each channel has its own diagram, which goes where the channel goes")

    def gramian_effect(self, spec: GramianSpec) -> Effect:
        return permuted("each channel has its own field, which goes where the channel goes")


@dataclass(frozen=True, kw_only=True)
class PadCrop(Augmentation):
    """Pads each image by `padding` pixels and crops it to its size at a random place.

    fill: the value of padded pixels, in units of the field; None repeats the edge. He et al., CVPR
    2016, section 4.2: 4 pixels of zeros for CIFAR-10; Tiny ImageNet is padded from 64 to 68 by 2.
    """

    padding: int = 4
    fill: float | None = 0.0

    def __post_init__(self) -> None:
        check_positive("padding", self.padding)

    @property
    def neutral(self) -> bool:
        return self.padding == 0

    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        count, _, height, width = batch.shape
        shift = whole((2, count), generator, -self.padding, self.padding)  # (down, right)
        row = torch.arange(height, device=batch.device) + shift[0, :, None]  # (n, H)
        column = torch.arange(width, device=batch.device) + shift[1, :, None]  # (n, W)
        sample = torch.arange(count, device=batch.device)[:, None, None]
        rows, columns = row.clamp(0, height - 1), column.clamp(0, width - 1)
        cropped = batch[sample, :, rows[:, :, None], columns[:, None, :]]  # (n, H, W, C)
        cropped = cropped.permute(0, 3, 1, 2).contiguous()
        if self.fill is not None:
            outside = (rows != row)[:, None, :, None] | (columns != column)[:, None, None, :]
            cropped = cropped.masked_fill(outside, stored_value(self.fill, batch))
        return cropped, Drawn()

    def effect(self, spec: DiagramSpec) -> Effect:
        return other("pixels leave the image and others enter")


@dataclass(frozen=True, kw_only=True)
class Cutout(Augmentation):
    """Fills one square of `size` pixels in each image; its centre is any pixel, so it may be cut.

    fill: one value, in units of the field. DeVries and Taylor, arXiv 1708.04552: 16 pixels for
    CIFAR-10 and 8 for CIFAR-100, filled with zeros after normalisation, so with the mean before.
    """

    size: int = 16
    fill: float = 0.0

    def __post_init__(self) -> None:
        check_positive("size", self.size)

    @property
    def neutral(self) -> bool:
        return self.size == 0

    def apply(self, batch: Tensor, generator: Generator) -> tuple[Tensor, Drawn]:
        count, _, height, width = batch.shape
        top = whole((count,), generator, 0, height - 1) - self.size // 2
        left = whole((count,), generator, 0, width - 1) - self.size // 2
        inside = boxes(batch, top, top + self.size, left, left + self.size)
        return batch.masked_fill(inside[:, None], stored_value(self.fill, batch)), Drawn()

    def effect(self, spec: DiagramSpec) -> Effect:
        return other("a square is filled")


def boxes(batch: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """(n, H, W) bool: the pixels of a box each; (n,) ends are excluded, and may lie outside."""
    row = torch.arange(batch.shape[2], device=batch.device)
    column = torch.arange(batch.shape[3], device=batch.device)
    rows = (row >= top[:, None]) & (row < bottom[:, None])  # (n, H)
    columns = (column >= left[:, None]) & (column < right[:, None])  # (n, W)
    return rows[:, :, None] & columns[:, None, :]
