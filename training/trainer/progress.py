"""How far a run has come, and its way into a state and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from training.trainer.folder import Place
from training.trainer.state import State, Tensors
from training.trainer.stepper import Sums


@dataclass(slots=True)
class Best:
    """The best epoch so far, counted from 1: its score, and the network's tensors then.

    Without tensors where the last epoch is the run's: those are the network's own.
    """

    epoch: int
    score: float | None
    tensors: Tensors


@dataclass(slots=True)
class Progress:
    """What a run has done.

    epochs: whole ones. lines: of the log, one for each. best: None before the first. sums,
    seconds, waiting: of the epoch under way; waiting are the seconds without a batch, None where
    part of it was trained by code that did not tell.
    """

    epochs: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)
    best: Best | None = None
    sums: Sums = field(default_factory=Sums)
    seconds: float = 0.0
    waiting: float | None = 0.0

    @property
    def place(self) -> Place:
        """Where it is."""
        return Place(self.epochs, self.sums.steps)

    def into(self, state: State) -> None:
        """Put all of it into a state."""
        sums = asdict(self.sums)
        values = sums.pop("values")
        state.values |= {
            "epochs": self.epochs,
            "lines": self.lines,
            "seconds": self.seconds,
            "waiting": self.waiting,
            "sums": sums,
            "best": None if self.best is None else [self.best.epoch, self.best.score],
        }
        if values is not None:
            state.put("sums", {"values": values})
        if self.best is not None:
            state.put("best", self.best.tensors)

    @classmethod
    def of(cls, state: State, device: torch.device, rank: int = 0) -> Progress:
        """What `into` put there; of another rank, with what its own steps added up."""
        values = state.values
        sums = Sums(**{**values["sums"], "names": tuple(values["sums"]["names"])})
        if (added := state.group(f"sums/{rank}" if rank else "sums").get("values")) is not None:
            sums.values = added.to(device)
        best = None
        if values["best"] is not None:
            epoch, score = values["best"]
            best = Best(epoch, score, state.group("best"))
        times = values["seconds"], values.get("waiting", None if values["seconds"] else 0.0)
        return cls(values["epochs"], values["lines"], best, sums, *times)
