"""The score of a side after an epoch: each rank measures its part, and all know the whole."""

from __future__ import annotations

import torch

from pi_cache.errors import NotFinite
from training.joined import JoinedDataset
from training.loader import Loader
from training.trainer.config import TrainConfig
from training.trainer.objectives import Objective
from training.trainer.ranks import Ranks
from training.trainer.sides import Prepared, Sides, narrowed


class Measurer:
    """Measures a side, in evaluation mode, without gradients and without augmentation.

    name: of the side, as it is in every line of the log.
    """

    def __init__(
        self,
        name: str,
        data: JoinedDataset,
        sides: Sides,
        objective: Objective,
        config: TrainConfig,
        ranks: Ranks,
        device: torch.device,
    ) -> None:
        self.name, self.objective, self.ranks, self.device = name, objective, ranks, device
        part = narrowed(data, objective)
        part = part.view(part.index[ranks.rank :: ranks.ranks])
        self.loader = None
        if len(part):
            self.loader = Loader(
                part,
                config.batch_size,
                how=config.how,
                shuffle=False,
                device=device,
                transform=Prepared(sides.numbers),
            )

    @torch.no_grad()
    def __call__(self, cast: torch.autocast, epoch: int) -> dict[str, float]:
        """The means of the side, by name. Raises NotFinite where one is not."""
        self.objective.eval()
        added: dict[str, torch.Tensor] = {}
        for batch in [] if self.loader is None else self.loader:
            with cast:
                sums = self.objective.measure(batch)
            added = {name: added[name] + value if added else value for name, value in sums.items()}
        found = self.objective.score(self._over_ranks(added))
        if wrong := [name for name, value in found.items() if not abs(value) < float("inf")]:
            raise NotFinite(
                f"epoch {epoch + 1}: {', '.join(wrong)} of the {self.name} samples is not finite;"
                " the last steps of the epoch spoilt the weights: lower the learning rate, limit"
                " gradients (clip), or train in float32. States of earlier epochs are kept"
            )
        return found

    def close(self) -> None:
        """Let go of the samples."""
        if self.loader is not None:
            self.loader.close()

    def _over_ranks(self, added: dict[str, torch.Tensor]) -> dict[str, float]:
        """Sums of all ranks. One without samples has none, and learns the names of the first."""
        names = self.ranks.gathered(list(added))[0]
        zero = torch.zeros((), dtype=torch.float64, device=self.device)
        values = torch.stack([added.get(name, zero) for name in names])
        return dict(zip(names, self.ranks.added(values).tolist(), strict=True))
