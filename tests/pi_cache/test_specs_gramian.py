"""The spec of Gramian angular fields, and how a store of them differs from one of other images."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cache import specs
from pi_cache.axes import noted_edges, stored_edges, time_note
from pi_cache.errors import InvalidSpec
from pi_cache.layout import gramian_columns
from pi_cache.specs import (
    DTYPES,
    FORMS,
    LARGEST_SIZE,
    RANGES,
    ROUNDINGS,
    GramianSpec,
    OriginSpec,
    SourceSpec,
    StoreSpec,
    differences,
    known_fields,
)
from tests.pi_cache.made import make_spec

SOURCE = SourceSpec(kind="array", sample="signal", samples=3, channels=2, fingerprint="a" * 64)
SPEC = StoreSpec(source=SOURCE, gramian=GramianSpec(size=64))

intervals = st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)).filter(lambda t: t[0] < t[1])
gramians = st.builds(
    GramianSpec,
    form=st.sampled_from(FORMS),
    size=st.none() | st.integers(1, LARGEST_SIZE),
    range=st.sampled_from(RANGES) | intervals,
    dtype=st.sampled_from(DTYPES),
    rounding=st.sampled_from(ROUNDINGS),
)


@given(gramian=gramians)
def test_a_spec_is_what_its_document_says(gramian: GramianSpec) -> None:
    document = json.loads(json.dumps(gramian.to_dict()))
    assert GramianSpec.from_dict(document) == gramian
    if gramian.size is not None:
        store = StoreSpec(source=SOURCE, gramian=gramian)
        assert StoreSpec.from_document(json.loads(store.to_bytes())) == store


def test_two_ways_of_saying_the_same_have_one_key() -> None:
    same = GramianSpec(size=64.0, range=[-1, 0], rounding="truncate")  # type: ignore[arg-type]
    assert same == GramianSpec(size=64, range=(-1.0, -0.0))
    whole = GramianSpec().sized(64)
    assert whole == GramianSpec(size=64) == GramianSpec(range="segments").sized(64)
    assert GramianSpec(size=8, range="segments").sized(64).range == "segments"


def test_the_key_stays() -> None:
    """Stores that were built are found by it."""
    assert SPEC.key == "193a7763c3a118a119506fcb67782f7c486fe1f58e02503feedae7f56bad8748"
    assert SPEC.diagram_key == SPEC.key, "it shares no diagrams with anybody"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"form": "sum"}, "form must be one of summation, difference, got 'sum'"),
        ({"size": 0}, r"size must lie in 1\.\.1024, got 0"),
        ({"size": 1025}, r"size must lie in 1\.\.1024, got 1025"),
        ({"size": 2.5}, "size must be a whole number"),
        ({"range": "windows"}, "range must be one of window, segments, LO,HI.*mean 'window'"),
        ({"range": "LO,HI"}, "give two numbers"),
        ({"range": (1, 1)}, "LO < HI"),
        ({"range": (1, 2, 3)}, "two numbers LO,HI"),
        ({"range": (-1.7e308, 1.7e308)}, "too wide"),
        ({"reduction": "median"}, "reduction must be one of mean"),
        ({"dtype": "int8"}, "dtype must be one of"),
        ({"dtype": "uint8", "rounding": "up"}, "rounding must be one of"),
    ],
)
def test_what_is_wrong_is_said(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        GramianSpec(**given)


@pytest.mark.parametrize(
    ("size", "length", "message"),
    [
        (None, None, "different lengths, so a --size must be named"),
        (None, 1025, "at most 1024 a side; name a --size"),
        (65, 64, "size must be at most the 64 samples of a window, got 65"),
    ],
)
def test_a_size_that_does_not_fit_is_refused(
    size: int | None, length: int | None, message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message):
        GramianSpec(size=size).sized(length)
    assert GramianSpec(size=65).sized(None).size == 65


def test_a_store_needs_signals_and_a_size() -> None:
    images = SOURCE.replace(sample="image")
    with pytest.raises(InvalidSpec, match=r"are of signals, not of images$"):
        StoreSpec(source=images, gramian=GramianSpec())
    with pytest.raises(InvalidSpec, match=r"gramian\.size must be settled"):
        StoreSpec(source=SOURCE, gramian=GramianSpec())
    with pytest.raises(InvalidSpec, match="cannot be imported"):
        SPEC.replace(origin=OriginSpec(format="npy"))
    with pytest.raises(InvalidSpec, match="size is not settled"):
        _ = GramianSpec().pixels


def test_documents_say_one_thing_or_the_other() -> None:
    document = SPEC.to_dict()
    assert not {"diagram", "image", "origin"} & document.keys()
    with pytest.raises(InvalidSpec, match="image says nothing of a Gramian angular field"):
        StoreSpec.from_dict({**document, "image": {}})
    with pytest.raises(InvalidSpec, match="StoreSpec: image is missing"):
        StoreSpec.from_dict({"source": SOURCE.to_dict(), "diagram": {}})
    for name in ("gramian", "image"):
        kept = {n: v for n, v in {**make_spec().to_dict(), name: 5}.items()
                if name != "gramian" or n not in ("image", "diagram")}  # fmt: skip
        with pytest.raises(InvalidSpec, match=f"{name} must be names and values, got 5"):
            StoreSpec.from_dict(kept)
    assert "gramian" not in make_spec().to_dict()


def test_fields_are_known_of_what_a_store_holds() -> None:
    mine, theirs = known_fields(SPEC), known_fields(make_spec())
    assert mine["representation"] == specs.GRAMIAN_FIELDS
    assert theirs["representation"] == specs.PERSISTENCE_IMAGES
    assert mine["gramian.size"] == 64
    assert not any(name.startswith(("diagram", "image")) for name in mine)
    assert not any(name.startswith("gramian") for name in theirs)


def test_differences_are_of_one_representation() -> None:
    other = SPEC.replace(gramian=GramianSpec(size=32, form="difference"))
    assert differences(SPEC, other).keys() == {"gramian.form", "gramian.size"}
    images = StoreSpec(source=SOURCE)
    expected = (specs.GRAMIAN_FIELDS, specs.PERSISTENCE_IMAGES)
    assert differences(SPEC, images) == {"representation": expected}


def test_axes_are_noted() -> None:
    note = time_note(4, 2.0, "second")
    np.testing.assert_array_equal(noted_edges(note, "other_time"), [0, 0.5, 1, 1.5])
    for axis in ("birth", "row"):
        with pytest.raises(InvalidSpec, match="time or other_time"):
            noted_edges(note, axis)
    assert stored_edges(make_spec(), "birth").shape == (6,)
    with pytest.raises(InvalidSpec, match="no axis of birth"):
        stored_edges(SPEC, "birth")


def test_bytes_say_what_they_stand_for() -> None:
    columns = gramian_columns(GramianSpec(size=4, dtype="uint8"), 2, extent=4, unit="sample")
    assert [column.name for column in columns] == ["images", "status"]
    assert columns[0].attributes["byte_range"] == [-1, 1]
    floats = gramian_columns(GramianSpec(size=4), 2, extent=4, unit="sample")
    assert "byte_range" not in floats[0].attributes
