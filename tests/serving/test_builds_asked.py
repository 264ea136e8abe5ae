"""What a client may ask for: names and numbers, and nothing that reaches a file or a program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cache.errors import InvalidSpec
from pi_cache.serving.builds.asked import DEEPEST, LARGEST, Asked, parse_asked
from pi_cache.serving.builds.refusals import BuildRefused, without_paths
from pi_cache.serving.builds.settings import BuildSettings, Quotas
from pi_cache.serving.builds.sources import ListedSource, parse_listed, read_listed
from pi_cache.specs import DiagramSpec, GramianSpec, ImageSpec, SourceSpec, StoreSpec


def parse(document: Any) -> Asked:
    return parse_asked(json.dumps(document).encode())


def spec_of(**changes: Any) -> StoreSpec:
    source = {"kind": "digits", "sample": "image", "samples": 3, "channels": 1}
    return StoreSpec(source=SourceSpec(**{**source, "fingerprint": "a" * 64, **changes}))


def test_a_request_is_read() -> None:
    document = {"source": "d", "split": "train", "limit": 7, "recipe": "default", "image": {}}
    asked = parse(document)
    assert (asked.source, asked.split, asked.limit) == ("d", "train", 7)
    assert asked.computed == {"recipe": "default", "image": {}}
    assert asked.document == document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "an object of JSON"),
        ({}, "source is missing"),
        ({"source": 3}, "source must be text"),
        ({"source": ""}, "source must have 1 to"),
        ({"source": "d", "limit": True}, "limit must be a whole number"),
        ({"source": "d", "limit": 0}, "limit must be at least 1"),
        ({"source": "d", "limit": 2**60}, "limit must be at least 1"),
        ({"source": "d", "limit": 1.5}, "limit must be a whole number"),
        ({"source": "d", "source_options": {"labels": "/etc/passwd"}}, "administrator's"),
        ({"source": "d", "sample": "image"}, "administrator's"),
        ({"source": "d", "engine": "giotto"}, "belongs into diagram"),
        ({"source": "d", "cache": "/"}, "unknown member 'cache'"),
        ({"source": "d", "executor": "dask", "python": "/bin/sh"}, "'executor'.*'python'"),
        ({"source": "d", "diagram": {"program": "x"}}, r"unknown member 'diagram\.program'"),
        ({"source": "d", "diagram": []}, "diagram must be an object"),
        ({"source": "d", "gramian": {}, "image": {}}, "gramian goes with neither"),
        ({"source": {"kind": "digits"}}, "not the spec of a store"),
        ({"source": "d", "image": {"sigma": [1] * 17}}, r"image\.sigma must be a number, a word"),
        ({"source": "d", "image": {"sigma": {}}}, r"image\.sigma must be a number, a word"),
        ({"source": "d", "diagram": {"metric": "x" * 201}}, r"diagram\.metric must be a number"),
        ({"source": "d", "image": {"sigma": [{}] * 15_000}}, "at most 2,000 values"),
        ({"source": {"options": {"a": [{}] * 15_000}}}, "at most 2,000 values"),
        ({"source": "d", "image": {"sigma": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}}, "deeper"),
    ],
)
def test_what_is_no_request_is_refused_by_name(document: Any, message: str) -> None:
    with pytest.raises(BuildRefused, match=message) as refused:
        parse(document)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"source": "d", "source": "e"}', "'source' occurs twice"),
        (b'{"source": "d", "image": {"sigma": 1, "sigma": 2}}', "'sigma' occurs twice"),
        (b'{"source": "d", "image": {"sigma": NaN}}', "NaN is not a number"),
        (b'{"source": "d", "image": {"sigma": -Infinity}}', "-Infinity is not a number"),
        (b'{"source": "d", "image": {"sigma": 1e999}}', "too large a number"),
        (b'{"source": "d", "limit": ' + b"9" * 5000 + b"}", "too large a number"),
        (rb'{"source": "d", "recipe": "\ud800"}', "not JSON"),
        (rb'{"source": {"kind": "\udfff"}}', "not JSON"),
        (b"[" * 60_000, "brackets are too deep"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "deep"),
    ],
)
def test_bodies_of_no_single_meaning_are_refused(body: bytes, message: str) -> None:
    with pytest.raises(BuildRefused, match=message) as refused:
        parse_asked(body)
    assert refused.value.status == 400


def test_a_large_body_is_not_read() -> None:
    with pytest.raises(BuildRefused, match="at most 65536 bytes") as refused:
        parse_asked(b" " * (LARGEST + 1))
    assert refused.value.status == 413


def test_many_names_of_which_one_is_twice_are_found_fast() -> None:
    names = ",".join(f'"{k:x}":1' for k in range(6000))
    with pytest.raises(BuildRefused, match="'0' occurs twice"):
        parse_asked(f'{{{names},"0":2}}'.encode())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
WORDS = st.sampled_from(["source", "split", "limit", "recipe", "diagram", "image", "gramian", "x"])


@given(st.dictionaries(WORDS, VALUES) | st.binary(max_size=60))
def test_whatever_is_sent_is_a_request_or_refused(sent: Any) -> None:
    body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    try:
        asked = parse_asked(body)
    except BuildRefused as error:
        assert error.status in (400, 413, 422)
    else:
        assert isinstance(asked.source, str) and set(asked.computed) <= {
            "recipe", "diagram", "image", "gramian",
        }  # fmt: skip


def test_the_spec_of_a_store_asks_for_its_samples_and_its_key() -> None:
    spec = spec_of(split="train", limit=3, options={"variant": "flip", "labels": "/etc/passwd"})
    asked = parse(spec.to_document())
    assert (asked.kind, asked.fingerprint, asked.key) == ("digits", "a" * 64, spec.key)
    listed = parse_listed(["d=digits"])
    saved = asked.saved(asked.candidates(listed)[0])
    assert saved == {
        "source": "digits", "split": "train", "limit": 3, "source_options": {"variant": "flip"},
    }  # fmt: skip
    assert asked.computed["diagram"] == spec.diagram.to_dict()


def test_where_samples_of_a_spec_were_is_never_opened() -> None:
    asked = parse(spec_of(kind="array", location="/data/b.npy").to_document())
    listed = parse_listed(["a=array:/data/a.npy", "b=array:/data/b.npy", "c=digits"])
    assert [source.name for source in asked.candidates(listed)] == ["b", "a"]
    elsewhere = parse(spec_of(kind="array", location="/etc/shadow").to_document())
    texts = [elsewhere.saved(source)["source"] for source in elsewhere.candidates(listed)]
    assert texts == ["array:/data/a.npy", "array:/data/b.npy"]
    with pytest.raises(BuildRefused, match="'ucr' is offered here; sources: a, b, c") as refused:
        parse(spec_of(kind="ucr").to_document()).candidates(listed)
    assert refused.value.status == 422


def test_a_changed_spec_is_refused() -> None:
    document = spec_of().to_document()
    with pytest.raises(BuildRefused, match="not the spec of a store: spec says key"):
        parse({**document, "image": ImageSpec(sigma=0.5).to_dict()})


def test_only_the_split_that_is_offered() -> None:
    listed = {"d": ListedSource(name="d", text="digits", split="train")}
    assert parse({"source": "d"}).saved(listed["d"])["split"] == "train"
    with pytest.raises(BuildRefused, match="only the split train"):
        parse({"source": "d", "split": "test"}).candidates(listed)
    with pytest.raises(BuildRefused, match=r"no source '\.\./d' here; sources: d"):
        parse({"source": "../d"}).candidates(listed)


def test_every_field_of_a_spec_may_be_named() -> None:
    parse({"source": "d", "diagram": DiagramSpec().to_dict(), "image": ImageSpec().to_dict()})
    parse({"source": "d", "gramian": GramianSpec().to_dict()})
    assert DEEPEST >= 4


def test_sources_are_listed_by_words_and_by_a_file(tmp_path: Path) -> None:
    assert parse_listed(["c=cifar10:/data/c"])["c"].place == "/data/c"
    place = tmp_path / "sources.toml"
    place.write_text('[hands]\nsource = "array:/x.npy"\nsplit = "a"\noptions.maximum = 255\n')
    hands = read_listed(place)["hands"]
    assert (hands.kind, hands.split, dict(hands.options)) == ("array", "a", {"maximum": 255})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits"], "is not NAME=SOURCE"),
        (["../x=digits"], "needs a name"),
        (["x="], "must be text"),
        (["x=digits", "x=digits"], "two sources have the name x"),
    ],
)
def test_wrong_lists_of_sources_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        parse_listed(words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 3", "must be a table"),
        ('[x]\nsource = "digits"\npath = "/"', "unknown path"),
        ("[x", "Expected"),
        ("", ""),
    ],
)
def test_wrong_files_of_sources_are_refused(text: str, message: str, tmp_path: Path) -> None:
    place = tmp_path / "sources.toml"
    place.write_text(text)
    if not message:
        assert read_listed(place) == {}
        return
    with pytest.raises(InvalidSpec, match=f"sources.toml: .*{message}"):
        read_listed(place)


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InvalidSpec, match="executor slurm only"):
        BuildSettings(profile=Path("profile.toml"), executor="joblib")
    with pytest.raises(InvalidSpec, match="executor must be one of"):
        BuildSettings(executor="/bin/sh")
    with pytest.raises(InvalidSpec, match="open must be at least 1"):
        Quotas(open=0)


def test_settings_are_words_of_the_command() -> None:
    dask = BuildSettings(executor="dask", scheduler_file=Path("s.json"), time_limit=5.0)
    assert dask.words() == [
        "--executor", "dask", "--time-limit", "5.0", "--scheduler-file", "s.json",
    ]  # fmt: skip
    assert BuildSettings(executor="slurm", workers=2).words() == ["--workers", "2"]
    assert dask.words("time_limit")[2:] == ["--scheduler-file", "s.json"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("/data/pi/stores/ab: broken", "the cache/stores/ab: broken"),
        ("array:/data/x.npy has no samples", "array:mine has no samples"),
        ("no file /home/kim/secret/y.npy there", "no file .../y.npy there"),
        ("'/home/kim/y z': gone", "'.../y z': gone"),
        ("see /v1/requests or 3/4", "see .../requests or 3/4"),
    ],
)
def test_sentences_name_no_folder(said: str, told: str) -> None:
    assert without_paths(said, {"/data/pi": "the cache", "/data/x.npy": "mine"}) == told


def test_long_sentences_lose_their_middle() -> None:
    told = without_paths(f"begin{'x' * 10_000}end", {})
    assert told.startswith("begin") and told.endswith("end") and len(told) < 2_100
