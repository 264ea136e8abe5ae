"""Run every fault loop in turn with new seeds until the time is over; a table at the end.

    python -m tests.faults.soak --minutes 30
    python -m tests.faults.soak --only kill --seed 81723 --rounds 1

Exit status 1 when a promise was broken; the seed of each broken round is printed, and repeats it.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import tests.conftest  # noqa: F401 - keeps what is remembered of users' stores apart
from tests.faults import (
    Loop,
    Violation,
    bit_flips,
    compiling,
    experiments,
    full_disk,
    hostile,
    hostile_recordings,
    http_damage,
    http_fuzz,
    http_load,
    http_raw,
    http_slow,
    kill,
    nth_call,
    power_cut,
    race,
    replayable,
    state_machine,
    time_limit,
)

PARTS = (
    kill, nth_call, race, state_machine, power_cut, full_disk, bit_flips, hostile,
    hostile_recordings, time_limit, experiments, http_fuzz, http_damage, http_raw, http_slow,
    http_load, compiling,
)  # fmt: skip
LOOPS: dict[str, Loop] = {
    name: loop for part in PARTS for name, loop in part.LOOPS.items() if loop.soak
}

TURN = 2.0
"""Seconds that a loop runs before the next one has its turn."""


@dataclass
class Tally:
    """What a loop did so far."""

    rounds: int = 0
    seconds: float = 0.0
    ends: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


def soak(
    loops: Mapping[str, Loop], seconds: float, *, seed: int, rounds: int | None = None
) -> dict[str, Tally]:
    """Every loop in turn until the time is over or each has run its rounds (its soak count)."""
    tallies = {name: Tally() for name in loops}
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        left = [n for n in loops if tallies[n].rounds < (rounds or loops[n].soak)]
        if not left:
            break
        for name in left:
            most = (rounds or loops[name].soak) - tallies[name].rounds
            _turn(name, loops[name], tallies[name], seed, most, stop)
    return tallies


def _turn(name: str, loop: Loop, tally: Tally, seed: int, most: int, stop: float) -> None:
    start = time.monotonic()
    end = min(start + TURN, stop)
    for _ in range(most):
        if time.monotonic() >= end:
            break
        try:
            tally.ends[replayable(loop.one, seed + tally.rounds)] += 1
        except Violation as error:
            tally.broken.append(str(error))
            print(f"VIOLATION {name} {error}", flush=True)
        tally.rounds += 1
    tally.seconds += time.monotonic() - start


def table(tallies: Mapping[str, Tally], skipped: Mapping[str, str]) -> str:
    """Rounds, violations and seconds of each loop, and how its rounds ended."""
    lines = [f"{'loop':<16} {'rounds':>9} {'violations':>10} {'seconds':>8}"]
    for name, tally in tallies.items():
        ends = ", ".join(f"{word} {count}" for word, count in sorted(tally.ends.items()))
        counts = f"{tally.rounds:>9,} {len(tally.broken):>10,} {tally.seconds:>8.0f}"
        lines.append(f"{name:<16} {counts}")
        lines += textwrap.wrap(ends, 96, initial_indent="    ", subsequent_indent="    ")
    lines += [f"{name:<16} skipped: {reason}" for name, reason in skipped.items()]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser("tests.faults.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--only", action="append", choices=sorted(LOOPS), help="again for several")
    parser.add_argument("--seed", type=int, help="that of the first round; a new one by default")
    parser.add_argument("--rounds", type=int, help="of each loop, instead of its soak count")
    options = parser.parse_args(arguments)
    seed = secrets.randbits(40) if options.seed is None else options.seed
    wanted = {name: LOOPS[name] for name in options.only or LOOPS}
    skipped = {name: reason for name, loop in wanted.items() if (reason := loop.lacking())}
    able = {name: loop for name, loop in wanted.items() if name not in skipped}
    print(f"{len(able)} loops for {options.minutes:g} minutes, first seed {seed}", flush=True)
    tallies = soak(able, options.minutes * 60, seed=seed, rounds=options.rounds)
    print(table(tallies, skipped))
    return 1 if any(tally.broken for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
