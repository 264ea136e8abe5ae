"""Specs of imported images: what is not known is in no document, and no key changes for others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cache.errors import InvalidSpec
from pi_cache.layout import imported_columns
from pi_cache.specs import (
    COMPUTED,
    STATEABLE,
    UNKNOWN,
    DiagramSpec,
    ImageSpec,
    OriginSpec,
    StoreSpec,
    differences,
    known_fields,
)
from tests.pi_cache.made import make_spec

FILTERED = {name for name in STATEABLE if name.startswith("image.")} | {"diagram.filtration"}
"""Fields that can be stated without another one."""


def imported(*given: str, audit: str = "none", **image: Any) -> StoreSpec:
    origin = OriginSpec(format="npy", given=given, audit=audit)
    return make_spec(**image).replace(origin=origin)


def test_a_computed_store_says_nothing_of_an_origin() -> None:
    """Keys of before this field: they are those of every store that was ever built."""
    spec = make_spec()
    assert "origin" not in spec.to_dict()
    assert spec.key == "5fe2461590e9dda4043b5d3b05cc654cf0804631864728b2ff93a5af81c82775"
    assert spec.diagram_key == "0f8503fe98b393d1ef2d6ea8d148fb32066d53a344ec90a75a76ec7a24d0a39d"
    assert known_fields(spec)["origin"] == COMPUTED
    assert UNKNOWN not in known_fields(spec).values()


@given(st.sets(st.sampled_from(sorted(FILTERED))), st.sampled_from(("none", "passed", "failed")))
def test_what_is_known_comes_back(names: set[str], audit: str) -> None:
    spec = imported(*names, audit=audit, sigma=0.25)
    document = spec.to_document()
    assert StoreSpec.from_document(document) == spec
    written = {f"{part}.{name}" for part in ("diagram", "image") for name in document[part]}
    assert written == {*names, "image.pixels", "image.dtype"}
    known = known_fields(spec)
    assert {name for name in STATEABLE if known[name] != UNKNOWN} == written


def test_keys_tell_what_is_known_apart() -> None:
    computed, wide = make_spec(), imported("image.sigma", sigma=0.25)
    keys = [
        computed.key,
        computed.diagram_key,
        imported().key,
        wide.key,
        imported("image.sigma").key,
        imported("image.sigma", audit="passed").key,
        imported(audit="passed").diagram_key,
    ]
    assert len(set(keys)) == len(keys)
    assert imported(sigma=0.25).key == imported().key, "an unknown sigma is no part of the key"
    assert imported(sigma=0.25).image == ImageSpec(pixels=6), "nor of the spec"


def test_differences_count_the_unknown() -> None:
    found = differences(make_spec(), imported("image.sigma", sigma=0.25))
    assert found["image.sigma"] == (0.05, 0.25)
    assert found["image.weight"] == ("linear", UNKNOWN)
    assert found["origin"] == (COMPUTED, "imported")
    both = differences(imported("image.sigma"), imported("image.sigma", audit="passed"))
    assert both == {"origin.audit": ("none", "passed")}


def test_an_origin_is_checked() -> None:
    with pytest.raises(InvalidSpec, match=r"given: unknown field .* did you mean 'image.sigma'"):
        OriginSpec(format="npy", given=("image.sigmma",))
    with pytest.raises(InvalidSpec, match="audit must be one of none, passed, failed"):
        OriginSpec(format="npy", audit="done")
    with pytest.raises(InvalidSpec, match="kind must be one of imported"):
        OriginSpec(kind="found", format="npy")


def test_only_known_axes_are_written() -> None:
    images, status = imported_columns(imported(), 3)
    assert images.attributes == {} and status.name == "status"
    known = imported("image.birth_range", "image.grid", birth_range=(0, 2))
    assert list(imported_columns(known, 3)[0].attributes["lower_cell_edges"]) == ["birth"]


def test_what_holds_for_computed_stores_is_not_asked_of_others() -> None:
    """The source is the files that were read, whatever the diagrams came from."""
    spec = make_spec().replace(diagram=DiagramSpec(filtration="cubical"), origin=OriginSpec(
        format="npy", given=("diagram.filtration",)))  # fmt: skip
    assert spec.diagram.filtration == "cubical" and spec.source.sample == "signal"
