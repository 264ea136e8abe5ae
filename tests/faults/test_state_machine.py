"""Any order of builds, kills, damage, reading, retries and removal keeps the promises."""

from __future__ import annotations

from tests.faults.state_machine import LOOPS


def test_any_order_of_everything() -> None:
    loop = LOOPS["state machine"]
    assert loop.rounds(1, loop.ci) == {"5 runs of 30 steps": 20}
