"""Switch each guard off in turn: some test must fail then, and pass while it is on.

    python -m tests.faults.sabotage
    python -m tests.faults.sabotage --only "fsync of files"

Prints a line for each guard. Exit status 1 where nobody noticed that one was off.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.faults import SWITCH
from tests.faults.guards import GUARDS
from tests.faults.switch import Guard

ROOT = Path(__file__).resolve().parents[2]
SITE = os.pathsep.join([str(ROOT / "tests/faults/site"), str(ROOT)])
"""On this path every Python begins by looking whether a guard is off, before all imports."""
PYTEST = [sys.executable, "-m", "pytest", "-q", "-x"]
SETTINGS = ["-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts="]
PASSED, FAILED = 0, 1
TAIL = 3000
"""Letters shown of what pytest said."""


class Trial(NamedTuple):
    """How tests ended with a guard off, "" for on. status, talk: of pytest."""

    name: str
    status: int
    seconds: float
    talk: str


def run(tests: Sequence[str], name: str = "") -> Trial:
    """Run tests in a process of their own, with a guard off."""
    started = time.monotonic()
    done = subprocess.run(
        [*PYTEST, *SETTINGS, *tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": SITE, **({SWITCH: name} if name else {})},
        capture_output=True,
        text=True,
        check=False,
    )
    return Trial(name, done.returncode, time.monotonic() - started, done.stdout + done.stderr)


def verdict(trial: Trial) -> str:
    """ "noticed by" the test that failed, or what else happened."""
    failed = [line for line in trial.talk.splitlines() if line.startswith("FAILED ")]
    if trial.status == FAILED and failed:
        return f"noticed by {failed[0].split()[1]}"
    return "NOT NOTICED" if trial.status == PASSED else f"NOT TRIED: pytest says {trial.status}"


def table(trials: Sequence[Trial], skipped: Mapping[str, Guard]) -> str:
    """A line for each guard."""
    lines = [f"{'guard':<42} {'seconds':>7}  with the guard off"]
    lines += [f"{t.name:<42} {t.seconds:>7.1f}  {verdict(t)}" for t in trials]
    lines += [f"{name:<42} {'-':>7}  skipped: needs root" for name in skipped]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser("tests.faults.sabotage", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=sorted(GUARDS), help="again for several")
    parser.add_argument("--jobs", type=int, default=2, help="guards tried side by side")
    options = parser.parse_args(arguments)
    wanted = {name: GUARDS[name] for name in options.only or GUARDS}
    skipped = {name: guard for name, guard in wanted.items() if guard.root and os.geteuid()}
    able = {name: guard for name, guard in wanted.items() if name not in skipped}
    tests = sorted({test for guard in able.values() for test in guard.noticed_by.split()})
    print(f"{len(tests)} tests with all guards on", flush=True)
    whole = run(tests)
    if whole.status != PASSED:
        print(f"they must pass first, pytest says {whole.status}:\n{whole.talk[-TAIL:]}")
        return 1
    print(
        f"passed in {whole.seconds:.0f} s; {len(able)} guards off, one after the other", flush=True
    )
    with ThreadPoolExecutor(options.jobs) as threads:
        off = partial(_off, able)
        trials = list(threads.map(off, able))
    print(table(trials, skipped))
    missed = [trial for trial in trials if not verdict(trial).startswith("noticed")]
    for trial in missed:
        print(f"\n{trial.name}: {verdict(trial)}\n{trial.talk[-TAIL:]}")
    print(f"{len(trials) - len(missed)} of {len(trials)} guards are missed when they are off")
    return 1 if missed else 0


def _off(guards: Mapping[str, Guard], name: str) -> Trial:
    return run(guards[name].noticed_by.split(), name)


if __name__ == "__main__":
    sys.exit(main())
