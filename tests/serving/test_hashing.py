"""A file is hashed once for all who wait, and a damaged one not again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from pi_cache.errors import CorruptStore
from pi_cache.serving.hashing import Hashing
from pi_cache.serving.shelf import Shelved, read_shelved
from tests.pi_cache.made import make_store

NAME = "data.zarr/images/c.0.0.0.0"


@pytest.fixture
def shelved(tmp_path: Path) -> Shelved:
    return read_shelved(make_store(tmp_path))


class Counted:
    """How often something happened."""

    times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def hashing(counted: Counted) -> Iterator[Hashing]:
    hashing = Hashing(counted)
    yield hashing
    hashing.threads.shutdown()


async def ask(hashing: Hashing, shelved: Shelved, times: int) -> list[object]:
    asked = (hashing.check(shelved, NAME) for _ in range(times))
    return list(await asyncio.gather(*asked, return_exceptions=True))


def test_many_wait_for_one(shelved: Shelved, hashing: Hashing, counted: Counted) -> None:
    assert asyncio.run(ask(hashing, shelved, 50)) == [None] * 50
    assert counted.times == 1
    assert shelved.touch.known(NAME) is not None


def test_who_goes_away_takes_it_from_nobody(shelved: Shelved, hashing: Hashing) -> None:
    async def one_goes() -> None:
        first = asyncio.ensure_future(hashing.check(shelved, NAME))
        second = asyncio.ensure_future(hashing.check(shelved, NAME))
        await asyncio.sleep(0)
        first.cancel()
        await second

    asyncio.run(one_goes())
    assert shelved.touch.known(NAME) is not None


def test_a_damaged_file_is_hashed_once_until_it_changes(
    shelved: Shelved, hashing: Hashing, counted: Counted
) -> None:
    place = shelved.path / NAME
    data = place.read_bytes()
    place.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    async def again() -> None:
        for _ in range(5):
            with pytest.raises(CorruptStore, match="expected SHA-256"):
                await hashing.check(shelved, NAME)

    asyncio.run(again())
    assert counted.times == 1
    place.unlink()
    with pytest.raises(CorruptStore, match="is missing"):
        asyncio.run(hashing.check(shelved, NAME))
    place.write_bytes(data)
    asyncio.run(hashing.check(shelved, NAME))
    assert shelved.touch.known(NAME) is not None
