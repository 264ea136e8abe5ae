"""Any damage of any file is found, by `verify` and by who reads, before it is delivered."""

from __future__ import annotations

from tests.faults.bit_flips import CHANGES, LOOPS, OTHERS


def test_damage_of_every_kind_in_every_kind_of_file() -> None:
    loop = LOOPS["bit flips"]
    ends = loop.rounds(1, loop.ci)
    assert set(ends) == {*CHANGES, *OTHERS}
    assert min(ends.values()) > loop.ci / 20
