"""Ids of windows: what they say comes back, and windows that overlap are found by them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cache.errors import InvalidSpec, LeakageError
from pi_cache.sampling.folds import Fold
from pi_cache.sampling.leakage import check_leakage
from pi_cache.sampling.samples import Arrays
from pi_cache.sampling.windows import Window, intervals_of

rates = st.floats(1e-3, 1e6).map(lambda rate: float(f"{rate:.6g}"))


def window(**changes: object) -> Window:
    usual = {"recording": "a.txt", "start": 22, "length": 100, "recorded": 50.0} | changes
    same = {"samples": usual["length"], "rate": usual["recorded"]}
    return Window(**(same | usual))  # type: ignore[arg-type]


def test_an_id_reads_as_it_is_meant() -> None:
    assert str(window()) == "a.txt@000022+100@50Hz"
    thinned = window(length=298, recorded=100.0, samples=100, rate=100 / 3)
    assert str(thinned) == "a.txt@000022+298@100Hz=100@33.3333Hz"
    assert Window.parse(str(thinned)).rate == 33.3333
    assert thinned.stop == 320


@given(
    recording=st.text(min_size=1),
    start=st.integers(0, 10**9),
    length=st.integers(1, 10**6),
    recorded=rates,
    samples=st.integers(1, 10**6),
    rate=rates,
)
def test_what_is_written_is_parsed(**facts: object) -> None:
    made = Window(**facts)  # type: ignore[arg-type]
    assert Window.parse(str(made)) == made


@pytest.mark.parametrize("text", ["", "a.txt", "a.txt@22", "@1+2@3Hz", "a@1+2@3", "a@-1+2@3Hz"])
def test_other_ids_name_no_window(text: str) -> None:
    with pytest.raises(InvalidSpec, match="names no window, expected RECORDING@START"):
        Window.parse(text)


def test_windows_that_overlap_across_a_fold_are_found() -> None:
    ids = [str(window(recording=name, start=start)) for name in "ab" for start in (0, 50, 100)]
    samples = Arrays(ids, labels=np.zeros(6, np.int64))
    apart = Fold(name="apart", train=np.array([0, 1, 2]), test=np.array([3, 4, 5]))
    intervals = intervals_of(samples)
    assert check_leakage(apart, samples, intervals=intervals) == ("overlapping windows",)
    touching = Fold(name="touching", train=np.array([0]), test=np.array([2]))
    check_leakage(touching, samples, intervals=intervals)
    shared = Fold(name="shared", train=np.array([0, 2]), test=np.array([1]))
    with pytest.raises(LeakageError, match=r"share 1 overlapping windows \(a@000050"):
        check_leakage(shared, samples, intervals=intervals)
