"""The training samples of a run: shuffled and augmented for steps, and as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec
from training.loader import Loader
from training.trainer.config import TrainConfig
from training.trainer.objectives import Objective
from training.trainer.ranks import Ranks
from training.trainer.sides import Prepared, Sides, Transform, narrowed

Batch = dict[str, Tensor]
SMALL = 0.25
"""A last batch of less than this share of the others is told where its samples are compared."""


class Feed:
    """Batches of the training side.

    loader: of steps. least: samples that a step needs on each rank. compares: with each other.
    Raises InvalidSpec for a
    missing array, CorruptStore.
    """

    def __init__(
        self,
        sides: Sides,
        objective: Objective,
        config: TrainConfig,
        *,
        ranks: Ranks,
        device: torch.device,
        transform: Transform | None,
    ) -> None:
        self.sides, self.objective, self.config = sides, objective, config
        self.ranks, self.device = ranks, device
        self.least, self.compares = objective.smallest, objective.compares
        data, needed = sides.train, getattr(transform, "names", None)
        if transform is None or needed is not None:
            data = narrowed(data, objective, needed or ())
        self.loader = Loader(
            data,
            config.batch_size,
            how=config.how,
            seed=config.seed,
            rank=ranks.rank,
            ranks=ranks.ranks,
            drop_last=config.drop_last,
            device=device,
            transform=Prepared(sides.numbers, transform),
        )

    def check(self, say: Callable[[str], None]) -> None:
        """Raise InvalidSpec where no batch is large enough, and say where the last one is not."""
        totals = [share.total // self.ranks.ranks for share in self.loader.batches.shares(0)]
        small = [count for count in totals if count < self.least]
        if len(small) == len(totals):
            raise InvalidSpec(
                f"no step would have {self.least} samples on each rank, which norms and the"
                f" objective need: {len(self.sides.train)} samples in batches of"
                f" {self.config.batch_size} on {self.ranks.ranks} ranks; take more samples, larger"
                " batches" + (", or drop_last=False" if self.config.drop_last else "")
            )
        if small:
            say(
                f"the last batch of an epoch has {small[0]} of {self.least} samples that are"
                " needed, and is left out"
            )
        last, full = totals[-1], max(totals)
        if self.compares and self.least <= last < full * SMALL:
            say(
                f"the last batch of an epoch has {last} samples, all others {full}, and samples of"
                " a batch are compared with each other: so few may throw a student off;"
                " drop_last=true leaves them out"
            )

    def example(self) -> Batch:
        """A small batch as it is without augmentation: for its shapes."""
        count = max(self.least, 4)
        return next(iter(self.plain(count, samples=count)))

    def plain(self, batch_size: int, *, samples: int | None = None) -> Iterator[Batch]:
        """Batches in the order of the data, without augmentation; of the first samples alone."""
        data = narrowed(self.sides.train, self.objective)
        loader = Loader(
            data.view(data.index[:samples]),
            batch_size,
            how=self.config.how,
            shuffle=False,
            device=self.device,
            transform=Prepared(self.sides.numbers),
        )
        try:
            yield from loader
        finally:
            loader.close()

    def close(self) -> None:
        """Let go of samples."""
        self.loader.close()
