"""Augmentations one after another, from one generator whose state can be saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec
from training.augment.base import Augmentation, Drawn

Step = tuple[Augmentation, Drawn]
"""An augmentation, and what was drawn for a batch."""


@dataclass(frozen=True, slots=True)
class Augmented:
    """A batch, and how it came about: what labels and persistence images must follow."""

    values: Tensor
    steps: tuple[Step, ...]


class Augmenter:
    """Applies augmentations in order, on the device where batches lie.

    seed: of its generator, so that the same batches come out the same.
    Raises InvalidSpec for what is no augmentation.
    """

    def __init__(
        self,
        augmentations: Sequence[Augmentation],
        *,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        wrong = [each for each in augmentations if not isinstance(each, Augmentation)]
        if wrong:
            raise InvalidSpec(f"{wrong[0]!r:.80} is no Augmentation; derive a dataclass from it")
        self.augmentations = tuple(augmentations)
        self.generator = torch.Generator(device=device).manual_seed(seed)

    def __call__(self, batch: Tensor) -> Augmented:
        """The batch after every augmentation."""
        steps: list[Step] = []
        for augmentation in self.augmentations:
            batch, drawn = augmentation(batch, self.generator)
            steps.append((augmentation, drawn))
        return Augmented(batch, tuple(steps))

    def state_dict(self) -> dict[str, Tensor]:
        """The state of its generator: to go on in the middle of an epoch."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a state of `state_dict`."""
        self.generator.set_state(state["generator"])
