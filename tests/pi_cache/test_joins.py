"""Stores that are joined match by id, or the error says what does not."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cache import Store, cli
from pi_cache.errors import InvalidSpec, MismatchedStores
from pi_cache.sampling import samples
from pi_cache.sampling.joins import Joined, open_together
from pi_cache.sampling.samples import Arrays, content_digests, positions, read_arrays
from pi_cache.specs import Status
from tests.pi_cache.people import GROUPS, IDS, LABELS, image_value, make_people

ORDER = np.random.default_rng(3).permutation(len(IDS))
STATUS = [Status.NAN if i in (2, 5) else Status.CRASH if i == 7 else Status.OK for i in range(24)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_people(tmp_path_factory.mktemp("행"), groups=GROUPS, status=STATUS)


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same samples in another order, with other images."""
    return make_people(
        tmp_path_factory.mktemp("열"),
        [IDS[i] for i in ORDER],
        labels=[LABELS[i] for i in ORDER],
        groups=[GROUPS[i] for i in ORDER],
        sigma=0.1,
    )


def values(ids: Any) -> np.ndarray:
    return np.array([image_value(name) for name in ids], np.float32)


def test_rows_of_one_position_are_one_sample(rows: Store, columns: Store) -> None:
    signals = np.arange(24.0)[ORDER]
    own = Arrays([IDS[i] for i in ORDER], {"signals": signals})
    joined = open_together({"rows": rows, "columns": columns, "own": own})
    ok = [i for i in range(24) if STATUS[i] == Status.OK]
    assert joined.ids.tolist() == [IDS[i] for i in ok]
    assert joined.labels is not None and joined.labels.tolist() == [LABELS[i] for i in ok]
    assert joined.groups is not None and joined.groups.tolist() == [GROUPS[i] for i in ok]
    assert joined.splits is None and joined.label_names == ("walk", "앉기", "run")
    for where in ([3, 0, 20, 3, -1], slice(2, 9), joined.labels == 1):
        images = joined.read("images", where)
        assert list(images) == ["rows", "columns"]
        for read in images.values():
            assert np.array_equal(read[:, 0, 0, 0], values(joined.ids[where]))
        assert np.array_equal(joined.member("own").read("signals", where), np.array(ok)[where])
    assert joined.left_out == {"rows": {"NAN": 2, "CRASH": 1}, "columns": {}, "own": {}}


def test_diagrams_follow_too(rows: Store, columns: Store) -> None:
    joined = open_together({"rows": rows, "columns": columns})
    points, offsets = joined.member("columns").diagrams([4, 1])
    where = columns.ids.tolist().index(joined.ids[1])
    assert np.array_equal(points[offsets[1, 0] : offsets[1, 1]], columns.diagram(where, 0))
    own = open_together({"own": Arrays(IDS)})
    with pytest.raises(InvalidSpec, match="own has arrays and no diagrams"):
        own.member("own").diagrams([0])


def test_the_order_is_that_of_the_first_or_another_or_given(rows: Store, columns: Store) -> None:
    both = {"rows": rows, "columns": columns}
    by_columns = open_together(both, order="columns")
    ok = {IDS[i] for i in range(24) if STATUS[i] == Status.OK}
    assert by_columns.ids.tolist() == [name for name in columns.ids if name in ok]
    given_order = sorted(IDS, reverse=True)
    listed = open_together(both, order=given_order)
    assert listed.ids.tolist() == [name for name in given_order if name in ok]
    assert list(listed.members) == ["rows", "columns"]
    with pytest.raises(MismatchedStores, match=r"order lacks 1 of the 24 samples of rows \(피"):
        open_together(both, order=given_order[1:])
    with pytest.raises(InvalidSpec, match="order must be one of rows, columns or ids"):
        open_together(both, order="colums")


def test_missing_ids_are_named_on_both_sides_with_the_specs(tmp_path: Path, rows: Store) -> None:
    other = make_people(tmp_path, [*IDS[9:], "새/1", "새/2"], labels=[0] * 17, limit=17)
    with pytest.raises(MismatchedStores, match="do not match") as raised:
        open_together({"rows": rows, "signals": other})
    text = str(raised.value)
    assert "signals lacks 9 of the 24 samples of rows (피험자0/00, 피험자1/01," in text
    assert "피험자0/04 and 4 more)" in text
    assert "rows lacks 2 of the 17 samples of signals (새/1, 새/2)" in text
    assert f"source.fingerprint is {rows.spec.source.fingerprint[:12]}... in rows" in text
    assert "source.limit is None in rows and 17 in signals" in text
    assert "only_common: the 15 samples that all of them hold" in text
    assert any("source.samples is 24" in problem for problem in raised.value.problems)


def test_only_common_counts_what_it_leaves_out(tmp_path: Path, rows: Store) -> None:
    other = make_people(tmp_path, [*IDS[4:], "새/1"], labels=[*LABELS[4:], 0])
    joined = open_together({"rows": rows, "other": other}, only_common=True)
    assert len(joined) == 18
    assert joined.left_out == {
        "rows": {"NAN": 1, "CRASH": 1, "no partner": 4},
        "other": {"no partner": 1},
    }
    assert "other leaves out no partner 1" in repr(joined)
    stranger = Arrays(["x", "y"])
    with pytest.raises(MismatchedStores, match=r"own lacks 24 of the 24 .* options$"):
        open_together({"rows": rows, "own": stranger}, only_common=True)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"labels": [*LABELS[:-1], 0]}, r"1 samples have another label in own .*3/23; .*0 and 2\)"),
        ({"groups": ["S9", *GROUPS[1:]]}, r"another group in own .*0/00; .*S9 and S0"),
        ({"label_names": ("run", "walk", "sit")}, "label names are run, walk, sit in own and walk"),
    ],
)
def test_facts_that_disagree_are_named(rows: Store, facts: dict[str, Any], message: str) -> None:
    own = Arrays(IDS, labels=facts.pop("labels", LABELS), **facts)
    with pytest.raises(MismatchedStores, match=message):
        open_together({"rows": rows, "own": own})


def test_facts_of_the_second_and_the_third_are_compared(rows: Store) -> None:
    first, second = (
        Arrays(IDS, splits=[""] * 24),
        Arrays(IDS, splits=["train"] * 24, labels=[-1] * 24),
    )
    third = Arrays(IDS, splits=["train"] * 23 + ["test"])
    with pytest.raises(MismatchedStores, match="another split in third"):
        open_together({"first": first, "second": second, "third": third})
    joined = open_together({"first": first, "second": second, "rows": rows})
    assert joined.labels is not None and joined.labels[0] == LABELS[0]
    assert joined.splits is not None and set(joined.splits) == {"train"}


def test_samples_that_are_not_ok_may_be_an_error(rows: Store, columns: Store) -> None:
    both = {"rows": rows, "columns": columns}
    with pytest.raises(MismatchedStores, match=r"3 samples are not OK in rows \(NAN 2, CRASH 1: "):
        open_together(both, not_ok="raise")
    with pytest.raises(InvalidSpec, match="not_ok must be leave-out or raise, got 'keep'"):
        open_together(both, not_ok="keep")
    bad = Arrays(IDS, status=[Status.NAN] * 24)
    with pytest.raises(MismatchedStores, match=r"24 samples are not OK in bad \(NAN 24"):
        open_together({"rows": rows, "bad": bad})


def test_arrays_say_which_counts_do_not_match() -> None:
    with pytest.raises(InvalidSpec, match="labels has 2 rows for 24 ids; signals has 23 rows"):
        Arrays(IDS, {"signals": np.zeros((23, 5))}, labels=[0, 1])
    with pytest.raises(InvalidSpec, match="unique, twice or more: a, c;"):
        Arrays(["a", "b", "a", "c", "c"])
    with pytest.raises(InvalidSpec, match=r"ids must be a list of strings, got int64 .*with str"):
        Arrays([1, 2])
    with pytest.raises(InvalidSpec, match="labels must be a list of whole numbers, got float64"):
        Arrays(IDS, labels=np.zeros(24))
    with pytest.raises(InvalidSpec, match=r"status: no sample can have the codes 256"):
        Arrays(IDS, status=np.full(24, 256))
    with pytest.raises(InvalidSpec, match=r"status must be a list of codes .* got bool"):
        Arrays(IDS, status=[True] * 24)
    with pytest.raises(InvalidSpec, match=r"ids: UTF-8 cannot hold 'a\.p\\udcff'; rename"):
        Arrays(["a.p\udcffng"])
    with pytest.raises(InvalidSpec, match="no array 'image' here; there are images"):
        Arrays(IDS, {"images": np.zeros(24)}).read("image", [0])


def test_mapped_files_stay_on_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "signals.npy", np.arange(48).reshape(24, 2))
    mapped = np.load(tmp_path / "signals.npy", mmap_mode="r", allow_pickle=False)
    own = Arrays(np.array(IDS), {"signals": mapped})
    assert np.shares_memory(own.arrays["signals"], mapped)
    read = own.read("signals", [5, -1])
    assert read.tolist() == [[10, 11], [46, 47]] and not np.shares_memory(read, mapped)


def test_a_join_travels_to_another_process(rows: Store, columns: Store) -> None:
    joined: Joined = pickle.loads(pickle.dumps(open_together({"r": rows, "c": columns})))
    assert np.array_equal(
        joined.read("images", [6])["c"][0, 0, 0], [values(joined.ids[6:7])[0]] * 6
    )


def test_misuse_is_refused(rows: Store) -> None:
    with pytest.raises(InvalidSpec, match="must name at least one"):
        open_together({})
    joined = open_together({"rows": rows})
    with pytest.raises(InvalidSpec, match="both is a join itself; name the stores"):
        open_together({"rows": rows, "both": joined})  # type: ignore[dict-item]
    with pytest.raises(InvalidSpec, match="no store 'row' in this join of rows"):
        joined.member("row")
    with pytest.raises(InvalidSpec, match="no store of this join has 'image'"):
        joined.read("image", [0])


@settings(max_examples=40)
@given(st.data())
def test_positions_are_those_of_a_dict(data: st.DataObject) -> None:
    names = st.lists(st.text(max_size=3), unique=True, max_size=12)
    among, wanted = data.draw(names), data.draw(names)
    expected = [among.index(name) if name in among else -1 for name in wanted]
    as_ids = [np.array([*ids, None], object)[:-1] for ids in (wanted, among)]
    assert positions(*as_ids).tolist() == expected
    with pytest.MonkeyPatch.context() as patch:  # ids of one hash are told apart
        patch.setattr(samples, "_hashes", lambda ids: np.zeros(len(ids), np.int64))
        assert positions(*as_ids).tolist() == expected


def test_content_digests_tell_equal_bytes(rows: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = rows.read_all("inputs").copy()
    inputs[20] = inputs[3]
    monkeypatch.setattr(samples, "BLOCK", 3 * inputs[0].nbytes)
    digests = content_digests(Arrays(IDS, {"inputs": inputs}))
    assert digests[20] == digests[3] and len(set(digests.tolist())) == 23
    assert np.array_equal(np.delete(content_digests(rows), 20), np.delete(digests, 20))
    assert content_digests(Arrays([])).shape == (0,)


# The command


def run(*words: object) -> Result:
    return CliRunner().invoke(cli.cli, [str(word) for word in words])


def test_the_command_says_that_stores_match(rows: Store, columns: Store) -> None:
    result = run("join", rows.path, columns.path)
    assert result.exit_code == 0
    assert f"{rows.key[:12]}       24      21  NAN 2, CRASH 1  -" in result.stdout
    assert "image.sigma 0.05 / 0.1" in result.stdout and "21 samples, OK in all" in result.stderr
    document = json.loads(run("join", rows.path, columns.path, "--json").stdout)
    assert document["match"] and document["samples"] == 21
    assert document["stores"][rows.key[:12]] == {"samples": 24, "left_out": {"NAN": 2, "CRASH": 1}}
    assert document["differences"][columns.key[:12]]["image.sigma"] == [0.05, 0.1]


def test_the_command_fails_where_they_do_not(rows: Store, tmp_path: Path) -> None:
    table = tmp_path / "signals.csv"
    table.write_text("\ufeffid, label\n" + "".join(f"{i}, 1\n" for i in IDS[1:]), encoding="utf-8")
    assert read_arrays(table).ids.tolist() == IDS[1:]
    result = run("join", rows.path, table)
    assert result.exit_code == 1 and isinstance(result.exception, MismatchedStores)
    assert "signals.csv lacks 1 of the 24 samples" in str(result.exception)
    assert "give rows of your own the ids that the stores have" in str(result.exception)
    assert "15 samples have another label in signals.csv" in str(result.exception)
    result = run("join", rows.path, table, "--json")
    assert result.exit_code == 1 and json.loads(result.stdout)["match"] is False
    assert run("join", rows.path).exit_code == 2
    assert run("join", rows.path, tmp_path / "no.csv").exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\na\n", "with id among them; it is 'name'"),
        ("id,id\na,b\n", "name each column once"),
        ("", "with id among them"),
        ("id,group\n\n\nb,c\na\n", "line 5 has 1 values for 2 names"),
        ("id,label\na,1.5\n", "labels must be whole numbers"),
        ('id\n"a\n', "not a CSV file"),
        ("id\na\na\n", "twice or more: a"),
    ],
)
def test_tables_that_are_none_are_refused(text: str, message: str, tmp_path: Path) -> None:
    table = tmp_path / "ids.csv"
    table.write_text(text)
    with pytest.raises(InvalidSpec, match=message):
        read_arrays(table)
