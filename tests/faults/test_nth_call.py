"""Whatever call fails: a typed error or success, nothing is harmed, and the build goes on."""

from __future__ import annotations

from collections import Counter

from tests.faults.nth_call import FINAL, WORKS, plan, strike

OTHERS = tuple(name for name in WORKS if name != "build")
SHARE = 47
"""Of the calls that are no build, every forty-seventh is struck here; all of them in the soak."""


def struck(rounds: list[tuple[str, int, str]]) -> Counter[str]:
    """How the rounds ended; all broken promises are told together."""
    ends, broken = Counter[str](), list[str]()
    for name, nth, fault in rounds:
        try:
            ends[strike(name, nth, fault)] += 1
        except Exception as error:
            broken.append(f"{fault} in call {nth} of {name}: {error!r}")
    assert not broken, "\n".join(broken)
    return ends


def test_every_call_of_a_build() -> None:
    rounds = plan(("build",))
    ends = struck(rounds)
    assert {fault for _, _, fault in rounds} > set(FINAL)
    assert ends["build: typed error"] > len(rounds) / 4
    assert ends["build: success"] > len(rounds) / 4


def test_calls_of_all_else() -> None:
    ends = struck(plan(OTHERS)[::SHARE])
    assert {end.partition(":")[0] for end in ends} == set(OTHERS)
