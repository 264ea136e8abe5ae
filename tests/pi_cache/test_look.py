"""The list of stores, the search by fields, and what differs between two stores."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pi_cache import catalogue, cli, files
from pi_cache.commands.table import table_lines, width
from pi_cache.comparison import compare
from pi_cache.errors import InvalidSpec, StoreNotFound
from pi_cache.keeping.pins import pin
from pi_cache.layout import Layout
from pi_cache.ledger import write_shard
from pi_cache.query import equal, full_name, parse_condition, select
from pi_cache.specs import StoreSpec
from tests.faults.struck import CALLS, installed
from tests.pi_cache.made import begin_store, make_columns, make_spec, make_store, shard_columns
from tests.pi_cache.test_documents import seal

SMALL = make_spec(5)
SIGMA = make_spec(5, sigma=0.1, weight="power:2")
TYPE = make_spec(5, dtype="float32")


def placed(spec: StoreSpec, location: str, **changes: Any) -> StoreSpec:
    return spec.replace(source=spec.source.replace(location=location, **changes))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three finished stores and one that was begun, with Korean names among their sources."""
    folder = tmp_path_factory.mktemp("캐시")
    make_store(folder, placed(SMALL, "/data/사진/걷기").replace(recipe="tgd-cifar10"))
    make_store(folder, placed(SIGMA, "/data/Photos", split="train", limit=5))
    make_store(folder, placed(TYPE, "/data/photos", options={"sample": "signal"}))
    build = begin_store(folder, make_spec(20))
    part = shard_columns(make_columns(build.spec), build.sample_range(0))
    write_shard(build, 0, part, seconds={"diagrams": 5400.0})
    pin(folder, SMALL.key, "표 2")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.cli, [str(a) for a in arguments])


def found(root: Path, *words: str) -> set[str]:
    result = run("find", *words, "--cache", root, "--json")
    assert result.exit_code == 0, result.output
    return {document["key"] for document in json.loads(result.stdout)}


def test_columns_line_up_with_korean_names() -> None:
    lines = table_lines([("a", "걷기", "1"), ("bbb", "sit", "100"), ("é", "e\u0301", "10")], {2})
    assert lines == ["a    걷기    1", "bbb  sit   100", "é    é      10"]
    assert [width(text) for text in ("걷기", "sit", "e\u0301", "")] == [4, 3, 1, 0]


def test_nothing_in_a_table_moves_the_cursor() -> None:
    assert table_lines([("a\x1b[31m\nb", "c")]) == ["a?[31m?b  c"]


def test_ls_shows_what_people_ask_for(root: Path) -> None:
    result = run("ls", "--cache", root)
    assert result.exit_code == 0 and result.stderr == f"4 stores in {root}\n"
    header, *lines = result.stdout.splitlines()
    assert header.split()[:5] == ["key", "state", "samples", "size", "age"]
    assert len({line.index("sublevel") for line in lines}) == 1
    by_key = {line[:12]: line for line in lines}
    assert "tgd-cifar10  arrays:/data/사진/걷기, pinned by" in by_key[SMALL.key[:12]]
    assert by_key[SMALL.key[:12]].endswith(": 표 2")
    assert by_key[SIGMA.key[:12]].endswith("arrays:/data/Photos, train, first 5")
    unfinished = by_key[make_spec(20).key[:12]]
    assert "unfinished" in unfinished and "90 core-min" in unfinished


def test_no_cache_is_told_from_an_empty_one(tmp_path: Path) -> None:
    assert run("ls", "--cache", tmp_path).stderr == f"0 stores in {tmp_path}\n"
    absent = run("ls", "--cache", tmp_path / "typo").stderr
    assert absent == f"0 stores in {tmp_path / 'typo'}: no such folder\n"


def test_ls_in_json(root: Path) -> None:
    documents = {d["key"]: d for d in json.loads(run("ls", "--cache", root, "--json").stdout)}
    small, begun = documents[SMALL.key], documents[make_spec(20).key]
    manifest = catalogue.read_manifest(root / "stores" / SMALL.key)
    assert (small["bytes"], small["recipe"]) == (manifest.size, "tgd-cifar10")
    assert small["pin"]["note"] == "표 2" and begun["pin"] is None
    assert 0 <= small["age"] < 3600
    assert begun["core_hours"] == 1.5 and begun["bytes"] > 1000
    assert [d["age"] for d in documents.values()] == sorted(d["age"] for d in documents.values())


def test_stores_that_cannot_be_read_are_listed_too(tmp_path: Path) -> None:
    path = make_store(tmp_path, SMALL)
    (path / "manifest.json").write_bytes(b"{}")
    (path / "spec.json").write_bytes(b"{}")
    (tmp_path / "stores" / ("0" * 64)).mkdir()
    result = run("ls", "--cache", tmp_path)
    assert result.exit_code == 0
    assert "damaged" in result.stdout and "unfinished" in result.stdout


def refusing(*closed: Path) -> files.System:
    """The system, for an account that may open none of these, nor see what lies in them."""

    class Refusing(files.System):
        def __getattribute__(self, name: str) -> Any:
            real = super().__getattribute__(name)
            return (lambda *given: self.call(name, real, given)) if name in CALLS else real

        def call(self, name: str, real: Any, given: tuple[Any, ...]) -> Any:
            place = given[0]
            if isinstance(place, Path) and (
                not closed_to.isdisjoint(place.parents) or (name == "open" and place in closed_to)
            ):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            return real(*given)

    closed_to = {*closed}

    return Refusing()


def test_a_store_of_somebody_else_hides_no_other(tmp_path: Path) -> None:
    """One of them lets nobody look in, and one pin is for its owner's eyes."""
    closed = make_store(tmp_path, SMALL)
    make_store(tmp_path, SIGMA)
    pin(tmp_path, SIGMA.key)
    with installed(refusing(closed, tmp_path / "pins" / f"{SIGMA.key}.json")):
        result = run("ls", "--cache", tmp_path)
        documents = json.loads(run("ls", "--cache", tmp_path, "--json").stdout)
        (entry,) = select(catalogue.stores(tmp_path), [parse_condition("state=unreadable")])
    assert result.exit_code == 0
    one, other = sorted(result.stdout.splitlines()[1:], key=lambda line: "finished" in line)
    assert one.split()[:5] == [SMALL.key[:12], "unreadable", "-", "-", "-"]
    assert other.endswith("pinned: (its file cannot be read; it holds all the same)")
    assert {d["key"]: d["bytes"] is None for d in documents} == {SMALL.key: True, SIGMA.key: False}
    assert entry.key == SMALL.key and "Permission denied" in entry.problem


def test_a_store_without_a_readable_spec_is_found_by_its_state(tmp_path: Path) -> None:
    path = make_store(tmp_path, SMALL)
    for name in ("manifest.json", "spec.json"):
        (path / name).write_bytes(b"{}")
    assert found(tmp_path, "state=damaged") == {SMALL.key}
    assert found(tmp_path, "sigma=0.05") == set()
    make_store(tmp_path, SIGMA)
    assert found(tmp_path, "state!=finished") == {SMALL.key}
    assert found(tmp_path, "sigma!=3") == {SIGMA.key}, "nobody knows the sigma of the other"
    assert run("ls", "--cache", tmp_path).stderr.startswith("2 stores in")


def test_show_says_who_pinned_it(root: Path) -> None:
    document = json.loads(run("show", SMALL.key[:9], "--cache", root, "--json").stdout)
    assert document["pin"].endswith(": 표 2") and document["recipe"] == "tgd-cifar10"
    shown = run("show", SIGMA.key[:9], "--cache", root).stdout
    assert "pin         -" in shown and "computed" in shown


WRONG: dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]] = {
    "location": lambda spec, manifest: spec["source"].update(location=5),
    "split": lambda spec, manifest: spec["source"].update(split=["train"]),
    "limit": lambda spec, manifest: spec["source"].update(limit={}),
    "options": lambda spec, manifest: spec["source"].update(options=7),
    "recipe": lambda spec, manifest: spec.update(recipe=True),
    "seconds": lambda spec, manifest: manifest.update(seconds={"diagrams": {}}),
    "created": lambda spec, manifest: manifest.update(created=5),
}
"""What is no part of the key, and is sealed as if it had been written so."""


@pytest.mark.parametrize("case", WRONG)
def test_a_document_of_wrong_types_is_a_damaged_store(case: str, tmp_path: Path) -> None:
    path = make_store(tmp_path, SMALL)
    make_store(tmp_path, SIGMA)
    document = json.loads((path / "manifest.json").read_bytes())
    WRONG[case](document["spec"], document)
    (path / "manifest.json").write_bytes(seal(document))
    listed = run("ls", "--cache", tmp_path)
    assert listed.exit_code == 0, listed.exception
    assert {line.split()[1] for line in listed.stdout.splitlines()[1:]} == {"damaged", "finished"}
    assert case in entry(tmp_path, SMALL).problem
    assert found(tmp_path, "state=finished") == {SIGMA.key}


def test_show_moves_no_cursor(tmp_path: Path) -> None:
    make_store(tmp_path, placed(SMALL, "/data/\x1b[2Jname"))
    shown = run("show", SMALL.key, "--cache", tmp_path).stdout
    assert "/data/?[2Jname" in shown and "\x1b" not in shown


FINISHED = {SMALL.key, SIGMA.key, TYPE.key}
FOUND: dict[str, tuple[str, set[str]]] = {
    "number": ("image.sigma=1e-1", {SIGMA.key}),
    "last word of a name": ("sigma=0.10", {SIGMA.key}),
    "opposite": ("sigma!=0.05", {SIGMA.key}),
    "interval": ("birth_range=0,1.0", FINISHED | {make_spec(20).key}),
    "dimensions": ("diagram.homology=[0]", FINISHED | {make_spec(20).key}),
    "part in any case": ("source.location~PHOTOS", {SIGMA.key, TYPE.key}),
    "Korean": ("location~걷기", {SMALL.key}),
    "recipe": ("recipe=tgd-cifar10", {SMALL.key}),
    "none": ("recipe=", {SIGMA.key, TYPE.key, make_spec(20).key}),
    "nothing": ("limit=none", {SMALL.key, TYPE.key, make_spec(20).key}),
    "truth": ("centre=False", FINISHED | {make_spec(20).key}),
    "weight": ("weight=power:2", {SIGMA.key}),
    "state": ("state=finished", FINISHED),
    "key": (f"key~{TYPE.key[3:20]}", {TYPE.key}),
    "option": ("source.options.sample=signal", {TYPE.key}),
    "nobody": ("image.pixels=7", set()),
}


@pytest.mark.parametrize("case", FOUND)
def test_find(root: Path, case: str) -> None:
    word, expected = FOUND[case]
    assert found(root, word) == expected


def test_every_condition_must_hold(root: Path) -> None:
    assert found(root, "location~photos", "dtype=float32") == {TYPE.key}
    assert run("find", "location~photos", "dtype=float32", "--cache", root).exit_code == 0


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("image.sigmma=1", "no store here has a field 'image.sigmma'; did you mean 'image.sigma'?"),
        ("precision=float64", "did you mean diagram.precision or image.precision?"),
        ("sigma", "'sigma' must be FIELD=VALUE, FIELD!=VALUE or FIELD~PART"),
    ],
)
def test_a_field_that_is_not_there_is_misuse(root: Path, word: str, message: str) -> None:
    result = run("find", word, "--cache", root)
    assert result.exit_code == 2 and message in " ".join(result.stderr.split())


def test_conditions_from_python(root: Path) -> None:
    entries = catalogue.stores(root)
    with pytest.raises(InvalidSpec, match=r"no store here has a field 'xyzzy'$"):
        select(entries, [parse_condition("xyzzy=1")])
    assert select([], [parse_condition("xyzzy=1")]) == []
    assert full_name("image.sigma", {"image.sigma"}) == "image.sigma"
    assert equal("a:b", "a:b") and not equal("power:2.0", "power:3") and not equal(0.5, "half")


def entry(root: Path, spec: StoreSpec) -> catalogue.Entry:
    return catalogue.read_entry(root / "stores" / spec.key)


VERDICTS = {
    "images": (SIGMA, "only the images differ: the diagrams are the same"),
    "type": (TYPE, "only the type of the stored images differs"),
    "itself": (SMALL, "they are the same"),
    "source": (make_spec(20), "only the source differs"),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_what_the_differences_amount_to(root: Path, case: str) -> None:
    other, verdict = VERDICTS[case]
    assert compare(entry(root, SMALL), entry(root, other)).verdict == verdict


def test_same_numbers_in_other_files(root: Path, tmp_path: Path) -> None:
    make_store(tmp_path, placed(SMALL, "/elsewhere"), Layout(shard_samples=4, chunk_samples=2))
    compared = compare(entry(root, SMALL), entry(tmp_path, SMALL))
    assert compared.fields == {}
    assert compared.beside["source.location"] == ("/data/사진/걷기", "/elsewhere")
    assert compared.beside["layout.shard_samples"] == (8, 4) and "digest" not in compared.beside
    assert compared.verdict == "the numbers are the same: what differs is layout, recipe, source"


def test_other_samples_of_one_kind(root: Path, tmp_path: Path) -> None:
    other = SMALL.replace(source=SMALL.source.replace(fingerprint="f" * 64))
    make_store(tmp_path, placed(other, "/data/사진/걷기").replace(recipe="tgd-cifar10"))
    compared = compare(entry(root, SMALL), entry(tmp_path, other))
    assert compared.verdict == "only the content of the samples differs"
    assert compared.beside == {}


def test_of_a_store_that_is_not_finished_only_the_spec_is_compared(
    root: Path, tmp_path: Path
) -> None:
    begin_store(tmp_path, SMALL)
    compared = compare(entry(root, SMALL), entry(tmp_path, SMALL))
    assert compared.verdict == "one key, and only the specs are compared: not both are finished"
    assert {name.partition(".")[0] for name in compared.beside} == {"source", "recipe"}
    same = compare(entry(tmp_path, SMALL), entry(tmp_path, SMALL))
    assert same.verdict == "the specs are the same"


def test_diff_prints_fields_with_both_values(root: Path) -> None:
    result = run("diff", SMALL.key[:9], SIGMA.key[:9], "--cache", root)
    assert result.exit_code == 1
    assert f"field            {SMALL.key[:12]}" in result.stdout
    assert "image.sigma      0.05" in result.stdout and "'power:2.0'" in result.stdout
    assert result.stderr == "only the images differ: the diagrams are the same\n"
    document = json.loads(run("diff", SMALL.key, SIGMA.key, "--json", "--cache", root).stdout)
    assert document["fields"]["image.sigma"] == [0.05, 0.1]
    assert document["beside"]["source.limit"] == [None, 5]
    same = run("diff", SMALL.key[:9], SMALL.key, "--cache", root)
    assert (same.exit_code, same.stdout) == (0, "")
    failed = run("diff", SMALL.key[:9], "0" * 12, "--cache", root)
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert isinstance(failed.exception, StoreNotFound)
    assert run("diff", SMALL.key).exit_code == 2


def test_a_store_without_a_spec_is_not_compared(root: Path, tmp_path: Path) -> None:
    (tmp_path / "stores" / SMALL.key).mkdir(parents=True)
    with pytest.raises(StoreNotFound, match="nothing to compare"):
        compare(entry(root, SMALL), entry(tmp_path, SMALL))


def test_the_age_of_a_store_that_is_not_finished_is_its_last_change(tmp_path: Path) -> None:
    build = begin_store(tmp_path, SMALL)
    for place in build.path.rglob("*"):
        os.utime(place, (0, time.time() - 9 * 86_400))
    (document,) = json.loads(run("ls", "--cache", tmp_path, "--json").stdout)
    assert document["age"] == pytest.approx(9 * 86_400, abs=600)
    shutil.rmtree(build.path / "data.zarr")
    assert run("ls", "--cache", tmp_path).exit_code == 0
