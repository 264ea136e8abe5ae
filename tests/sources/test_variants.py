"""Variants of sources: transformed samples with the ids, labels and splits of the plain ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from pi_cache.errors import InvalidSpec, UnknownSource
from pi_cache.specs import ImageSpec
from pipeline.sources import open_source, read_samples
from pipeline.sources.arrays import from_arrays
from pipeline.sources.base import Source
from pipeline.sources.variants import VARIANTS, variant_of, variants_of
from pipeline.stored import source_of
from tests.shared import shared_data

EVERY = [(sample, name) for sample, variants in VARIANTS.items() for name in variants]


def plain_source(sample: str) -> Source:
    rng = np.random.default_rng(5)
    if sample == "image":
        array = rng.integers(0, 256, (10, 5, 8, 3)).astype(np.uint8)
    else:
        array = rng.normal(size=(10, 30, 2))
    splits = ["train"] * 6 + ["test"] * 4
    return from_arrays(array, sample=sample, labels=np.arange(10) % 3, splits=splits)


def arrays_of(source: Source) -> np.ndarray:
    return np.stack([np.asarray(source.reader.read(i)) for i in range(len(source))])


@pytest.mark.parametrize(("sample", "name"), EVERY)
def test_samples_are_transformed_and_named_as_before(sample: str, name: str) -> None:
    plain = plain_source(sample)
    variant = variant_of(plain, name)
    expected = np.stack([VARIANTS[sample][name](each) for each in arrays_of(plain)])
    np.testing.assert_array_equal(arrays_of(variant), expected)
    together = variant.reader.read_together()
    np.testing.assert_array_equal(together, expected)
    assert together is not None and together.flags.c_contiguous
    assert together.shape[1:] == variant.shape and together.dtype == variant.dtype
    assert not read_samples(variant).status.any()
    assert list(variant.ids) == list(plain.ids)
    assert variant.labels.tolist() == plain.labels.tolist()


@pytest.mark.parametrize(("sample", "name"), EVERY)
def test_parts_and_copies_are_those_of_the_variant(sample: str, name: str) -> None:
    variant = variant_of(plain_source(sample), name)
    whole = arrays_of(variant)
    part = pickle.loads(pickle.dumps(variant[2:9]))[1:4]
    np.testing.assert_array_equal(arrays_of(part), whole[3:6])
    assert list(part.ids) == list(variant.ids[3:6])
    np.testing.assert_array_equal(arrays_of(variant.part("test")), whole[6:])


def test_fingerprints_follow_from_the_plain_one() -> None:
    plain = plain_source("image")
    specs = [plain.spec(), *(variant_of(plain, name).spec() for name in VARIANTS["image"])]
    assert len({spec.fingerprint for spec in specs}) == 8
    for name, spec in zip(VARIANTS["image"], specs[1:], strict=True):
        assert spec == specs[0].varied(name)
        assert spec.options == {"variant": name}
    assert variant_of(plain[:4], "flip").spec() == variant_of(plain, "flip")[:4].spec()


def test_a_variant_is_opened_by_its_option() -> None:
    plain, variant = open_source("digits"), open_source("digits", variant="flip")
    np.testing.assert_array_equal(arrays_of(variant[:9]), arrays_of(plain[:9])[:, :, ::-1])
    again = source_of(variant.spec())
    assert again.spec() == variant.spec() == plain.spec().varied("flip")


def test_signals_of_any_length_are_reversed() -> None:
    folder = shared_data("ucr_uea") / "PickupGestureWiimoteZ"
    plain = open_source(f"ucr:{folder}", split="train")
    variant = open_source(f"ucr:{folder}", split="train", variant="reverse")
    assert variant.reader.read_together() is None
    for i in range(3):
        np.testing.assert_array_equal(variant.reader.read(i), plain.reader.read(i)[::-1])
    assert variant.split == "train" and len(variant) == len(plain)


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        (plain_source("image"), "reverse", "no variant of image samples; there are flip, flip-ver"),
        (plain_source("signal"), "flip", "no variant of signal samples; there are reverse, neg"),
        (from_arrays(np.ones((3, 9, 2)), sample="cloud"), "flip", "cloud samples; there are none"),
        (
            from_arrays(np.arange(40, dtype=np.int16).reshape(2, 20), sample="signal"),
            "negate",
            "has int16 values, which cannot change sign; give it as floats",
        ),
        (variant_of(plain_source("image"), "flip"), "flip", "variant already, flip; name"),
    ],
)
def test_what_has_no_such_variant_is_refused(source: Source, name: str, message: str) -> None:
    with pytest.raises(UnknownSource, match=message):
        variant_of(source, name)


def test_two_stores_must_have_one_scale() -> None:
    plain = plain_source("image")
    assert [each.variant for each in variants_of(plain, ["flip"], ImageSpec())] == ["flip"]
    with pytest.raises(InvalidSpec, match="each store would be divided by its own maximum"):
        variants_of(plain, ["flip"], ImageSpec(normalise="dataset-max"))
    assert variants_of(plain, [], ImageSpec(normalise="dataset-max")) == []


def test_a_file_is_read_lazily(tmp_path: Path) -> None:
    array = np.random.default_rng(1).normal(size=(6, 20, 3))
    np.save(tmp_path / "x.npy", array)
    variant = open_source(f"array:{tmp_path / 'x.npy'}", sample="signal", variant="negate")
    assert len(pickle.dumps(variant[:2])) < 4000
    np.testing.assert_array_equal(arrays_of(variant), -array)
