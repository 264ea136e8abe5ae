"""What goes with augmented inputs: images that follow, targets that are mixed, points that move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from pi_cache.errors import InvalidSpec
from pi_cache.specs import StoreSpec
from training.augment.augmenter import Step
from training.augment.contract import store_effect
from training.augment.effects import INVALID, PERMUTED

EXCHANGED = {"rows": "columns", "columns": "rows"}


def follow_images(
    images: Tensor,
    steps: Sequence[Step],
    spec: StoreSpec,
    channels: Sequence[str],
    *,
    variants: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Persistence images (n, J, P, B) of a batch, as they go with its augmented inputs.

    steps: of `Augmenter`. channels: the J names, such as `rows/red/H0`. variants: the images of the
    same samples from variant stores, by variant; only the first step can ask for one.
    Channels change places, turned samples come from the variant, and mixed samples have their
    images mixed with the same weights (which are not the images of the mixed samples:
    `check_contract` lets that pass with allow_stale only). All else is left as it is.
    Raises InvalidSpec where channels that must change places were not all delivered.
    """
    if images.shape[1] != len(channels):
        raise InvalidSpec(f"{images.shape[1]} channels of images have {len(channels)} names")
    for place, (augmentation, drawn) in enumerate(steps):
        effect = store_effect(augmentation, spec)
        if effect.kind == PERMUTED:
            if drawn.order is not None:
                images = _ordered(images, drawn.order, _parsed(channels, spec))
            elif drawn.changed is not None:
                images = _scans_exchanged(images, drawn.changed, _parsed(channels, spec))
        elif effect.kind == INVALID and place == 0 and drawn.changed is not None:
            turned = (variants or {}).get(effect.variant, images)
            images = torch.where(drawn.changed[:, None, None, None], turned, images)
        if drawn.mix is not None:
            images = drawn.mix(_real(images, spec))
    return images


def _real(images: Tensor, spec: StoreSpec) -> Tensor:
    """Images that can be mixed. Raises InvalidSpec for bytes that stand for -1..1."""
    if spec.gramian is not None and images.dtype == torch.uint8:
        raise InvalidSpec("bytes of Gramian angular fields are mixed as floats; give a dtype")
    return images


def follow_targets(labels: Tensor, classes: int, steps: Sequence[Step]) -> Tensor:
    """Shares of classes (n, classes) float32 of labels (n,): one class each, or mixed."""
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise InvalidSpec(
            f"labels lie in {int(labels.min())}..{int(labels.max())}, expected 0..{classes - 1};"
            " leave out samples without a label (-1)"
        )
    targets = one_hot(labels.long(), classes).to(torch.float32)
    for _, drawn in steps:
        if drawn.mix is not None:
            targets = drawn.mix(targets)
    return targets


def move_points(
    points: Tensor,
    factor: Tensor | None = None,
    offset: Tensor | None = None,
    *,
    scale: float = 1.0,
) -> Tensor:
    """Points (..., 2) of (birth, death) of a signal that became factor * signal + offset.

    factor, offset: as many axes as `points` has before its last, such as those of `Drawn` with an
    axis of one for points. scale: of the diagram spec, by which signals were divided.
    """
    if factor is not None:
        points = points * factor[..., None]
    return points if offset is None else points + offset[..., None] / scale


def _parsed(channels: Sequence[str], spec: StoreSpec) -> list[tuple[str, str, str]]:
    """(scan, channel, dimension) of each name."""
    parsed = []
    for name in channels:
        field, _, dimension = name.rpartition("/")
        scan, _, channel = field.partition("/") if spec.diagram.scan else ("", "", field)
        parsed.append((scan, channel, dimension))
    return parsed


def _scans_exchanged(
    images: Tensor, changed: Tensor, channels: list[tuple[str, str, str]]
) -> Tensor:
    """Images whose row and column channels have changed places, of the samples that changed."""
    partners = [(EXCHANGED[scan], channel, dimension) for scan, channel, dimension in channels]
    places = torch.tensor([_place(name, channels) for name in partners], device=images.device)
    return torch.where(changed[:, None, None, None], images[:, places], images)


def _ordered(images: Tensor, order: Tensor, channels: list[tuple[str, str, str]]) -> Tensor:
    """Images whose channels come from input channel order[i, c] where they were of c."""
    inputs = list(dict.fromkeys(channel for _, channel, _ in channels))
    if len(inputs) != order.shape[1]:
        raise InvalidSpec(
            f"images of {len(inputs)} input channels ({', '.join(inputs)}) were delivered and the"
            f" inputs have {order.shape[1]}; deliver all channels to shuffle them"
        )
    table = torch.tensor(
        [
            [_place((scan, name, dimension), channels) for name in inputs]
            for scan, _, dimension in channels
        ],
        device=images.device,
    )  # (J, C)
    of = torch.tensor([inputs.index(channel) for _, channel, _ in channels], device=images.device)
    places = table.expand(len(images), -1, -1).gather(2, order[:, of, None])[:, :, 0]  # (n, J)
    return images[torch.arange(len(images), device=images.device)[:, None], places]


def _place(name: tuple[str, str, str], channels: list[tuple[str, str, str]]) -> int:
    if name not in channels:
        raise InvalidSpec(
            f"channel {'/'.join(filter(None, name))} is needed where channels change places, and"
            " was not delivered; deliver all channels"
        )
    return channels.index(name)
