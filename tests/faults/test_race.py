"""Builders that race and are killed end with one valid store."""

from __future__ import annotations

from tests.faults.race import LOOPS


def test_racing_builders_end_with_one_store() -> None:
    loop = LOOPS["race"]
    ends = loop.rounds(12, loop.ci)
    assert sum(ends.values()) == loop.ci
    assert {end.partition(":")[0] for end in ends} == {"ledger", "ledger and vandal", "pipeline"}
    assert sum(count for end, count in ends.items() if "2 killed" in end) > loop.ci / 2
