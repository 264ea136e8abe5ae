"""A run under way: its epochs, and what it takes to go on with them."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pi_cache.errors import NotFinite
from training.trained import ModelSpec, Trained, write_trained
from training.trainer.config import LAST, TrainConfig
from training.trainer.events import Events, open_events
from training.trainer.feed import Batch, Feed
from training.trainer.folder import RunFolder
from training.trainer.measuring import Measurer
from training.trainer.objectives import Distilled, Objective
from training.trainer.progress import Best, Progress
from training.trainer.ranks import Ranks
from training.trainer.saving import collect, drawing, restore, restore_drawing
from training.trainer.schedules import rate
from training.trainer.sides import Sides, Transform, measured_side
from training.trainer.state import check_finite
from training.trainer.stepper import REMEDIES, Stepper, Sums


class Run:
    """Called, does what is left of a run and returns what it gave, as plain values.

    identity: the document of run.json. Everything else is as of `loop.train`.
    """

    def __init__(
        self,
        *,
        objective: Objective,
        sides: Sides,
        config: TrainConfig,
        folder: RunFolder,
        model: ModelSpec,
        transform: Transform | None,
        say: Callable[[str], None],
        identity: Mapping[str, Any],
        ranks: Ranks,
        device: torch.device,
        tensorboard: bool | None,
    ) -> None:
        self.objective, self.sides, self.config, self.folder = objective, sides, config, folder
        self.model, self.say, self.identity = model, say, identity
        self.transform, self.ranks, self.device = transform, ranks, device
        self.wanted = tensorboard if ranks.first else False
        self.feed = Feed(sides, objective, config, ranks=ranks, device=device, transform=transform)
        self.loader = self.feed.loader
        self.measurer = self._measurer()
        self.feed.check(say)
        self._place()
        self.stepper = Stepper(objective, ranks.wrap(objective, device), config, device)
        self.progress = Progress()
        self._resume()

    def __call__(self) -> dict[str, Any]:
        self._keep_teachers()
        events: Events = open_events(
            self.folder.path / "tensorboard", self.progress.epochs, self.wanted
        )
        try:
            while self.progress.epochs < self.config.epochs:
                line = self._epoch()
                events.add(line)
                self.say(said(line, self.config.epochs))
        finally:
            events.close()
        return self._finish()

    def close(self) -> None:
        """Let go of samples, and of what teachers gave."""
        self.feed.close()
        if self.measurer is not None:
            self.measurer.close()
        if isinstance(self.objective, Distilled):
            self.objective.teachers.forget()

    # What a run is made of.

    def _measurer(self) -> Measurer | None:
        name, data = measured_side(self.sides)
        if data is None:
            return None
        return Measurer(
            name, data, self.sides, self.objective, self.config, self.ranks, self.device
        )

    def _place(self) -> None:
        """Send networks to the device, and make what is learned, from the seed."""
        objective, config = self.objective, self.config
        objective.channels_last = config.channels_last
        objective.place(self.device)
        if config.channels_last:
            to: Callable[..., Any] = objective.network.to  # its hints know no memory format
            to(memory_format=torch.channels_last)
        torch.manual_seed(drawn_seed(config.seed, "learned"))
        objective.begin(self.feed.example())
        objective.place(self.device)
        if config.compile:
            backend = "inductor" if config.compile is True else config.compile
            objective.network.compile(backend=backend)
        torch.manual_seed(drawn_seed(config.seed, f"rank {self.ranks.rank}"))

    def _keep_teachers(self) -> None:
        """Ask teachers once, where nothing changes batches."""
        objective, config = self.objective, self.config
        if not isinstance(objective, Distilled) or not config.cache_teachers:
            return
        if self.transform is not None:
            self.say("teachers run in every step: batches are augmented")
            return
        with self.stepper.cast():
            self.say(
                objective.teachers.keep(
                    self.feed.plain(config.batch_size),
                    samples=len(self.sides.train),
                    most=config.cache_bytes,
                )
            )

    # Epochs.

    def _epoch(self) -> dict[str, Any]:
        """Do what is left of an epoch; its line of the log."""
        progress, epoch = self.progress, self.progress.epochs
        learning_rate = rate(self.config, epoch)
        self.stepper.set_rate(learning_rate)
        self._steps(epoch)
        self.stepper.check(progress.sums, epoch)
        started = time.perf_counter()
        self.ranks.share_buffers(self.objective)
        measured = None if self.measurer is None else self.measurer(self.stepper.cast(), epoch)
        line = self._line(learning_rate, measured, time.perf_counter() - started)
        progress.lines.append(line)
        progress.epochs, progress.seconds, progress.waiting = epoch + 1, 0.0, 0.0
        progress.sums = Sums(row=progress.sums.row)  # steps in a row go on into the next epoch
        self._choose(measured)
        line["best"] = progress.best.epoch if progress.best is not None else None
        if progress.epochs % self.config.save_every == 0 or progress.epochs == self.config.epochs:
            self._save()
        if self.ranks.first:
            self.folder.write_log(progress.lines)
        return line

    def _steps(self, epoch: int) -> None:
        """Take the steps that are left of an epoch."""
        progress, ranks, every = self.progress, self.ranks.ranks, self.config.save_steps
        self.loader.set_epoch(epoch)
        shares = self.loader.batches.shares(self.loader.state_dict()["delivered"])
        begun, before = time.perf_counter(), progress.seconds
        self.objective.train()
        batches = zip(self._waited(), shares, strict=True)
        for number, (batch, share) in enumerate(batches, start=1):
            if share.total // ranks < self.feed.least:
                continue
            own = (share.stop - share.start) * ranks / share.total
            self.stepper.step(batch, progress.sums, share=own, epoch=epoch)
            if every and progress.sums.steps % every == 0 and number < len(shares):
                progress.seconds = before + time.perf_counter() - begun
                self._save()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        progress.seconds = before + time.perf_counter() - begun

    def _waited(self) -> Iterator[Batch]:
        """Every batch of the loader; the time until it comes is added up."""
        asked = time.perf_counter()
        for batch in self.loader:
            if self.progress.waiting is not None:
                self.progress.waiting += time.perf_counter() - asked
            yield batch
            asked = time.perf_counter()

    def _line(
        self, learning_rate: float, measured: Mapping[str, float] | None, seconds: float
    ) -> dict[str, Any]:
        """What the log says of the epoch that was done."""
        progress, sums = self.progress, self.progress.sums
        assert sums.values is not None
        values = self.ranks.added(sums.values).tolist()
        *terms, samples, norm = values
        line: dict[str, Any] = {
            "epoch": progress.epochs + 1,
            "learning_rate": learning_rate,
            "loss": sum(terms) / samples,
            "terms": {n: value / samples for n, value in zip(sums.names, terms, strict=True)},
            "samples": int(samples),
            "steps": sums.steps,
            "select": self.config.select,
        }
        if self.config.clip is not None:
            steps = max(sums.steps - sums.skipped, 1) * self.ranks.ranks
            line["gradient_norm"] = norm / steps
        if self.stepper.scaler.is_enabled():
            line["skipped"] = sums.skipped
        if self.measurer is not None and measured is not None:
            line[self.measurer.name] = dict(measured)
        line["seconds"] = round(progress.seconds, 6)
        line["waiting_seconds"] = None if progress.waiting is None else round(progress.waiting, 6)
        line["measuring_seconds"] = round(seconds, 6)
        line["samples_per_second"] = round(samples / max(progress.seconds, 1e-9), 3)
        return line

    def _choose(self, measured: Mapping[str, float] | None) -> None:
        """Keep the network's tensors where this epoch is the run's so far."""
        progress, objective = self.progress, self.objective
        score = None if measured is None else measured[objective.measured]
        if self.config.select != LAST:
            assert score is not None  # sides_of saw to it
            if not objective.better(score, progress.best.score if progress.best else None):
                return
        tensors = {} if self.config.select == LAST else self._tensors()
        progress.best = Best(progress.epochs, score, tensors)

    def _tensors(self) -> dict[str, Tensor]:
        """Copies of the network's weights and buffers."""
        return {n: v.detach().clone() for n, v in self.objective.network.state_dict().items()}

    # States.

    def _save(self) -> None:
        """Write a state; every rank gives its generators, the first one writes."""
        drawn = self.ranks.gathered(drawing(self.transform, self.device, self.progress.sums))
        if not self.ranks.first:
            return
        state = collect(self.objective, self.stepper, self.loader, self.progress, drawn)
        state.values["versions"] = conditions()
        if wrong := check_finite(state):
            raise NotFinite(
                f"epoch {self.progress.epochs}: {wrong} is not finite after its last step;"
                f" {REMEDIES}. States of earlier epochs are kept"
            )
        self.folder.save(self.progress.place, state)

    def _resume(self) -> None:
        """Go on from the newest state, where there is one."""
        if not self.ranks.first:
            self.ranks.wait()  # until the first one has moved damaged states away
        state = self.folder.newest(self.say)
        if self.ranks.first:
            self.ranks.wait()
        if state is None:
            return
        self.progress = restore(state, self.objective, self.stepper, self.loader, self.ranks.rank)
        restore_drawing(state, self.transform, self.ranks.rank, self.device)
        self._say_where(state.values["versions"])
        if self.ranks.first:
            self.folder.write_log(self.progress.lines)

    def _say_where(self, found: Mapping[str, str]) -> None:
        place, mine = self.progress.place, conditions()
        within = f" and {place.steps} steps" if place.steps else ""
        self.say(f"going on after {place.epochs} epochs{within}")
        changed = [
            f"{n} {was} is now {mine.get(n)}" for n, was in found.items() if was != mine.get(n)
        ]
        if changed:
            self.say(f"last digits may differ from an undisturbed run: {', '.join(changed)}")

    # The end.

    def _finish(self) -> dict[str, Any]:
        """Write both networks and what the run gave."""
        progress, lines = self.progress, self.progress.lines
        assert progress.best is not None
        seconds = sum(line["seconds"] for line in lines)
        samples = sum(line["samples"] for line in lines)
        side = "nothing" if self.measurer is None else self.measurer.name
        result = {
            "epochs": progress.epochs,
            "chosen": progress.best.epoch,
            "select": self.config.select,
            "measured": f"{self.objective.measured} of {side}",
            "score": progress.best.score,
            "seconds": round(seconds, 6),
            "waiting_seconds": waited(lines),
            "samples_per_second": round(samples / max(seconds, 1e-9), 3),
            "skipped": sum(line.get("skipped", 0) for line in lines),
            "ranks": self.ranks.ranks,
            "versions": versions(),
        }
        if self.ranks.first:
            last = Best(progress.epochs, self._last_score(), self._tensors())
            self._write("best", progress.best if progress.best.tensors else last)
            self._write("last", last)
            self.folder.finish(result)
        self.ranks.wait()
        return result

    def _last_score(self) -> float | None:
        if self.measurer is None:
            return None
        score: float = self.progress.lines[-1][self.measurer.name][self.objective.measured]
        return score

    def _write(self, name: str, of: Best) -> None:
        """Write the file of a network, with how it came about."""
        network = self.model.build()
        network.load_state_dict(of.tensors, strict=True)
        record = {
            **self.identity,
            "epoch": of.epoch,
            "pick": name,
            "score": of.score,
            "line": self.progress.lines[of.epoch - 1],
            "versions": versions(),
        }
        trained = Trained(
            network=network,
            model=self.model,
            view=self.objective.view,
            class_names=self.sides.class_names,
            record=record,
        )
        write_trained(self.folder.path / f"{name}.safetensors", trained)


def waited(lines: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds without a batch; None where an epoch was trained by code that did not tell."""
    told: list[Any] = [line.get("waiting_seconds") for line in lines]
    return None if None in told else round(sum(told), 6)


def said(line: Mapping[str, Any], epochs: int) -> str:
    """A line of the log for people."""
    side = next((name for name in ("validation", "test") if name in line), None)
    measured = "" if side is None else f"; {side} {_numbers(line[side])}"
    return (
        f"epoch {line['epoch']} of {epochs}: {_numbers(line['terms'])}{measured};"
        f" {line['samples_per_second']:,.0f} samples/s"
        + (", chosen by the test side" if side == "test" else "")
    )


def _numbers(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def drawn_seed(seed: int, use: str) -> int:
    """A seed of torch for one use, so that no two uses draw the same numbers."""
    digest = hashlib.sha256(f"{seed}/{use}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def versions() -> dict[str, str]:
    """Of what computes."""
    return {"torch": str(torch.__version__), "python": platform.python_version()}


def conditions() -> dict[str, str]:
    """What may change the last digits."""
    return {**versions(), "threads": str(torch.get_num_threads())}
