"""What was told of lasts when the power goes; the rest is unfinished, and goes on."""

from __future__ import annotations

import pytest

from tests.faults.mounts import skip_without
from tests.faults.power_cut import LOOPS


@pytest.mark.parametrize("name", LOOPS)
def test_power_cuts(name: str) -> None:
    loop = LOOPS[name]
    skip_without(loop.lacking())
    ends = loop.rounds(1, loop.ci)
    assert {end.partition(":")[0] for end in ends} == {"after a word", "going on", "before a call"}
    assert any(end.endswith("unfinished") for end in ends), ends
    assert any(end.endswith("finished") and "un" not in end for end in ends), ends
