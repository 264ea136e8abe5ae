"""Killed at any instant, nothing that was recorded is lost and nothing partial looks finished."""

from __future__ import annotations

from tests.faults.kill import LOOPS, WORKS


def test_kill_at_any_instant() -> None:
    loop = LOOPS["kill"]
    ends = loop.rounds(1, loop.ci)
    killed = {end: count for end, count in ends.items() if "survived" not in end}
    assert sum(ends.values()) == loop.ci
    assert sum(killed.values()) >= 300, f"too few were killed on the way: {ends}"
    assert {end.partition(":")[0] for end in killed} == WORKS.keys()
