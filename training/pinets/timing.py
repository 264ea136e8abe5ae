"""What an image costs: computed exactly on one core, and by a PI-Net there and on a GPU.

Both sides get the same samples, decoded and in memory. The exact side is fields, diagrams and
images, as the pipeline times them; what it reads and writes is told apart, and the PI-Net has
nothing to write. The PI-Net's side is its view, which normalises, and the network.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec
from pi_cache.reader import Store
from pi_cache.specs import Status
from training.joined import JoinedDataset
from training.pinets.batches import check_pi_net, in_order
from training.pinets.cores import cpu_name, first_core, load, one_thread, pinned
from training.pinets.exact import Exact, run_exact
from training.trained import Trained

SAMPLES = 512
BATCHES = (1, 128)
REPEATS = 3
"""Runs of each row, of which the fastest counts: what else a machine does only adds time."""
SHORT = 64
"""Samples that go through one by one: a batch of 1 is slow, and each costs the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to get images. milliseconds: a sample, all channels of its image, the fastest run.

    ratio: to the exact topology; above 1 is slower than exact.
    """

    way: str
    device: str
    batch: int | None
    samples: int
    milliseconds: float
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The rows, and what they were measured on. exact: the fastest run's seconds by step."""

    rows: tuple[Row, ...]
    exact: dict[str, Any]
    shape: tuple[int, ...]
    hardware: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def notes(self) -> list[str]:
        """What a reader of the table must know: images, sameness, which side is faster, where."""
        identical, samples = self.exact["identical"], self.exact["samples"]
        fastest = min(self.rows[2:], key=lambda row: row.milliseconds)
        word = "slower" if fastest.ratio > 1 else "faster"
        factor = max(fastest.ratio, 1 / fastest.ratio)
        return [
            f"images of {' x '.join(map(str, self.shape))}; {identical} of {samples} exact ones are"
            " bit for bit those of the store",
            f"the PI-Net at its fastest ({fastest.device}, batch {fastest.batch}) is"
            f" {factor:.1f} times {word} than the exact images on one core",
            self.hardware,
        ]


def measure_timing(
    trained: Trained,
    store: Store,
    *,
    samples: int = SAMPLES,
    repeats: int = REPEATS,
    device: str = "cpu",
    engine: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Timing:
    """Time both on the first `samples` OK samples of a store that holds inputs.

    device: a GPU beside the core, `cpu` for none. engine: of the exact side, the store's own unless
    given. Raises InvalidSpec for a network that gives no images, a view of more than the inputs,
    and a device that is not there; ExactFailed.
    """
    _check(trained, store, device)
    rows = np.flatnonzero(store.status == Status.OK)[:samples]
    core = first_core()
    say(f"exact images of {len(rows)} samples, {repeats} times")
    runs = [_exact(store, rows, core, engine) for _ in range(repeats)]
    exact = min(runs, key=lambda run: run.topology)
    batch = _inputs(store, rows)
    say(f"PI-Net on one core, batches of {' and '.join(map(str, BATCHES))}")
    with pinned(core), one_thread():
        found = [_time(trained, batch, size, "cpu", repeats) for size in BATCHES]
    if device != "cpu":
        say(f"PI-Net on {device}")
        found += [_time(trained, batch, size, device, repeats) for size in BATCHES]
    trained.network.to("cpu")
    return Timing(
        rows=_rows(exact, found, engine or store.spec.diagram.engine),
        exact=asdict(exact),
        shape=tuple(store.column("images").shape),
        hardware=hardware(device),
    )


Measured = tuple[str, int, int, float]
"""Device, batch size, samples, and seconds a sample."""


def _check(trained: Trained, store: Store, device: str) -> None:
    check_pi_net(trained)
    if trained.view.names != ("inputs",):
        raise InvalidSpec(
            f"this PI-Net reads {trained.view}; timing takes one that reads inputs alone, as the"
            " exact side does"
        )
    if "inputs" not in store.columns:
        raise InvalidSpec("this store holds no inputs; build it with --with-inputs")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InvalidSpec(f"no GPU for --device {device}: torch finds none; use --device cpu")


def _exact(store: Store, rows: np.ndarray, core: int | None, engine: str | None) -> Exact:
    with tempfile.TemporaryDirectory(prefix="pi-timing-") as folder:
        return run_exact(store, rows, core, Path(folder), engine=engine)


def _inputs(store: Store, rows: np.ndarray) -> Tensor:
    """(n, C, ...) floats, as a batch delivers them."""
    dataset = JoinedDataset({"images": store}, names=["inputs"])
    places = np.flatnonzero(np.isin(dataset.joined.member("images").rows, rows))
    side = dataset.view(places)
    return torch.cat([batch["inputs"] for batch in in_order(side, ["inputs"])])


def _time(trained: Trained, inputs: Tensor, size: int, device: str, repeats: int) -> Measured:
    """Seconds a sample, the fastest of some passes over the inputs after one that warms up."""
    trained.network.to(device)
    given = (inputs if size > 1 else inputs[:SHORT]).to(device)
    parts = torch.split(given, size)
    _pass(trained, parts[:2], device)
    seconds = min(_pass(trained, parts, device) for _ in range(repeats))
    return device, size, len(given), seconds / len(given)


def _pass(trained: Trained, parts: Sequence[Tensor], device: str) -> float:
    """Seconds that the images of some batches take; a GPU is waited for."""
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    for part in parts:
        trained({"inputs": part})
    if cuda:
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _rows(exact: Exact, found: Sequence[Measured], engine: str) -> tuple[Row, ...]:
    base = exact.topology / exact.samples
    ways: list[tuple[str, str, int | None, int, float]] = [
        (f"exact ({engine})", "one core", None, exact.samples, base),
        ("exact, with reading and writing", "one core", None, exact.samples,
         exact.whole / exact.samples),
    ]  # fmt: skip
    ways += [
        ("PI-Net", "one core" if device == "cpu" else device, size, count, seconds)
        for device, size, count, seconds in found
    ]
    return tuple(
        Row(
            way=way,
            device=device,
            batch=size,
            samples=count,
            milliseconds=1000 * seconds,
            ratio=seconds / base,
        )
        for way, device, size, count, seconds in ways
    )


def hardware(device: str) -> str:
    """One line: processor, GPU where one was used, torch, threads, and what else ran."""
    gpu = f", {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else ""
    return f"{cpu_name()}, one core, 1 thread{gpu}; torch {torch.__version__}; {load()}"
