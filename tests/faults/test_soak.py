"""The soak runs what the tests run, counts it, and tells a broken promise with its seed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.faults import Loop, Violation, demand
from tests.faults.server import ROOT
from tests.faults.soak import LOOPS, main, soak, table


def even(seed: int) -> str:
    demand(seed % 2 == 0, "it is odd")
    return "even"


def test_a_violation_is_counted_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    tallies = soak({"even": Loop(even, ci=1, soak=5)}, 60.0, seed=10)
    assert (tallies["even"].rounds, tallies["even"].ends["even"]) == (5, 3)
    assert len(tallies["even"].broken) == 2
    assert "VIOLATION even seed 11: Violation: it is odd" in capsys.readouterr().out
    assert table(tallies, {"cut": "not root"}).splitlines()[1:] == [
        f"{'even':<16} {5:>9} {2:>10} {0:>8}",
        "    even 3",
        f"{'cut':<16} skipped: not root",
    ]


def test_a_round_is_repeated_by_its_seed() -> None:
    with pytest.raises(Violation, match="seed 7: Violation: it is odd"):
        Loop(even, ci=1, soak=5).rounds(7, 1)


def test_the_exit_status_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOOPS, "kill", Loop(even, ci=1, soak=5))
    assert main(["--only", "kill", "--seed", "1", "--rounds", "1"]) == 1
    assert main(["--only", "kill", "--seed", "2", "--rounds", "1"]) == 0


def test_the_command() -> None:
    line = [sys.executable, "-m", "tests.faults.soak", "--only", "kill", "--rounds", "2"]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "kill                     2          0" in done.stdout and not done.stderr
