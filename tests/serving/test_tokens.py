"""Tokens: what is kept of them, when they count, and whom a folder of them is trusted from."""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pi_cache import files
from pi_cache.errors import CorruptStore, InvalidSpec, StoreNotFound, UnsafeTokens
from pi_cache.serving import tokens
from pi_cache.serving.gate import Gate
from pi_cache.serving.log import Log
from pi_cache.serving.service import Service
from pi_cache.serving.tokens import FRESH, Token, TokenFolder, new_token, revoke, secret_of
from tests.pi_cache.made import Failing

KEY = "ab" * 32
DAY = 86_400.0


class Clock:
    """Time that stands still."""

    def __init__(self) -> None:
        self.time = 1e9

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "settings" / "tokens"


def make(folder: Path, name: str = "alice", **changed: object) -> tuple[str, Token]:
    given = {"may": ["read"], "stores": None, "seconds": DAY, **changed}
    return new_token(folder, name, **given)  # type: ignore[arg-type]


def read(folder: Path, **given: Clock) -> TokenFolder:
    found = TokenFolder(folder, **given)
    found.refresh()
    return found


def test_a_token_is_found_by_its_text(folder: Path) -> None:
    text, made = make(folder, stores=[KEY])
    found = read(folder).find(text)
    assert found == made
    assert found.access().may_read(KEY) and not found.access().may_read("cd" * 32)
    assert found.access(granted={"cd" * 32}).may_read("cd" * 32)


def test_nothing_of_the_secret_is_kept(folder: Path) -> None:
    text, made = make(folder)
    secret = text.split("_", 2)[2]
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32, "256 random bits"
    kept = (folder / f"{made.id}.json").read_text()
    assert secret not in kept and secret[:8] not in kept
    assert json.loads(kept)["sha256"] == hashlib.sha256(secret.encode()).hexdigest()


def test_only_its_owner_may_read_what_is_kept(folder: Path) -> None:
    before = os.umask(0o000)
    try:
        _, made = make(folder)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / f"{made.id}.json").stat().st_mode) == 0o600


def test_other_texts_open_nothing(folder: Path) -> None:
    text, made = make(folder)
    other, _ = make(folder, "bob")
    found = read(folder)
    number, secret = text.split("_", 2)[1:]
    wrong = [
        "", "pic_", made.id, secret, text[:-1], text + "x", text.upper(), f" {text}",
        f"pic_{number}_{other.split('_', 2)[2]}", f"pic_{'0' * 16}_{secret}",
        f"pic_{number}_{made.sha256}", f"pic_../{number}_{secret}", f"{text}\n", "표본",
    ]  # fmt: skip
    assert [one for one in wrong if found.find(one)] == []
    assert found.find(text) is not None


def test_a_token_ends_when_it_expires(folder: Path) -> None:
    now = Clock()
    now.time = datetime.now(UTC).timestamp()
    text, made = make(folder, seconds=60)
    found = read(folder, now=now)
    assert found.find(text) == made
    now.time += 59
    assert found.find(text) == made
    now.time += 1
    assert found.find(text) is None


def test_tokens_come_and_go_without_a_restart(folder: Path) -> None:
    clock = Clock()
    first, _ = make(folder)
    found = read(folder, clock=clock)
    second, _ = make(folder)
    assert found.is_fresh() and found.find(second) is None
    clock.time += FRESH
    assert not found.is_fresh()
    found.refresh()
    assert found.find(first) and found.find(second), "two live tokens allow rotation"
    revoke(folder, found.find(first).id)  # type: ignore[union-attr]
    clock.time += FRESH
    found.refresh()
    assert not found.find(first) and found.find(second)


def test_a_name_revokes_all_its_tokens(folder: Path) -> None:
    texts = [make(folder)[0], make(folder)[0], make(folder, "bob")[0]]
    assert len(revoke(folder, "alice")) == 2
    found = read(folder)
    assert [found.find(text) is not None for text in texts] == [False, False, True]
    with pytest.raises(StoreNotFound, match="no token 'alice'"):
        revoke(folder, "alice")


@pytest.mark.parametrize("who", ["folder", "document"])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_what_others_may_write_is_not_trusted(who: str, mode: int, folder: Path) -> None:
    text, made = make(folder)
    place = folder if who == "folder" else folder / f"{made.id}.json"
    place.chmod(place.stat().st_mode | mode)
    found = read(folder)
    assert found.find(text) is None
    if who == "folder":
        assert "other users may write" in found.problem
        with pytest.raises(UnsafeTokens, match=r"chmod go-w"):
            make(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_others_own_is_not_trusted(folder: Path) -> None:
    text, made = make(folder)
    os.chown(folder / f"{made.id}.json", 12345, -1)
    assert read(folder).find(text) is None


def test_a_folder_that_goes_closes_the_service(folder: Path) -> None:
    clock = Clock()
    text, made = make(folder)
    found = read(folder, clock=clock)
    (folder / f"{made.id}.json").unlink()
    (folder / "tmp").rmdir()
    folder.rmdir()
    clock.time += FRESH
    found.refresh()
    assert found.find(text) is None and "no such folder" in found.problem


def test_a_damaged_or_renamed_document_opens_nothing(folder: Path) -> None:
    (text, made), (other, _) = make(folder), make(folder, "bob")
    place = folder / f"{made.id}.json"
    data = place.read_bytes()
    place.write_bytes(data.replace(b'"alice"', b'"admin"'))
    found = read(folder)
    assert found.find(text) is None and found.find(other)
    with pytest.raises(CorruptStore, match="checksum"):
        Token.from_bytes(place.read_bytes())
    place.write_bytes(data)
    place.rename(folder / f"{'0' * 16}.json")
    assert read(folder).find(text) is None


def test_what_counts_for_nothing_is_told_once(folder: Path) -> None:
    clock, told = Clock(), []  # type: tuple[Clock, list[str]]
    _, made = make(folder)
    other, _ = make(folder, "bob")
    place = folder / f"{made.id}.json"
    found = TokenFolder(folder, clock=clock)
    for mode in (0o600, 0o666, 0o666, 0o600, 0o666):
        place.chmod(mode)
        clock.time += FRESH
        found.refresh(told.append)
    assert len(told) == 2 and f"{place}: other users may write" in told[0]
    assert found.find(other) is not None and not found.unread
    place.chmod(0o600)
    place.write_bytes(b"{}")
    assert [token.name for token in found.all()] == ["bob"] and str(place) in found.problem


@pytest.mark.parametrize("call", ["listdir", "read"])
def test_what_cannot_be_read_is_told(
    call: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, told = Clock(), []  # type: tuple[Clock, list[str]]
    text, _ = make(folder)
    found = TokenFolder(folder, clock=clock)
    monkeypatch.setattr(files, "system", Failing(call, 1, errno.EACCES))
    found.refresh(told.append)
    assert found.find(text) is None and found.unread == (call == "listdir")
    assert len(told) == 1 and "Permission denied" in told[0]
    clock.time += FRESH
    found.refresh(told.append)
    assert found.find(text) is not None and not found.unread and len(told) == 1


def test_while_tokens_cannot_be_read_nobody_has_a_wrong_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(folder)
    service = Service(root=tmp_path, tokens=TokenFolder(folder), log=Log(tmp_path / "log"))
    monkeypatch.setattr(files, "system", Failing("listdir", 1, errno.EMFILE))
    assert [status_without_token(service), status_without_token(service)] == [503, 503]
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    (told,) = [line["problem"] for line in lines if line["event"] == "unread"]
    assert str(folder) in told
    assert service.tokens is not None
    service.tokens.clock = lambda: float("inf")
    assert status_without_token(service) == 401
    service.close()
    service.log.handler.close()


def status_without_token(service: Service) -> int:
    """The status that a request gets which no route sees."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "raw_path": b"/health", "headers": []}
    asyncio.run(Gate(service, None)(scope, None, send))  # type: ignore[arg-type]
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": ""}, "the name of a token"),
        ({"name": "a b"}, "the name of a token"),
        ({"name": "../x"}, "the name of a token"),
        ({"may": ["write"]}, "a token may read, build, watch, got write"),
        ({"seconds": 1e300}, "cannot expire"),
    ],
)
def test_what_no_token_can_be(changed: dict[str, object], message: str, folder: Path) -> None:
    with pytest.raises(InvalidSpec, match=message):
        make(folder, **{"name": "alice", **changed})  # type: ignore[arg-type]
    assert not folder.exists()


def test_headers_with_a_token() -> None:
    basic = base64.b64encode(b"anybody:pic_1_2:3").strip()
    assert secret_of([b"Bearer pic_1_2"]) == "pic_1_2"
    assert secret_of([b"bearer  pic_1_2"]) == "pic_1_2"
    assert secret_of([b"Basic " + basic]) == "pic_1_2:3"
    assert secret_of([b"basic " + base64.b64encode(b"nocolon")]) == ""
    for wrong in ([], [b"Bearer a", b"Bearer a"], [b"Basic %%%"], [b"Digest x"], [b""]):
        assert secret_of(wrong) is None


def test_access_is_by_store_and_by_what_it_may(folder: Path) -> None:
    expires = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    given = {"id": "0" * 16, "sha256": "", "name": "x", "created": "", "expires": expires}
    watch = Token(may=("watch",), stores=None, **given).access()
    assert not watch.may_read(KEY)
    nothing = Token(may=("read",), stores=(), **given).access()
    assert not nothing.may_read(KEY)
    assert Token(may=("read",), stores=None, **given).access().may_read(KEY)
    assert tokens.default_folder().name == "tokens"
