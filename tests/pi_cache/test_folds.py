"""Laws of folds: each sample is tested once, classes are shared out, a seed draws by id."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import assume, given
from hypothesis import strategies as st

from pi_cache import Store, cli
from pi_cache.errors import AlreadyPublished, InvalidFolds, InvalidSpec, LeakageError
from pi_cache.sampling.foldfiles import from_file, to_file
from pi_cache.sampling.folds import (
    Fold,
    from_splits,
    holdout,
    leave_groups_out,
    leave_one_group_out,
    stratified,
    with_validation,
)
from pi_cache.sampling.samples import Arrays
from pi_cache.specs import Status
from tests.pi_cache.people import GROUPS, IDS, LABELS, make_people

ROOT = Path(__file__).resolve().parents[2]
SPLITS = ["test" if i % 4 == 3 else "val" if i % 4 == 2 else "train" for i in range(24)]
STATUS = [Status.NAN if i in (2, 5) else Status.OK for i in range(24)]
OK = [i for i in range(24) if i not in (2, 5)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = tmp_path_factory.mktemp("폴드")
    return make_people(root, groups=GROUPS, splits=SPLITS, status=STATUS)


@st.composite
def people(draw: st.DrawFn) -> Arrays:
    """Samples with ids, labels, groups and status; some classes and groups may be small."""
    count = draw(st.integers(2, 40))

    def some(top: int) -> list[int]:
        return draw(st.lists(st.integers(0, top), min_size=count, max_size=count))

    return Arrays(
        [f"샘플 {i}" for i in range(count)],
        labels=some(draw(st.integers(0, 3))),
        groups=[f"S{g}" for g in some(draw(st.integers(1, 9)))],
        status=[0 if code else 2 for code in some(9)],
    )


def permuted(people: Arrays, order: np.ndarray) -> Arrays:
    assert people.labels is not None and people.groups is not None
    return Arrays(
        people.ids[order],
        labels=people.labels[order],
        groups=people.groups[order],
        status=people.status[order],
    )


def by_id(folds: Sequence[Fold], people: Arrays) -> list[Any]:
    return [
        (fold.name, {side: set(people.ids[n]) for side, n in fold.sides.items()}) for fold in folds
    ]


def check_laws(folds: Sequence[Fold], people: Arrays) -> None:
    """Every usable sample is tested once, and trains in all the other folds."""
    ok = np.flatnonzero(people.status == Status.OK)
    tested = np.concatenate([fold.test for fold in folds])
    assert np.array_equal(np.sort(tested), ok)
    for fold in folds:
        assert len(fold.test) and len(fold.train)
        assert np.array_equal(np.sort(np.concatenate([fold.train, fold.test])), ok)
        assert not len(np.intersect1d(fold.train, fold.test))


def counts(labels: Any, numbers: np.ndarray) -> np.ndarray:
    return np.bincount(labels[numbers], minlength=4)


WAYS = {
    "stratified": lambda p, seed: stratified(p, 3, seed=seed),
    "grouped": lambda p, seed: stratified(p, 3, seed=seed, groups=p.groups),
    "one group": lambda p, seed: leave_one_group_out(p),
    "two groups": lambda p, seed: leave_groups_out(p, 2, seed=seed),
    "holdout": lambda p, seed: [holdout(p, 0.3, seed=seed)],
    "grouped holdout": lambda p, seed: [holdout(p, 0.3, seed=seed, groups=p.groups)],
}


@pytest.mark.parametrize("way", list(WAYS))
@given(people(), st.integers(0, 3), st.randoms(use_true_random=False))
def test_a_seed_draws_the_same_by_id_in_any_order(
    way: str, people: Arrays, seed: int, random: Any
) -> None:
    try:
        folds = WAYS[way](people, seed)
    except InvalidFolds:
        assume(False)
    order = np.array(random.sample(range(len(people)), len(people)))
    other = permuted(people, order)
    assert by_id(WAYS[way](other, seed), other) == by_id(folds, people)
    if "holdout" not in way:
        check_laws(folds, people)
    if "group" in way:
        assert people.groups is not None
        for fold in folds:
            sides = [set(people.groups[n]) for n in fold.sides.values()]
            assert sum(map(len, sides)) == len(set.union(*sides))


@given(people(), st.integers(2, 5), st.integers(0, 3))
def test_every_class_is_shared_out_within_one_sample(people: Arrays, k: int, seed: int) -> None:
    ok = np.flatnonzero(people.status == Status.OK)
    totals = counts(people.labels, ok)
    if not len(ok) or totals[totals > 0].min() < k:
        with pytest.raises(InvalidFolds, match=r"fewer have|have no label"):
            stratified(people, k, seed=seed)
        return
    folds = stratified(people, k, seed=seed)
    check_laws(folds, people)
    for fold in folds:
        assert (abs(counts(people.labels, fold.test) - totals / k) < 1).all()
        assert abs(len(fold.test) - len(ok) / k) < 1


@given(people(), st.floats(0.01, 0.99), st.integers(0, 3))
def test_a_holdout_has_its_share_of_every_class(people: Arrays, share: float, seed: int) -> None:
    ok = np.flatnonzero(people.status == Status.OK)
    try:
        fold = holdout(people, share, seed=seed)
    except InvalidFolds:
        assert share * len(ok) <= 4.5, "half a sample, and the last one of 4 classes"
        return
    totals = counts(people.labels, ok)
    held = counts(people.labels, fold.validation)
    assert (abs(held - share * totals) <= 1).all()
    assert (held[totals > 0] < totals[totals > 0]).all()
    assert np.array_equal(np.sort(np.concatenate([fold.train, fold.validation])), ok)


def test_what_a_seed_draws_never_changes(store: Store) -> None:
    """Written down once: a fold of a published result must be the same in ten years."""
    assert stratified(store, 3, seed=7)[0].test.tolist() == [0, 4, 9, 16, 17, 18, 19, 23]
    assert leave_groups_out(store, 2, seed=7).names == ("S0 + S3", "S1 + S2")
    assert holdout(store, 0.25, seed=7).validation.tolist() == [8, 10, 11, 15, 16, 18]


def test_samples_are_dealt_in_the_order_of_their_hash(store: Store) -> None:
    """What the documents say, in its plainest form."""

    def place(name: str) -> str:
        return hashlib.sha256(f"7\0{name}".encode()).hexdigest()

    dealt = sorted(OK, key=lambda i: (LABELS[i], place(IDS[i])))
    for k, fold in enumerate(stratified(store, 3, seed=7)):
        assert fold.test.tolist() == sorted(dealt[k::3])


def test_groups_are_balanced_by_class() -> None:
    """Twelve groups of one class each, of 3 classes: every fold has one group of every class."""
    labels = np.repeat(np.arange(12) % 3, 5)
    groups = np.repeat([f"g{i}" for i in range(12)], 5)
    own = Arrays([str(i) for i in range(60)], labels=labels, groups=groups)
    for fold in stratified(own, 4, seed=1, groups=groups):
        assert counts(labels, fold.test).tolist() == [5, 5, 5, 0]
    fold = holdout(own, 0.25, seed=1, groups=groups)
    assert counts(labels, fold.validation).tolist() == [5, 5, 5, 0]


def test_a_holdout_of_few_large_groups_takes_one() -> None:
    groups = ["a"] * 9 + ["b"] * 8
    own = Arrays([str(i) for i in range(17)], labels=[0] * 17, groups=groups)
    assert holdout(own, 0.05, seed=0, groups=groups).validation.tolist() == list(range(9, 17))


def test_leave_one_group_out(store: Store) -> None:
    folds = leave_one_group_out(store)
    assert folds.names == ("S0", "S1", "S2", "S3") and len(folds) == 4
    assert folds[1].test.tolist() == [i for i in OK if i % 4 == 1]
    assert folds[-1].name == "S3" and [f.name for f in folds[1:3]] == ["S1", "S2"]
    with pytest.raises(IndexError, match="out of range"):
        folds[4]
    by_class = leave_one_group_out(store, groups=[str(label) for label in LABELS])
    assert by_class.names == ("0", "1", "2")


def test_among_divides_some_samples_only(store: Store) -> None:
    train = store.splits == "train"
    for folds in (
        stratified(store, 2, seed=0, among=train),
        leave_one_group_out(store, among=train),
    ):
        tested = np.concatenate([fold.test for fold in folds])
        assert sorted(tested) == [i for i in OK if SPLITS[i] == "train"]
    with pytest.raises(InvalidSpec, match="a mask needs 24 values, got 3"):
        stratified(store, 2, seed=0, among=[True, False, True])
    with pytest.raises(InvalidSpec, match=r"must lie in 0\.\.23"):
        stratified(store, 2, seed=0, among=[24])
    with pytest.raises(InvalidSpec, match="numbers or a mask, got float64"):
        stratified(store, 2, seed=0, among=[0.5])


def test_splits_are_a_fold(store: Store) -> None:
    fold = from_splits(store)
    assert fold.train.tolist() == [i for i in OK if SPLITS[i] == "train"]
    assert fold.validation.tolist() == [i for i in OK if SPLITS[i] == "val"]
    assert fold.test.tolist() == [i for i in OK if SPLITS[i] == "test"]
    other = from_splits(store, roles={"train": "train", "val": "test", "test": "test"})
    assert not len(other.validation)
    with pytest.raises(InvalidFolds, match="split val is neither of train, test; say with roles"):
        from_splits(store, roles={"train": "train", "test": "test"})
    with pytest.raises(InvalidFolds, match="do not divide 11 samples"):
        from_splits(store, among=store.splits == "train")
    with pytest.raises(InvalidFolds, match=r"1 samples have no split \(피험자0/00\)"):
        from_splits(store, splits=["", *SPLITS[1:]])


def test_a_validation_part_comes_from_the_training_part(store: Store) -> None:
    for fold in leave_one_group_out(store):
        whole = with_validation(fold, store, 0.3, seed=0, groups=store.groups)
        assert np.array_equal(whole.test, fold.test)
        assert sorted([*whole.train, *whole.validation]) == fold.train.tolist()
        assert store.groups is not None
        assert not set(store.groups[whole.train]) & set(store.groups[whole.validation])
        with pytest.raises(InvalidFolds, match="has a validation part already"):
            with_validation(whole, store, 0.3, seed=0)
        with pytest.raises(InvalidFolds, match="made of other samples"):
            with_validation(fold, Arrays(IDS[::-1], labels=LABELS), 0.3, seed=0)


def test_a_fold_is_a_checked_value() -> None:
    fold = Fold(name="a", train=np.array([3, 1]), test=np.array([2], np.uint8))
    assert fold.train.tolist() == [1, 3] and fold.test.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        fold.train[0] = 5
    assert fold == Fold(name="a", train=np.array([1, 3]), test=np.array([2]))
    assert fold != Fold(name="a", train=np.array([1, 3]), validation=np.array([2]))
    assert repr(fold) == "<Fold a: train 2, validation 0, test 1>"
    with pytest.raises(InvalidFolds, match="used once, twice are 1"):
        Fold(name="a", train=np.array([1, 3]), test=np.array([1]))
    with pytest.raises(InvalidFolds, match="has the sample number -1"):
        Fold(name="a", train=np.array([-1]))
    with pytest.raises(InvalidFolds, match="got bool of shape"):
        Fold(name="a", train=np.ones(3, bool))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda s: stratified(s, 9, seed=0),
            r"9 folds need .*fewer have walk \(8\), 앉기 \(8\), r",
        ),
        (lambda s: stratified(s, 1, seed=0), "folds must be at least 2, got 1"),
        (lambda s: stratified(s, 2, seed=1.5), "seed must be a whole number, got 1.5"),
        (lambda s: leave_groups_out(s, 2, seed="1"), "seed must be a whole number, got '1'"),
        (lambda s: stratified(s, 5, seed=0, groups=s.groups), "at least 5 groups are .* are 4"),
        (lambda s: leave_one_group_out(s, groups=["a"] * 24), r"are 1 \(a\)"),
        (lambda s: leave_one_group_out(s, groups=["a"] * 4), "4 groups were given for 24"),
        (lambda s: leave_one_group_out(s, groups=["", *GROUPS[1:]]), r"1 samples have no group \("),
        (lambda s: leave_groups_out(s, 0, seed=0), "must be at least 1, got 0"),
        (lambda s: leave_groups_out(s, 4, seed=0), "at least 5 groups are needed, there are 4"),
        (lambda s: holdout(s, 1.0, seed=0), "between 0 and 1, got 1.0"),
        (lambda s: holdout(s, 0.001, seed=0), "leaves no sample on one side"),
        (lambda s: stratified(Arrays(IDS), 2, seed=0), "have no labels"),
        (lambda s: stratified(Arrays(IDS, labels=[-1] * 24), 2, seed=0), "24 of 24 .*no label"),
        (lambda s: leave_one_group_out(Arrays(IDS)), "have no groups; give groups"),
        (lambda s: from_splits(Arrays(IDS)), "have no splits"),
    ],
)
def test_impossible_folds_are_refused(store: Store, make: Any, message: str) -> None:
    own = Arrays(IDS, labels=LABELS, groups=GROUPS, label_names=store.label_names)
    with pytest.raises(InvalidFolds, match=message):
        make(own)


# Files


def test_folds_come_back_from_a_file_in_any_order(store: Store, tmp_path: Path) -> None:
    folds = [with_validation(fold, store, 0.2, seed=0) for fold in stratified(store, 3, seed=1)]
    path = tmp_path / "새 폴더" / "folds.json"
    to_file(path, folds, store)
    assert from_file(path, store) == folds
    assert list(path.parent.iterdir()) == [path]
    to_file(path, folds, store)
    with pytest.raises(AlreadyPublished, match="holds other folds, and is not written over"):
        to_file(path, folds[:2], store)
    other = permuted(Arrays(IDS, labels=LABELS, groups=GROUPS), np.arange(24)[::-1])
    with pytest.raises(InvalidFolds, match=r"2 ids of the samples are not named \(피험자1/05"):
        from_file(path, other)
    again = from_file(path, other, partial=True)
    assert by_id(again, other) == by_id(folds, Arrays(IDS))
    to_file(tmp_path / "all.json", stratified(other, 3, seed=0), other)
    tested = np.concatenate([fold.test for fold in from_file(tmp_path / "all.json", store)])
    assert sorted(tested) == OK, "what a file names and is not OK is in no fold"
    with pytest.raises(InvalidFolds, match="'1' was made of other samples"):
        to_file(tmp_path / "other.json", folds, other)
    with pytest.raises(InvalidFolds, match="two folds are called '1'"):
        to_file(tmp_path / "other.json", [folds[0], folds[0]], store)
    with pytest.raises(InvalidFolds, match=r"written to \.json, got '\.csv'"):
        to_file(tmp_path / "other.csv", folds, store)
    with pytest.raises(InvalidFolds, match="there is no fold"):
        to_file(tmp_path / "other.json", [], store)
    assert not (tmp_path / "other.json").exists()


def test_folds_and_splits_of_a_table(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "folds.csv"
    path.write_text("id,fold\n" + "".join(f"{n},{i % 2}\n" for i, n in enumerate(IDS)))
    folds = from_file(path, store)
    assert [fold.name for fold in folds] == ["0", "1"]
    assert folds[1].test.tolist() == [i for i in OK if i % 2]
    path.write_text("id,split\n" + "".join(f"{n},{s}\n" for n, s in zip(IDS, SPLITS, strict=True)))
    assert from_file(path, store) == [from_splits(store)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("f.csv", "id,fold\n{0},a\n{1},b\n", r"20 ids of the samples are not named .*`partial`"),
        (
            "f.csv",
            "id,fold\n{all}x,c\n{0},c\n",
            r"1 ids are named twice \(피험자0/00\); 1 ids are n",
        ),
        ("f.csv", "id,part\n{all}", "one column `fold` or `split`"),
        ("f.csv", "id,fold\n{0},a\n{1},a\n", "two folds or more; the folds are a"),
        ("f.json", "{{", "not a readable JSON"),
        ("f.json", "[]", "at least one fold"),
        ("f.json", '{{"a": {{}}, "a": {{}}}}', "a name occurs twice among a, a"),
        ("f.json", '{{"a": {{"trian": []}}}}', "expected some of train, .* got trian"),
        ("f.json", '{{"a": {{"train": "x"}}}}', "train must be a list of ids"),
        ("f.json", '{{"a": {{"train": ["{0}"], "test": ["{0}"]}}}}', r"named twice \(피"),
        ("f.json", '{{"a": {{"train": ["{0}"], "test": []}}}}', "usable samples in train and bes"),
        ("f.txt", "", r"read from \.csv or \.json, got '\.txt'"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    store: Store, tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = tmp_path / name
    every = "".join(f"{one},{i % 2}\n" for i, one in enumerate(IDS))
    path.write_text(text.format(*IDS, all=every))
    partial = "not named" not in message
    with pytest.raises(InvalidFolds, match=message):
        from_file(path, store, partial=partial)


def test_ids_of_a_file_must_be_strings(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    path.write_text('{"a": {"train": [1], "test": [2]}}')
    with pytest.raises(InvalidSpec, match="must be a list of strings"):
        from_file(path, store)
    with pytest.raises(FileNotFoundError, match="no"):
        from_file(tmp_path / "no.json", store)


# The command


def run(*words: object) -> Result:
    return CliRunner().invoke(cli.cli, ["folds", *(str(word) for word in words)])


def test_the_command_prints_counts_and_what_is_missing(store: Store) -> None:
    result = run(store.path, "--leave-one-group-out", "--validation", "0.3")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "fold",
        "train",
        "validation",
        "test",
        "classes",
        "missing",
        "shared",
    ]
    assert len(lines) == 5 and re.match(r"S0 +\d+ +\d+ +6  -  +-$", lines[1])
    assert result.stderr == "left out, not OK: NAN 2\n"
    document = json.loads(run(store.path, "--leave-groups-out", 2, "--json").stdout)
    assert sum(fold["test"] for fold in document["folds"]) == len(OK)
    assert [fold["leaks"] for fold in document["folds"]] == [[], []]
    assert document["checked"] == ["groups"] and document["left_out"] == {"NAN": 2}


def test_the_command_fails_on_leakage_and_writes_nothing(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "folds.json"
    leaking = run(store.path, "--stratified", 3, "--out", out, "--json")
    assert leaking.exit_code == 1 and isinstance(leaking.exception, LeakageError)
    assert "groups=store.groups" in str(leaking.exception)
    assert json.loads(leaking.stdout)["folds"][0]["leaks"][0]["names"] == ["S0", "S1", "S2", "S3"]
    assert not out.exists()
    whole = run(store.path, "--stratified", 3, "--groups", "--inputs", "--out", out)
    assert whole.exit_code == 0 and f"folds written to {out}" in whole.stderr
    again = run(store.path, "--file", out, "--json")
    assert again.exit_code == 0 and len(json.loads(again.stdout)["folds"]) == 3


def test_the_command_without_groups_says_so(tmp_path: Path) -> None:
    plain = make_people(tmp_path, status=[0] * 23 + [1])
    result = run(plain.path, "--stratified", 2, "--split", "train")
    assert "no split 'train' in this store; it has none" in str(result.exception)
    result = run(plain.path, "--stratified", 2)
    assert result.exit_code == 0 and "cannot be told" in result.stderr
    result = run(plain.path, "--stratified", 2, "--inputs")
    assert result.exit_code == 0 and "cannot be told" in result.stderr
    result = run(plain.path, "--stratified", 2, "--groups")
    assert "have no groups to keep whole" in str(result.exception)


def test_the_command_counts_samples_without_a_group(tmp_path: Path) -> None:
    """Of those that are divided."""
    some = make_people(tmp_path, groups=["", "", *IDS[2:]], status=[1, *[0] * 23])
    told = run(some.path, "--stratified", 2)
    assert told.exit_code == 0
    assert "1 samples have no group: whether theirs lie on two sides cannot be told" in told.stderr
    document = json.loads(run(some.path, "--stratified", 2, "--json").stdout)
    assert document["without_group"] == 1 and document["checked"] == ["groups"]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--splits", "--stratified", "3"),
        ("--splits", "--groups"),
        ("--splits", "--partial"),
        ("--splits", "--out", "folds.csv"),
        ("--file", "no.csv"),
        ("--stratified", "1"),
        ("--splits", "--validation", "1"),
    ],
)
def test_misuse_of_the_command(store: Store, words: tuple[str, ...]) -> None:
    assert run(store.path, *words).exit_code == 2


def test_one_command_divides_one_split(store: Store) -> None:
    words = ("--stratified", 2, "--split", "train", "--groups", "--json")
    document = json.loads(run(store.path, *words).stdout)
    assert sum(fold["test"] for fold in document["folds"]) == 11
    result = run(store.path, "--splits", "--split", "train")
    assert "do not divide 11 samples" in str(result.exception)
    result = run(store.path, "--leave-one-group-out", "--split", "tset")
    assert "no split 'tset' in this store; it has test, train, val" in str(result.exception)


# The document


def test_the_document_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Python runs from top to bottom, on two stores of the same people; so do its commands."""
    cache = tmp_path / "cache"
    rows = make_people(cache, groups=GROUPS, status=STATUS)
    columns = make_people(cache, groups=GROUPS, status=STATUS, sigma=0.1)
    monkeypatch.setenv("PI_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    np.save("signals.npy", np.zeros((24, 5)))
    Path("signals.txt").write_text("\n".join(IDS), encoding="utf-8")
    table = "id,fold\n" + "".join(f"{name},{i % 2}\n" for i, name in enumerate(IDS))
    Path("folds.csv").write_text(table, encoding="utf-8")
    Path("signals.csv").write_text("id\n" + "\n".join(IDS), encoding="utf-8")
    text = (ROOT / "docs" / "joins-and-folds.md").read_text(encoding="utf-8")
    text = text.replace("3f2a9c", rows.key[:8]).replace("91bc04", columns.key[:8])
    blocks = re.findall(r"```(python|sh)\n(.*?)```", text, re.DOTALL)
    assert {kind for kind, _ in blocks} == {"python", "sh"}
    names: dict[str, Any] = {}
    for kind, block in blocks:
        if kind == "python":
            exec(block, names)
            continue
        for line in filter(None, block.splitlines()):
            _, *words = shlex.split(line.partition("#")[0])
            result = CliRunner().invoke(cli.cli, words)
            assert result.exit_code == 0, (line, result.output, result.exception)


def test_groups_that_always_train_are_tested_by_no_fold() -> None:
    people = Arrays(IDS, labels=LABELS, groups=GROUPS)
    whole = leave_one_group_out(people)
    kept = leave_one_group_out(people, always_train=["S1", "S3"])
    assert kept.names == ("S0", "S2")
    assert [list(fold.test) for fold in kept] == [list(whole[k].test) for k in (0, 2)]
    assert [list(fold.train) for fold in kept] == [list(whole[k].train) for k in (0, 2)]
    pairs = leave_groups_out(people, 3, seed=0, always_train=["S1"])
    assert [len(fold.test) for fold in pairs] == [18]
    assert set(np.array(GROUPS)[pairs[0].train]) == {"S1"}
    for wrong in (["S9"], "S1"):
        with pytest.raises(
            InvalidFolds, match="always_train must be groups of these samples, got S"
        ):
            leave_one_group_out(people, always_train=wrong)
    with pytest.raises(InvalidFolds, match="at least 1 groups are needed, there are 0"):
        leave_one_group_out(people, always_train=["S0", "S1", "S2", "S3"])


def test_the_command_tests_no_group_that_always_trains(store: Store) -> None:
    result = run(store.path, "--leave-one-group-out", "--always-train", "S1, S3", "--json")
    assert result.exit_code == 0, result.output
    folds = json.loads(result.stdout)["folds"]
    assert [fold["name"] for fold in folds] == ["S0", "S2"]
    assert {fold["train"] + fold["test"] for fold in folds} == {
        len(leave_one_group_out(store).part)
    }
    wrong = run(store.path, "--stratified", "2", "--always-train", "S1")
    assert wrong.exit_code == 2
    assert "--always-train goes with --leave-one-group-out" in wrong.stderr
    assert run(store.path, "--leave-groups-out", "1", "--always-train", "S9").exit_code == 1
