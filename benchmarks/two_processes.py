"""What two processes do in the time of one: throughput on two cores over that on one.

    python -m benchmarks.two_processes [--rounds 7] [--seconds 0.6]

Each process has inputs of its own. One works alone, then both, from one starting signal, and so on
in turns; of each the best round counts. The machine must be idle: whatever else runs takes a core
from the two first.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any

import click
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.kernels import inputs
from benchmarks.kernels.drawers import SPEC
from benchmarks.kernels.inputs import Sizes
from benchmarks.machine import ONE_THREAD, heading
from pipeline.images import block_of, draw, select
from pipeline.kernels.cubical import cubical_h01
from pipeline.kernels.path import path_h0
from pipeline.kernels.rips import rips_h01

PATIENCE = 300.0
"""Seconds that one process waits for the other, to compile."""
BATCH = Sizes(channels=1250, clouds=10)


def _signals(number: int) -> Callable[[], object]:
    signals = inputs.signals(BATCH)[number::2]
    size = block_of(SPEC)

    def run() -> None:
        for start in range(0, len(signals), size):
            draw(select(*path_h0(signals[start : start + size], SPEC.threshold), SPEC), SPEC)

    return run


def _images(number: int) -> Callable[[], object]:
    images = inputs.photos(BATCH, BATCH.channels, 32)[number::2]
    return lambda: cubical_h01(images, cells=True)


def _clouds(number: int) -> Callable[[], object]:
    clouds = inputs.clouds(BATCH)[number::2]
    starts = np.arange(len(clouds) + 1) * clouds.shape[1]
    points = clouds.reshape(-1, clouds.shape[2])
    return lambda: rips_h01(points, starts)


WORKS: dict[str, Callable[[int], Callable[[], object]]] = {
    "A+B signals to images, float64": _signals,
    "C cubical 32 x 32": _images,
    "D Rips of 1,024 points": _clouds,
}
"""By name: what gives each of the processes its work."""


def work(name: str, number: int, rounds: int, seconds: float, start: Barrier, answers: Any) -> None:
    """One of the two processes; in a round the first works alone, then the second, then both.

    Answers with its number and what it did a second, (rounds, 2): alone, and beside the other.
    """
    with threadpool_limits(1):
        run = WORKS[name](number)
        run()  # compiled, or loaded
        rates = np.zeros((rounds, 2))
        for turn in range(rounds):
            for who in ({0}, {1}, {0, 1}):
                start.wait(PATIENCE)
                if number in who:
                    rates[turn, len(who) - 1] = _rate(run, seconds)
        answers.put((number, rates))


def _rate(run: Callable[[], object], seconds: float) -> float:
    """Calls a second, over so many seconds or a little more."""
    start, done, spent = time.perf_counter(), 0, 0.0
    while spent < seconds:
        run()
        done += 1
        spent = time.perf_counter() - start
    return done / spent


def speed_up(name: str, rounds: int, seconds: float) -> tuple[float, float]:
    """Throughput of both processes over that of one, of the best round and of the median one.

    That is the sum over both of what each does beside the other, by what it does alone at best.
    """
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=work, args=(name, number, rounds, seconds, start, answers))
        for number in range(2)
    ]
    for process in processes:
        process.start()
    rates = dict(answers.get(timeout=PATIENCE) for _ in processes)
    for process in processes:
        process.join()
    together = sum(rates[k][:, 1] / rates[k][:, 0].max() for k in range(2))
    return float(together.max()), float(np.median(together))


@click.command(help=__doc__.splitlines()[0])
@click.option("--rounds", default=7, show_default=True)
@click.option("--seconds", default=0.6, show_default=True, help="Of each turn.")
def main(rounds: int, seconds: float) -> None:
    """Print a line a work."""
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # for the processes
    for line in heading(("numpy", "numba")):
        click.echo(line)
    click.echo(f"load before: {os.getloadavg()[0]:.2f}; of an idle machine it is near 0\n")
    for name in WORKS:
        best, median = speed_up(name, rounds, seconds)
        click.echo(f"{name:<30}  two processes do {best:.2f} x as much (median {median:.2f})")


if __name__ == "__main__":
    main()
