"""Guards can be switched off, and that is noticed; all of them are tried by `make soak`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.faults.guards import GUARDS
from tests.faults.sabotage import ROOT, run, table, verdict
from tests.faults.switch import Guard, switch_off

SINGLE = "tests/faults/test_single.py"


@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_is_where_its_switch_looks_for_it(name: str) -> None:
    guard = GUARDS[name]
    found = importlib.util.find_spec(guard.module)
    assert found is not None and found.origin is not None
    source = Path(found.origin).read_text(encoding="utf-8")
    compile(guard.edited(source), found.origin, "exec")
    for test in guard.noticed_by.split():
        assert (ROOT / test.partition("::")[0]).exists(), test


def test_a_guard_that_has_changed_is_an_error() -> None:
    guard = Guard("pi_cache.files", "twice", "", SINGLE)
    with pytest.raises(LookupError, match=r"pi_cache.files has 'twice' 2 times"):
        guard.edited("twice, twice")


def test_it_can_be_too_late() -> None:
    with pytest.raises(RuntimeError, match=r"tests.faults.switch is imported already"):
        switch_off(Guard("tests.faults.switch", "", "", SINGLE))


@pytest.mark.parametrize("name", ["the record comes last", "all is hashed before the manifest"])
def test_who_is_off_is_missed(name: str) -> None:
    assert verdict(run([SINGLE], name)).startswith(f"noticed by {SINGLE}::test_")


def test_who_is_not_missed_is_told() -> None:
    trial = run([f"{SINGLE}::test_a_name_that_occurs_twice_is_damage"], "the record comes last")
    assert verdict(trial) == "NOT NOTICED"
    assert "NOT NOTICED" in table([trial], {"fsync of files": GUARDS["fsync of files"]})
