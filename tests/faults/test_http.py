"""The service under random requests, malformed ones, slow clients, damage and load."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import http_lab, http_wire
from tests.faults.http_lab import lacking

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking() or "-")

SECONDS = 20.0
"""Of the load."""
ASKED, GROWTH = 400, 32 << 20
"""Requests for a block, and bytes: a block for each of them would be three times as much."""
CROWD = 300
"""Connections from one address: more than the service takes of all."""


@pytest.fixture(scope="module", autouse=True)
def _end() -> Iterator[None]:
    """No service outlives these tests."""
    yield
    http_lab.close()


def test_random_requests_are_answered_as_the_model_says() -> None:
    from tests.faults.http_fuzz import LOOPS

    loop = LOOPS["HTTP fuzz"]
    ends = loop.rounds(1, loop.ci)
    assert {"200", "304", "401", "412", "416", "421", "hidden 404", "none 404"} <= set(ends)
    assert ends["200 at once"] + ends["206 at once"] > loop.ci / 20


def test_what_is_no_http_is_never_half_understood() -> None:
    from tests.faults.http_raw import CASES, LOOPS

    loop = LOOPS["HTTP raw"]
    ends = loop.rounds(1, loop.ci)
    assert {end.rpartition(" ")[0] for end in ends} == set(CASES)


def test_damage_never_arrives_as_right() -> None:
    from tests.faults.http_damage import DAMAGES, LOOPS

    loop = LOOPS["HTTP damage"]
    ends = loop.rounds(1, loop.ci)
    assert {end.partition(" ")[0] for end in ends} == set(DAMAGES)
    assert any(end.endswith("broken") for end in ends), "none was struck in the midst"


def test_slow_clients_are_cut_and_others_served() -> None:
    from tests.faults.http_slow import LOOPS

    loop = LOOPS["HTTP slow"]
    assert loop.rounds(1, loop.ci) == {"all cut": loop.ci}


def test_one_address_shuts_nobody_out() -> None:
    from tests.faults.http_lab import running
    from tests.faults.http_slow import crowd

    crowd(running(), CROWD)


@pytest.mark.slow
def test_readers_at_once_get_right_bytes_in_little_memory() -> None:
    from tests.faults.http_lab import running
    from tests.faults.http_load import load

    found = load(running(), 1, seconds=SECONDS)
    print(found)
    assert len(found.waits) > 100


def test_the_wire_is_read_by_the_letter() -> None:
    two = b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nab"
    two += b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nc"
    first, second = http_wire.responses(two)
    assert (first.status, first.body, first.whole) == (404, b"ab", True)
    assert (second.status, second.body, second.whole) == (200, b"c", False)
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
    assert [one.body for one in http_wire.responses(chunks)] == [b"a"]
    with pytest.raises(AssertionError, match="no status line: b'hello'"):
        list(http_wire.responses(b"hello\r\n\r\n"))
    with pytest.raises(AssertionError, match="no header: b'a b'"):
        list(http_wire.responses(b"HTTP/1.1 200 OK\r\na b\r\n\r\n"))


def test_who_asks_on_and_never_reads_costs_no_memory() -> None:
    from tests.faults.http_lab import running
    from tests.faults.http_slow import asks_on

    server = running()
    before = server.peak()
    asks_on(server, ASKED)
    assert server.peak() - before < GROWTH
