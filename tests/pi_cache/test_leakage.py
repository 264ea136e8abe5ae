"""What belongs together and lies on two sides of a fold is found, named and counted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cache.errors import InvalidFolds, InvalidSpec, LeakageError
from pi_cache.sampling.folds import Fold, from_splits, leave_one_group_out, stratified
from pi_cache.sampling.leakage import Intervals, check_leakage, find_leaks, groupless
from pi_cache.sampling.samples import Arrays, content_digests, ids_digest
from pi_cache.sampling.scales import fitted_on
from tests.pi_cache.people import GROUPS, IDS, LABELS

PEOPLE = Arrays(IDS, labels=LABELS, groups=GROUPS)
NUMBERS = np.arange(24)


def fold_of(code: np.ndarray) -> Fold:
    return Fold(
        name="f", train=NUMBERS[code == 0], validation=NUMBERS[code == 1], test=NUMBERS[code == 2]
    )


def test_whole_groups_do_not_leak() -> None:
    folds = leave_one_group_out(PEOPLE)
    assert check_leakage(folds, PEOPLE) == ("groups",)
    assert check_leakage(folds[0], PEOPLE) == ("groups",)


def test_groups_on_both_sides_are_named_with_counts() -> None:
    code = np.where(NUMBERS % 4 == 0, 2, 0)  # S0 is tested
    code[[1, 5]] = 2  # and two samples of S1
    with pytest.raises(LeakageError, match="leakage") as raised:
        check_leakage(fold_of(code), PEOPLE)
    assert "fold f: train and test share 1 groups (S1), 4 and 2 samples" in str(raised.value)
    assert "divide by groups: leave_one_group_out" in str(raised.value)
    (leak,) = raised.value.leaks
    assert (leak.sides, leak.names, leak.counts) == (("train", "test"), ("S1",), (4, 2))


def test_all_pairs_of_sides_are_judged_unless_told_otherwise() -> None:
    code = np.zeros(24, int)
    code[3::4] = 2  # tests S3
    code[[0, 4]] = 1  # validates on S0, which trains too
    with pytest.raises(LeakageError, match=r"train and validation share 1 groups \(S0\), 4 and 2"):
        check_leakage(fold_of(code), PEOPLE)
    assert check_leakage(fold_of(code), PEOPLE, judged=("test",)) == ("groups",)
    code[3] = 1
    with pytest.raises(LeakageError, match=r"validation and test share 1 groups \(S3\), 1 and 5"):
        check_leakage(fold_of(code), PEOPLE, judged=("test",))


@pytest.mark.parametrize(("judged", "other"), [("train", "test"), ("validation", "test")])
def test_a_judged_side_is_compared_with_all_others(judged: str, other: str) -> None:
    sides = {"train": [1], "validation": [2], "test": [3], judged: [0], other: [4]}
    fold = Fold(name="f", **{side: np.array(numbers) for side, numbers in sides.items()})
    with pytest.raises(LeakageError, match=f"{judged} and {other} share 1 groups"):
        check_leakage(fold, PEOPLE, judged=(judged,))


@pytest.mark.parametrize("judged", [("tset",), (), "test"])
def test_judging_no_side_is_refused(judged: Any) -> None:
    fold = leave_one_group_out(PEOPLE)[0]
    with pytest.raises(InvalidSpec, match="judged must name some of train, validation, test"):
        check_leakage(fold, PEOPLE, judged=judged)


def test_no_folds_are_not_free_of_leakage() -> None:
    folds = iter(leave_one_group_out(PEOPLE))
    assert check_leakage(folds, PEOPLE) == ("groups",)
    with pytest.raises(InvalidFolds, match="there is no fold; an iterator gives its folds once"):
        check_leakage(folds, PEOPLE)


@given(st.lists(st.integers(0, 2), min_size=24, max_size=24))
def test_leaks_are_those_of_sets(codes: list[int]) -> None:
    fold = fold_of(np.array(codes))
    _, leaks = find_leaks(fold, PEOPLE)
    sides = {side: {GROUPS[i] for i in numbers} for side, numbers in fold.sides.items()}
    pairs = [("train", "validation"), ("train", "test"), ("validation", "test")]
    expected = {(a, b): sides[a] & sides[b] for a, b in pairs if sides[a] & sides[b]}
    assert {leak.sides: set(leak.names) for leak in leaks} == expected


def test_many_leaks_are_cut_short() -> None:
    with pytest.raises(LeakageError, match=r"\(S0, S1, S2, S3\), 18 and 6.*; and so 1 more times"):
        check_leakage(stratified(PEOPLE, 4, seed=0), PEOPLE)


def test_a_group_of_nobody_is_no_group() -> None:
    own = Arrays(IDS, groups=["", *GROUPS[1:4], *[""] * 20])
    fold = Fold(name="f", train=NUMBERS[:12], test=NUMBERS[12:])
    assert check_leakage(fold, own) == ("groups",)
    assert groupless([fold], own) == 21
    part = Fold(name="f", train=NUMBERS[:3], test=NUMBERS[20:])
    assert groupless([part], own) == 5 and groupless([part], Arrays(IDS)) == 7
    assert groupless([part], PEOPLE) == 0
    assert check_leakage(fold, Arrays(IDS)) == ()
    assert check_leakage(fold, Arrays(IDS, groups=[""] * 24)) == ()
    with pytest.raises(InvalidSpec, match="groups: 2 were given for 24 samples"):
        check_leakage(fold, own, groups=["a", "b"])


def test_equal_bytes_on_two_sides_are_found() -> None:
    inputs = np.arange(48).reshape(24, 2)
    inputs[20] = inputs[3]
    inputs[1] = inputs[2]  # copies on one side are no leak
    own = Arrays(IDS, {"inputs": inputs})
    fold = Fold(name="f", train=NUMBERS[:12], test=NUMBERS[12:])
    message = (
        r"share 1 samples with equal bytes \(피험자0/20\), 1 and 1 samples; take the copies out"
    )
    with pytest.raises(LeakageError, match=message):
        check_leakage(fold, own, contents=content_digests(own))


def windows(starts: Any, stops: Any, recordings: Any = None) -> Intervals:
    return Intervals(["r"] * len(starts) if recordings is None else recordings, starts, stops)


def test_overlapping_windows_are_found_by_recording() -> None:
    own = Arrays(["a", "b", "c", "d"])
    fold = Fold(name="f", train=np.array([0, 1]), test=np.array([2, 3]))
    touching = windows([0, 10, 20, 30], [10, 20, 30, 40])
    assert check_leakage(fold, own, intervals=touching) == ("overlapping windows",)
    overlapping = windows([0.0, 10.0, 19.5, 30.0], [10.0, 20.0, 29.5, 40.0])
    with pytest.raises(LeakageError, match=r"1 overlapping windows \(c\), 1 and 1 samples; divide"):
        check_leakage(fold, own, intervals=overlapping)
    apart = windows([0, 10, 19, 30], [10, 20, 29, 40], ["r", "r", "q", "q"])
    assert check_leakage(fold, own, intervals=apart) == ("overlapping windows",)
    with pytest.raises(InvalidSpec, match="window 1 stops at 10, not after its start"):
        check_leakage(fold, own, intervals=windows([0, 10, 0, 0], [1, 10, 1, 1]))
    with pytest.raises(InvalidSpec, match="3 recordings, 3 starts and 3 stops for 4 samples"):
        check_leakage(fold, own, intervals=windows([0, 1, 2], [1, 2, 3]))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12), st.integers(1, 5)), min_size=2))
def test_overlaps_are_those_of_every_pair(given_windows: list[tuple[int, int, int]]) -> None:
    recordings, starts, lengths = map(np.array, zip(*given_windows, strict=True))
    stops, count = starts + lengths, len(starts)
    own = Arrays([str(i) for i in range(count)])
    half = count // 2
    fold = Fold(name="f", train=np.arange(half), test=np.arange(half, count))
    intervals = Intervals([str(r) for r in recordings], starts, stops)
    _, leaks = find_leaks(fold, own, intervals=intervals)
    pairs = [
        (i, j)
        for i in fold.train
        for j in fold.test
        if recordings[i] == recordings[j] and starts[i] < stops[j] and starts[j] < stops[i]
    ]
    expected = [(len({i for i, _ in pairs}), len({j for _, j in pairs}))] if pairs else []
    assert [leak.counts for leak in leaks] == expected


def test_a_fold_of_other_samples_is_noticed() -> None:
    (fold, *_) = leave_one_group_out(PEOPLE)
    other = Arrays(IDS[::-1], groups=GROUPS[::-1])
    with pytest.raises(InvalidFolds, match="made of other samples, or of these in another order"):
        check_leakage(fold, other)
    with pytest.raises(InvalidFolds, match="made of other samples"):
        check_leakage(Fold(name="f", train=np.array([0]), test=np.array([24])), PEOPLE)


def test_ids_are_told_apart_wherever_they_end() -> None:
    assert ids_digest(Arrays(["a\0b", "c"])) != ids_digest(Arrays(["a", "b\0c"]))


def test_what_a_scale_was_fitted_on_is_not_tested() -> None:
    fitted = np.array([group == "S1" for group in GROUPS])
    folds = leave_one_group_out(PEOPLE)
    with pytest.raises(
        LeakageError, match=r"fold S1: scale and test share 1 parts of a fitted scal"
    ):
        check_leakage(folds, PEOPLE, fitted=fitted)
    _, leaks = find_leaks(folds, PEOPLE, fitted=fitted)
    assert [(leak.fold, leak.names, leak.counts) for leak in leaks] == [("S1", ("S1",), (6, 6))]
    fair = leave_one_group_out(PEOPLE, always_train=["S1"])
    assert check_leakage(fair, PEOPLE, fitted=fitted) == ("groups", "parts of a fitted scale")
    with pytest.raises(InvalidSpec, match="fitted must be 24 of True and False"):
        check_leakage(folds, PEOPLE, fitted=fitted[:3])


def test_a_store_tells_what_its_scale_was_fitted_on() -> None:
    """As the command line writes it: subjects, or a split."""

    def store(fit_on: str) -> Any:
        people = Arrays(IDS, labels=LABELS, groups=GROUPS, splits=["train", "test"] * 12)
        people.spec = SimpleNamespace(source=SimpleNamespace(options={"fit_on": fit_on}))
        return people

    mine = np.array(GROUPS)
    assert fitted_on(PEOPLE) is None
    assert fitted_on(store("none")) is None
    assert fitted_on(store("subjects:S0,S2")).tolist() == np.isin(mine, ["S0", "S2"]).tolist()
    assert fitted_on(store("split:train")).tolist() == [True, False] * 12
    joined = SimpleNamespace(
        members={k: SimpleNamespace(source=store(f"subjects:{k}")) for k in ("S0", "S3")},
        groups=mine.astype(object),
        splits=None,
    )
    assert fitted_on(joined).tolist() == np.isin(mine, ["S0", "S3"]).tolist()  # type: ignore[arg-type]
    with pytest.raises(LeakageError, match="fold S2: scale and test"):
        check_leakage(leave_one_group_out(PEOPLE), store("subjects:S2"))
    assert (
        len(check_leakage(from_splits(store("split:train")), Arrays(IDS), fitted=mine == "")) == 1
    )


def test_ids_of_windows_tell_what_overlaps() -> None:
    ids = [f"a.csv@{start:06d}+100@50Hz" for start in range(0, 600, 50)]
    alone = Arrays(ids, labels=np.arange(12) % 2)
    folds = stratified(alone, 3, seed=0)
    with pytest.raises(
        LeakageError, match=r"train and test share \d overlapping windows \(a\.csv@"
    ):
        check_leakage(folds, alone)  # nobody has a group
    halves = Fold(name="halves", train=np.arange(6), test=np.arange(7, 12))
    assert check_leakage(halves, alone) == ("overlapping windows",)
