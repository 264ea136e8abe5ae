"""The contract of a source: what is checked when it is made, and when its samples are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cache.errors import SampleError, SourceError
from pi_cache.specs import Status
from pipeline.sources import Source, read_samples
from pipeline.sources.arrays import from_arrays

RNG = np.random.default_rng(3)


@dataclass(frozen=True)
class ListReader:
    """Samples one by one; an exception in the list is raised when its sample is read."""

    samples: tuple[np.ndarray | Exception, ...]

    def read(self, position: int) -> np.ndarray:
        sample = self.samples[position]
        if isinstance(sample, Exception):
            raise sample
        return sample

    def read_together(self) -> None:
        return None

    def slice(self, start: int, stop: int) -> ListReader:
        return replace(self, samples=self.samples[start:stop])

    def digests(self) -> Iterator[bytes]:
        for sample in self.samples:
            yield np.asarray(sample).tobytes()


def make(*samples: np.ndarray | Exception, **changes: Any) -> Source:
    """A source of signals of 8 steps and 2 channels, unless told otherwise."""
    known: dict[str, Any] = {
        "kind": "made",
        "location": "here",
        "sample": "signal",
        "shape": (8, 2),
        "channels": ("x", "y"),
        "dtype": np.dtype(np.float64),
        "maximum": None,
        "ids": [f"s{k}" for k in range(len(samples))],
        "labels": np.zeros(len(samples)),
        "reader": ListReader(samples),
    }
    return Source(**{**known, **changes})


def noise(*shape: int) -> np.ndarray:
    return RNG.random(shape or (8, 2))


def spoiled(value: float) -> np.ndarray:
    array = noise()
    array[5, 1] = value
    return array


BAD = {
    "nan": (spoiled(np.nan), Status.NAN, r"^has NAN at \(5, 1\); fill or leave out"),
    "inf": (spoiled(np.inf), Status.INF, r"^has INF at \(5, 1\)"),
    "minus inf": (spoiled(-np.inf), Status.INF, "^has INF"),
    "constant": (np.full((8, 2), 3.0), Status.CONSTANT, "^every channel is constant"),
    "empty": (noise(0, 2), Status.EMPTY, r"^has shape \(0, 2\), without any value"),
    "shape": (
        noise(7, 2),
        Status.WRONG_SHAPE,
        r"^has shape \(7, 2\), expected \(8, 2\); resize",
    ),
    "axes": (noise(8), Status.WRONG_SHAPE, r"^has shape \(8,\)"),
    "told": (SampleError(Status.UNDECODABLE, "no image"), Status.UNDECODABLE, "^no image"),
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_sample_spoils_no_other(name: str) -> None:
    sample, status, message = BAD[name]
    first, last = noise(), noise()
    samples = read_samples(make(first, sample, last))
    assert samples.status.tolist() == [Status.OK, status, Status.OK]
    assert list(samples.problems) == [1]
    with pytest.raises(SourceError, match=message):
        raise SourceError(samples.problems[1])
    assert np.array_equal(samples.arrays[0], first)
    assert np.array_equal(samples.arrays[2], last)


@pytest.mark.parametrize("name", ["nan", "inf", "constant"])
def test_the_same_when_samples_lie_together(name: str) -> None:
    sample, status, message = BAD[name]
    assert isinstance(sample, np.ndarray)
    source = from_arrays(np.stack([noise(), sample]), sample="signal", ids=["s0", "s1"])
    samples = read_samples(source)
    assert samples.status.tolist() == [Status.OK, status]
    with pytest.raises(SourceError, match=message):
        raise SourceError(samples.problems[1])


def test_lengths_may_vary_where_the_source_says_so() -> None:
    source = make(noise(5, 2), noise(9, 2), noise(0, 2), noise(4, 3), shape=(None, 2))
    samples = read_samples(source)
    assert samples.status.tolist() == [0, 0, Status.EMPTY, Status.WRONG_SHAPE]
    assert [array.shape for array in samples.arrays[:2]] == [(5, 2), (9, 2)]


def test_one_constant_channel_is_counted_and_no_error() -> None:
    half = noise()
    half[:, 0] = 2
    for source in (make(noise(), half), from_arrays(np.stack([noise(), half]), sample="signal")):
        samples = read_samples(source)
        assert not samples.status.any()
        assert samples.flat == 1


def test_a_cloud_is_constant_only_when_its_points_are_one() -> None:
    plane = noise(9, 3)
    plane[:, 2] = 1
    samples = read_samples(from_arrays(np.stack([plane, np.ones((9, 3))]), sample="cloud"))
    assert samples.status.tolist() == [Status.OK, Status.CONSTANT]


@given(st.integers(1, 40), st.integers(1, 3), st.integers(0, 10**6), st.sampled_from("fdeB"))
def test_constants_and_infinities_are_found_wherever_they_are(
    length: int, channels: int, seed: int, dtype: str
) -> None:
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 2, (6, length, channels)).astype(dtype)
    if dtype != "B":
        array[rng.random(array.shape) < 0.02] = np.inf
    status = read_samples(from_arrays(array, sample="signal")).status
    constant = (array == array[:, :1]).all(axis=(1, 2))
    expected = np.where(constant, Status.CONSTANT, Status.OK)
    expected[~np.isfinite(array).all(axis=(1, 2))] = Status.INF
    assert status.tolist() == expected.tolist()


def test_sums_that_overflow_are_no_infinities() -> None:
    array = np.full((2, 100), 3e38, np.float32)
    array[:, ::2] = 2e38
    assert not read_samples(from_arrays(array)).status.any()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"ids": [], "labels": []}, "made:here has no samples"),
        ({"labels": np.zeros(5)}, "5 labels for 2 samples"),
        ({"groups": ["a"]}, "1 groups for 2 samples"),
        ({"ids": ["a", "a"]}, r"duplicate ids, such as \['a'\]"),
        ({"labels": [0, 7], "label_names": ("a", "b")}, "labels from 0 to 7"),
        ({"labels": [0, -3]}, "labels from -3 to 0"),
    ],
)
def test_what_is_checked_when_a_source_is_made(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(SourceError, match=match):
        make(noise(), noise(), **changes)


def test_slices_and_parts() -> None:
    source = make(*(noise() for _ in range(6)), splits=["a", "a", "b", "b", "b", ""])
    assert source[1:4].ids == ["s1", "s2", "s3"]
    assert source[1:4][1:].ids == ["s2", "s3"]
    assert source.part("b").ids == ["s2", "s3", "s4"]
    with pytest.raises(SourceError, match="with step 1"):
        source[::2]
    with pytest.raises(SourceError, match="no samples in split 'c'; its splits: a, b, none"):
        source.part("c")
    mixed = replace(source, splits=["a", "b", "a", "b", "b", "b"])
    with pytest.raises(SourceError, match="do not lie together"):
        mixed.part("a")


def test_the_spec_is_of_the_content_and_not_of_the_place() -> None:
    samples = [noise(), noise()]
    here, there = make(*samples).spec(), make(*samples, location="there").spec()
    assert here.identity() == there.identity()
    assert here.location != there.location
    assert make(*samples, labels=[0, 1]).spec().fingerprint != here.fingerprint
