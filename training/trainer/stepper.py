"""One step: forward, backward, clip, step; and what it adds up, without waiting for the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pi_cache.errors import NotFinite
from training.losses.shapes import wide
from training.methods.base import Term, Terms, total
from training.trainer.config import PRECISIONS, TrainConfig
from training.trainer.objectives import Objective

CHECK = 50
"""Steps from one look for NaN to the next on a device, where each look waits for it."""
MOST_SKIPPED = 20
"""Steps in a row that float16 may skip: its scale begins at 2**16 and is halved each time."""
REMEDIES = (
    "lower the learning rate, limit gradients (clip), standardise or rescale the logits, or train"
    " in float32"
)


@dataclass(slots=True)
class Sums:
    """What the steps of an epoch have added up.

    names: of the terms. values: (terms + 2,) float64 on the device: each term's weight times value
    times samples, the samples, and the gradients' norm, of each step. steps: taken. skipped: of
    them, because gradients overflowed; row: the last ones in a row.
    """

    names: tuple[str, ...] = ()
    values: Tensor | None = None
    steps: int = 0
    skipped: int = 0
    row: int = 0

    def means(self) -> dict[str, float]:
        """Each term's weighted mean over the samples."""
        assert self.values is not None
        *terms, count, _ = self.values.tolist()
        return {name: value / count for name, value in zip(self.names, terms, strict=True)}


class Stepper:
    """Takes steps of an objective.

    module: the objective itself, or wrapped for ranks. parameters: what is trained, by name.
    """

    def __init__(
        self,
        objective: Objective,
        module: nn.Module,
        config: TrainConfig,
        device: torch.device,
    ) -> None:
        self.objective, self.module, self.device = objective, module, device
        self.clip = config.clip
        self.dtype = PRECISIONS[config.precision]
        self.parameters = [(n, p) for n, p in objective.named_parameters() if p.requires_grad]
        self.weights = [parameter for _, parameter in self.parameters]
        self.optimizer = make_optimizer(self.weights, config)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self.every = 1 if device.type == "cpu" else CHECK

    def cast(self) -> torch.autocast:
        """In which networks run: at the precision of the config."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def set_rate(self, rate: float) -> None:
        """The learning rate from now on."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def step(self, batch: Mapping[str, Tensor], sums: Sums, *, share: float, epoch: int) -> None:
        """Take a step and add it up.

        share: what the batch's mean counts for in the mean over ranks, 1 where all have equally
        many samples. Raises NotFinite.
        """
        with self.cast():
            given: Terms = self.module(batch)
        terms = {name: Term(term.weight, wide(term.value)) for name, term in given.items()}
        loss = total(terms) * share
        self.optimizer.zero_grad(set_to_none=True)
        sums.steps += 1
        if self.every == 1 and not bool(torch.isfinite(loss)):
            self.refuse({name: t.weight * t.value.item() for name, t in terms.items()}, sums, epoch)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call, unused-ignore]
        norm = self._advance(sums, epoch)
        self._add(terms, norm, len(next(iter(batch.values()))), sums)
        if sums.steps % self.every == 0:
            self.check(sums, epoch)

    def check(self, sums: Sums, epoch: int) -> None:
        """Raise NotFinite where anything that was added up was NaN or infinite."""
        if sums.values is not None and not bool(torch.isfinite(sums.values).all()):
            *terms, _, norm = sums.values.tolist()
            named = dict(zip(sums.names, terms, strict=True))
            self.refuse({**named, "norm of the gradients": norm}, sums, epoch)

    def refuse(self, terms: Mapping[str, float], sums: Sums, epoch: int) -> None:
        """Raise NotFinite, with what is known of it."""
        wrong = [f"{name} is {value}" for name, value in terms.items() if abs(value) in (INF,)]
        wrong += [f"{name} is NaN" for name, value in terms.items() if value != value]
        first = max(sums.steps - self.every + 1, 1)
        steps = f"step {sums.steps}" if first == sums.steps else f"steps {first} to {sums.steps}"
        raise NotFinite(
            f"epoch {epoch + 1}, {steps}: {', '.join(wrong) or 'a sum of terms is not finite'};"
            f" the largest logit is {_largest(self.objective.last)}. {REMEDIES}. States of earlier"
            " epochs are kept"
        )

    def _advance(self, sums: Sums, epoch: int) -> Tensor | None:
        """Clip and step; the gradients' norm where they are clipped."""
        norm = None
        if self.clip is not None:
            self.scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(self.weights, self.clip)
        self.scaler.step(self.optimizer)
        if not self.scaler.is_enabled():
            return norm
        before = self.scaler.get_scale()
        self.scaler.update()
        if self.scaler.get_scale() >= before:
            sums.row = 0
            return norm
        sums.skipped, sums.row = sums.skipped + 1, sums.row + 1
        if sums.row >= MOST_SKIPPED:
            raise NotFinite(
                f"epoch {epoch + 1}, step {sums.steps}: gradients overflowed float16 in"
                f" {sums.row} steps in a row; {REMEDIES}. States of earlier epochs are kept"
            )
        return None

    def _add(self, terms: Mapping[str, Any], norm: Tensor | None, count: int, sums: Sums) -> None:
        with torch.no_grad():
            values = [(term.weight * term.value).detach() for term in terms.values()]
            values.append(torch.ones_like(values[0]))
            values.append(torch.zeros_like(values[0]) if norm is None else norm.to(values[0]))
            added = torch.stack(values).double()
            added[:-1] *= count
            if sums.values is None:
                sums.names, sums.values = tuple(terms), added
            else:
                sums.values += added


INF = float("inf")


def make_optimizer(weights: list[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of a config, of all weights alike."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            weights, rate, config.momentum, weight_decay=decay, nesterov=config.nesterov
        )
    family = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return family(weights, rate, config.betas, config.epsilon, decay)


def _largest(logits: Tensor | None) -> str:
    return "unknown" if logits is None else f"{float(logits.abs().max()):.4g}"
