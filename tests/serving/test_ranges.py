"""Ranges and conditions of requests, compared with what the RFC says read literally."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pi_cache.serving.ranges import (
    LONGEST,
    Asked,
    Part,
    Unsatisfiable,
    asked,
    matches,
    parse_range,
)

TAG = b'"0123abcd"'


def obvious(header: str, size: int) -> list[int] | str | None:
    """The positions that a header asks for, None for all of them, or `unsatisfiable`."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header, re.ASCII | re.IGNORECASE)
    if found is None or found[0].endswith("=-"):
        return None
    first, last = found.groups()
    positions = list(range(size))
    if not first:
        chosen = positions[max(size - int(last), 0) :] if int(last) else []
        return None if int(last) and not size else chosen or "unsatisfiable"
    if last and int(last) < int(first):
        return None
    chosen = [place for place in positions if int(first) <= place <= int(last or size)]
    return chosen or "unsatisfiable"


def answered(header: str, size: int) -> list[int] | str | None:
    try:
        part = parse_range([header.encode()], size)
    except Unsatisfiable:
        return "unsatisfiable"
    return None if part is None else list(range(part.start, part.stop))


numbers = st.one_of(st.just(""), st.integers(0, 40).map(str), st.integers(0, 10**18).map(str))
headers = st.one_of(
    st.builds("bytes={}-{}".format, numbers, numbers),
    st.builds("{}{}-{}{}".format, st.sampled_from(["bytes=", "Bytes =", "bits=", "bytes="]),
              numbers, numbers, st.sampled_from(["", " ", ",", ",5-6", "x"])),
    st.text("bytes=-0123456789, ", max_size=20),
)  # fmt: skip


@given(header=headers, size=st.integers(0, 33))
@example(header="bytes=-", size=5)
@example(header="bytes=-0", size=5)
@example(header="bytes=-5", size=0)
@example(header="bytes=0-", size=0)
@example(header="bytes=4-", size=5)
@example(header="bytes=5-", size=5)
@example(header="bytes=3-2", size=5)
@example(header="bytes=0-0,2-3", size=5)
@example(header="bytes=00000000000-0000004", size=9)
def test_ranges_are_those_of_the_rfc(header: str, size: int) -> None:
    assert answered(header, size) == obvious(header, size)


def test_what_is_long_or_sent_twice_is_not_looked_at() -> None:
    assert parse_range([b"bytes=0-1", b"bytes=0-1"], 9) is None
    assert parse_range([b"bytes=0-1" + b" " * LONGEST], 9) is None
    assert parse_range([b"bytes=" + b"0-1," * 100_000], 9) is None
    assert parse_range([b"bytes=" + b"9" * 10_000 + b"-"], 9) is None


def test_positions_that_are_no_ascii_digits_are_malformed() -> None:
    for digits in ("٣", "²", "1_0", "+1", " 1"):
        assert parse_range([f"bytes={digits}-5".encode()], 9) is None


@pytest.mark.parametrize(
    ("given", "status", "part"),
    [
        ({}, 200, (0, 10)),
        ({b"if-match": b"*"}, 200, (0, 10)),
        ({b"if-match": TAG}, 200, (0, 10)),
        ({b"if-match": b'"x", ' + TAG}, 200, (0, 10)),
        ({b"if-match": b"W/" + TAG}, 412, (0, 10)),
        ({b"if-match": b'"x"'}, 412, (0, 10)),
        ({b"if-match": b"0123abcd"}, 412, (0, 10)),
        ({b"if-match": b'"x"', b"if-none-match": TAG}, 412, (0, 10)),
        ({b"if-none-match": TAG}, 304, (0, 10)),
        ({b"if-none-match": b"W/" + TAG}, 304, (0, 10)),
        ({b"if-none-match": b"*"}, 304, (0, 10)),
        ({b"if-none-match": b'"x"'}, 200, (0, 10)),
        ({b"if-none-match": TAG, b"range": b"bytes=99-"}, 304, (0, 10)),
        ({b"range": b"bytes=2-4"}, 206, (2, 5)),
        ({b"range": b"bytes=-3"}, 206, (7, 10)),
        ({b"range": b"bytes=10-"}, 416, (0, 10)),
        ({b"range": b"bytes=0-1,3-4"}, 200, (0, 10)),
        ({b"range": b"bytes=2-4", b"if-range": TAG}, 206, (2, 5)),
        ({b"range": b"bytes=2-4", b"if-range": b"W/" + TAG}, 200, (0, 10)),
        ({b"range": b"bytes=2-4", b"if-range": b'"x"'}, 200, (0, 10)),
        ({b"range": b"bytes=2-4", b"if-range": b"Sat, 01 Jan 2000 00:00:00 GMT"}, 200, (0, 10)),
        ({b"range": b"bytes=99-", b"if-range": b'"x"'}, 200, (0, 10)),
    ],
)
def test_conditions_come_before_ranges(
    given: dict[bytes, bytes], status: int, part: tuple[int, int]
) -> None:
    assert asked(list(given.items()), TAG, 10, "GET") == Asked(status, Part(*part))


def test_a_range_is_of_get_only() -> None:
    assert asked([(b"range", b"bytes=2-4")], TAG, 10, "HEAD") == Asked(200, Part(0, 10))


@given(listed=st.lists(st.binary(max_size=30), max_size=3))
def test_tags_are_compared_for_any_bytes(listed: list[bytes]) -> None:
    if TAG not in b",".join(listed) and b"*" not in b"".join(listed):
        assert not matches(listed, TAG, strong=False)
    assert matches([*listed, TAG], TAG, strong=True) or b'"' in b",".join(listed)
