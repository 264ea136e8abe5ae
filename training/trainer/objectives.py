"""What a run makes smaller: a module that turns a batch into named, weighted terms.

All that is trained lies inside, so that gradients of the student and of what a method learns are
averaged alike over ranks. Teachers lie outside: they have no gradients and are in no state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pi_cache.errors import InvalidSpec
from training.digests import digest_of
from training.losses.kd import cross_entropy_batch_mean, cross_entropy_per_sample
from training.methods.base import Method, Term, Terms
from training.models.outputs import Outputs
from training.trained import Trained
from training.trainer.teachers import Teachers
from training.views import View

Batch = Mapping[str, Tensor]


class Objective(nn.Module):
    """A network, what it reads, and its terms. A child says which.

    network: what is trained. learned: what is trained with it and thrown away. smallest: samples
    that a batch needs, 2 for the norms of a network; smaller ones are left out. compares: it
    compares the samples of a batch with each other. measured: the name
    of its score; higher: whether more of it is better. labelled: it needs a label of each sample.
    """

    measured: ClassVar[str]
    higher: ClassVar[bool] = True
    labelled: ClassVar[bool] = True
    smallest: int = 2
    compares: bool = False

    def __init__(self, network: nn.Module, view: View) -> None:
        super().__init__()
        self.network, self.view = network, view
        self.learned = nn.ModuleDict()
        self.channels_last = False
        self.last: Tensor | None = None
        """What the network gave last, for a message about numbers that are not finite."""

    @property
    def names(self) -> tuple[str, ...]:
        """Arrays of a batch that are read beside the labels, each once."""
        return self.view.names

    def begin(self, batch: Batch) -> None:
        """Make what is learned, for batches like this one. Most objectives learn nothing."""

    def place(self, device: torch.device) -> None:
        """Send all there, teachers too."""
        self.to(device)

    def forward(self, batch: Batch) -> Terms:
        """The terms of a batch; a forward, so that ranks see it."""
        return self.terms(batch)

    def terms(self, batch: Batch) -> Terms:
        """Weighted summands by name, of a batch by name."""
        raise NotImplementedError

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        """Sums (0-d float64) over a batch of a side that is measured, `samples` among them."""
        raise NotImplementedError

    def score(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Means of the sums of a whole side, by name; `measured` is among them."""
        raise NotImplementedError

    def better(self, score: float, than: float | None) -> bool:
        """Whether a score is better than the best so far; of equal ones the earlier stays."""
        return than is None or (score > than if self.higher else score < than)

    def to_dict(self) -> dict[str, Any]:
        """What it is, as plain values; weights by a digest."""
        return {
            "objective": type(self).__name__.lower(),
            "view": self.view.to_dict(),
            "start": digest(self.network),
        }

    def outputs(self, batch: Batch) -> Any:
        """What the network gives for a batch."""
        inputs = self.view(batch)
        if self.channels_last and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        outputs = self.network(inputs)
        self.last = outputs[0].detach()
        return outputs


class Supervised(Objective):
    """Cross entropy with labels, or with the shares of mixed samples: the term `ce`."""

    measured = "accuracy"

    def terms(self, batch: Batch) -> Terms:
        logits = self.outputs(batch).logits
        return {"ce": Term(1.0, cross_entropy_batch_mean(logits, targets_of(batch)))}

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        logits, labels = self.outputs(batch).logits, batch["labels"]
        return {
            "samples": torch.tensor(float(len(labels)), dtype=torch.float64, device=logits.device),
            "correct": (logits.argmax(1) == labels).double().sum(),
            "loss": cross_entropy_per_sample(logits, labels).double().sum(),
        }

    def score(self, sums: Mapping[str, float]) -> dict[str, float]:
        count = sums["samples"]
        return {"accuracy": sums["correct"] / count, "loss": sums["loss"] / count}


class Distilled(Supervised):
    """The terms of a method, of a student and its teachers.

    teachers: in the order in which the method takes them; they run without gradients.
    Raises InvalidSpec for fewer or more teachers than the method takes, and for a teacher that is
    the network itself: what is trained is no teacher.
    """

    def __init__(
        self, network: nn.Module, view: View, method: Method, teachers: Sequence[Trained]
    ) -> None:
        super().__init__(network, view)
        method.check_teachers(len(teachers))
        own = set(network.parameters())
        if any(own & set(teacher.network.parameters()) for teacher in teachers):
            raise InvalidSpec(
                "a teacher has weights of the network that is trained; read it from its file, which"
                " makes a network of its own"
            )
        self.method = method
        self.teachers = Teachers(tuple(teachers), stages=method.stages)
        self.smallest = max(type(self).smallest, method.smallest)
        self.compares = method.compares

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.view.names, *self.teachers.names)))

    def begin(self, batch: Batch) -> None:
        training = self.network.training
        self.network.train(False)  # norms learn nothing from samples that only show shapes
        with torch.no_grad():
            student: Outputs = self.outputs(batch)
            given = self.teachers(batch)
            learned = self.method.learned(student, given)
            self.learned = learned.to(student.logits.device).train(False)
            # What a method cannot compare is found here, not after teachers were asked about all.
            self.method.terms(student, given, targets_of(batch), self.learned)
        self.learned.train(True)
        self.network.train(training)

    def place(self, device: torch.device) -> None:
        super().place(device)
        self.teachers.place(device)

    def terms(self, batch: Batch) -> Terms:
        student: Outputs = self.outputs(batch)
        return self.method.terms(student, self.teachers(batch), targets_of(batch), self.learned)

    def to_dict(self) -> dict[str, Any]:
        return {
            **super().to_dict(),
            "method": self.method.to_dict(),
            "teachers": [
                digest(teacher.network, teacher.view) for teacher in self.teachers.members
            ],
        }


class Regression(Objective):
    """Mean squared error of a PI-Net's images against those of a batch: the term `mse`.

    target: the name of the images. The mean is over all elements, as in the code of Som et al.,
    2020. No labels are read.
    """

    measured = "mse"
    higher = False
    labelled = False

    def __init__(self, network: nn.Module, view: View, target: str) -> None:
        super().__init__(network, view)
        self.target = target

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.view.names, self.target)))

    def terms(self, batch: Batch) -> Terms:
        return {"mse": Term(1.0, self._squares(batch).mean())}

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        squares = self._squares(batch).flatten(1)
        count = torch.tensor(float(len(squares)), dtype=torch.float64, device=squares.device)
        return {
            "samples": count,
            "squared": squares.mean(1).double().sum(),
            "absolute": squares.sqrt().mean(1).double().sum(),
        }

    def score(self, sums: Mapping[str, float]) -> dict[str, float]:
        count = sums["samples"]
        return {"mse": sums["squared"] / count, "mae": sums["absolute"] / count}

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "target": self.target}

    def _squares(self, batch: Batch) -> Tensor:
        """(n, C, P, P) squared differences, float32 at least. Raises InvalidSpec."""
        made, wanted = self.outputs(batch).images, batch[self.target]
        if made.shape != wanted.shape:
            raise InvalidSpec(
                f"the network gives images {tuple(made.shape[1:])}, {self.target} are"
                f" {tuple(wanted.shape[1:])}; build it with their channels and pixels"
            )
        wide: Tensor = made.to(torch.promote_types(made.dtype, torch.float32))
        return (wide - wanted).square()


def targets_of(batch: Batch) -> Tensor:
    """(n, K) shares of classes where samples are mixed, else labels (n,)."""
    return batch["targets"] if "targets" in batch else batch["labels"]


def digest(network: nn.Module, view: View | None = None) -> str:
    """SHA-256 of all weights and buffers, by name: tells one start or teacher from another.

    view: what a teacher is shown, and by which means and deviations.
    """
    shown = "" if view is None else json.dumps(view.to_dict())
    return digest_of(network.state_dict().items(), shown)
