"""Tokens: who may use the service, each a sealed document in a folder of its own.

A token is `pic_ID_SECRET`: a public number by which it is found and 256 random bits, of which only
the SHA-256 is kept. Nothing is ever rewritten: revoking removes the document.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from pi_cache import files
from pi_cache.errors import (
    CorruptStore,
    InvalidSpec,
    PiCacheError,
    StorageFailed,
    StoreNotFound,
    UnsafeTokens,
)
from pi_cache.manifest import Document
from pi_cache.serving.access import MAY, Access

FRESH = 1.0
"""Seconds for which the folder is not looked at again: a token that was revoked ends within it."""
TEXT = re.compile(r"pic_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
FILE = re.compile(r"([0-9a-f]{16})\.json")
KEY = re.compile("[0-9a-f]{64}")
NAME = re.compile(r"[\w.@+-]{1,64}")
TEMPORARY = "tmp"
NOBODY = hashlib.sha256(b"").hexdigest()
"""Compared with where no token has the number, so that this takes as long."""
LONGEST = 1 << 20
"""Bytes of a document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token(Document):
    """What a token allows. sha256: of its secret. stores: keys, None for all. Times in UTC."""

    what = "token"

    id: str
    sha256: str
    name: str
    may: tuple[str, ...]
    stores: tuple[str, ...] | None
    created: str
    expires: str

    @classmethod
    def _parse(cls, content: dict[str, Any]) -> dict[str, Any]:
        stores = content["stores"]
        return content | {
            "may": tuple(map(str, content["may"])),
            "stores": None if stores is None else tuple(map(str, stores)),
        }

    def _problems(self) -> Iterator[str]:
        if set(self.may) - set(MAY):
            yield "what it allows"
        if datetime.datetime.fromisoformat(self.expires).tzinfo is None:
            yield "when it expires"

    def is_live(self, now: float) -> bool:
        """Whether it has not expired at this moment, in seconds since 1970."""
        return now < datetime.datetime.fromisoformat(self.expires).timestamp()

    def access(self, granted: Container[str] = frozenset()) -> Access:
        """What its bearer may do."""
        stores = None if self.stores is None else frozenset(self.stores)
        return Access(
            name=self.name, may=frozenset(self.may), id=self.id, stores=stores, granted=granted
        )


class TokenFolder:
    """The tokens in a folder, read again as they come and go.

    problem: why no token counts, or not all. unread: whether the folder could not be read, which
    may pass.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.clock = clock
        self.now = now
        self.problem = ""
        self.unread = False
        self._lock = threading.Lock()
        self._read = float("-inf")
        self._tokens: dict[str, Token] = {}

    def is_fresh(self) -> bool:
        """Whether the folder was looked at a moment ago."""
        return self.clock() - self._read < FRESH

    def refresh(self, tell: Callable[[str], object] = bool) -> None:
        """Look at the folder again. Where it is not safe or cannot be read, no token counts.

        tell: called with each new problem.
        """
        with self._lock:
            if self.is_fresh():
                return
            before, self.unread = self.problem, False
            try:
                self._tokens, problems = self._all()
                self.problem = "; ".join(problems)
            except (UnsafeTokens, OSError) as error:
                self._tokens, self.problem = {}, str(error)
                self.unread = isinstance(error, StorageFailed)
            self._read = self.clock()
            if self.problem not in ("", before):
                tell(self.problem)

    def find(self, text: str) -> Token | None:
        """The live token of this text, among those that `refresh` has read."""
        parts = TEXT.fullmatch(text)
        token = self._tokens.get(parts[1]) if parts else None
        sha256 = hashlib.sha256((parts[2] if parts else text).encode()).hexdigest()
        agrees = hmac.compare_digest(sha256, token.sha256 if token else NOBODY)
        return token if token and agrees and token.is_live(self.now()) else None

    def all(self) -> list[Token]:
        """Every token, by name, expired ones too. Raises UnsafeTokens, StorageFailed.

        Afterwards `problem` says which files count for nothing.
        """
        if not files.exists(self.path):
            return []
        found, problems = self._all()
        self.problem = "; ".join(problems)
        return sorted(found.values(), key=lambda token: (token.name, token.created))

    def _all(self) -> tuple[dict[str, Token], list[str]]:
        """The tokens by number, and what is wrong with files that are none: they open nothing."""
        check_safe(self.path)
        found, problems = {}, []
        for place in files.listing(self.path):
            if not FILE.fullmatch(place.name):
                continue
            try:
                token = _read(place)
            except FileNotFoundError:  # it has just been revoked
                continue
            except (PiCacheError, ValueError) as error:
                problems.append(f"no token: {error}")
                continue
            found[token.id] = token
        return found, problems


def _read(place: Path) -> Token:
    """The token of a file. Raises UnsafeTokens, CorruptStore, UnsupportedFormat, StorageFailed,
    FileNotFoundError, ValueError.
    """
    check_private(place)
    try:
        token = Token.from_bytes(files.read_bytes(place, LONGEST))
    except CorruptStore as error:
        raise CorruptStore(f"{place}: {error}") from error
    if f"{token.id}.json" != place.name:
        raise CorruptStore(f"{place}: is token {token.id}; give it its name again")
    return token


def default_folder() -> Path:
    """Where tokens lie: $PI_CACHE_TOKENS, else in the user's folder of settings."""
    named = os.environ.get("PI_CACHE_TOKENS")
    home = platformdirs.user_config_path("pi-cache", appauthor=False)
    return Path(named) if named else home / "tokens"


def new_token(
    folder: Path,
    name: str,
    *,
    may: Sequence[str],
    stores: Sequence[str] | None,
    seconds: float,
) -> tuple[str, Token]:
    """The text of a new token, which nothing can show again, and what is kept of it, durably.

    stores: keys, None for all. seconds: until it expires. The umask of the process is changed for
    a moment: only a command of one thread may call this. Raises InvalidSpec, UnsafeTokens,
    StorageFailed.
    """
    if not NAME.fullmatch(name):
        raise InvalidSpec(f"the name of a token is 1 to 64 letters, digits or .@+-_, got {name!r}")
    if unknown := sorted(set(may) - set(MAY)):
        raise InvalidSpec(f"a token may {', '.join(MAY)}, got {', '.join(unknown)}")
    secret, number = secrets.token_urlsafe(32), secrets.token_hex(8)
    made = datetime.datetime.now(datetime.UTC)
    try:
        expires = made + datetime.timedelta(seconds=seconds)
    except OverflowError as error:
        raise InvalidSpec(f"a token cannot expire after {seconds:g} seconds") from error
    token = Token(
        id=number,
        sha256=hashlib.sha256(secret.encode()).hexdigest(),
        name=name,
        may=tuple(sorted(set(may))),
        stores=None if stores is None else tuple(sorted(set(stores))),
        created=made.isoformat(timespec="seconds"),
        expires=expires.isoformat(timespec="seconds"),
    )
    with _private():
        files.make_directory(folder)
        check_safe(folder)
        files.publish(folder / f"{number}.json", token.to_bytes(), temporary=folder / TEMPORARY)
    return f"pic_{number}_{secret}", token


def revoke(folder: Path, named: str) -> list[Token]:
    """Remove the token of this number, or all of this name. Raises StoreNotFound for none."""
    found = [token for token in TokenFolder(folder).all() if named in (token.id, token.name)]
    if not found:
        raise StoreNotFound(f"no token {named!r} in {folder}; pi-cache token list shows them")
    for token in found:
        files.remove(folder / f"{token.id}.json")
    return found


def check_safe(folder: Path) -> None:
    """Raise UnsafeTokens for a folder to which others could add a token."""
    if not files.is_folder(folder):
        raise UnsafeTokens(f"{folder}: no such folder; pi-cache token new makes one")
    check_private(folder)


def check_private(path: Path) -> None:
    """Raise UnsafeTokens where another user than this one, or root, may write."""
    found: os.stat_result = files._call("stat", path, path)
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsafeTokens(
            f"{path}: other users may write there and so give themselves access; chmod go-w it, and"
            " have it owned by who runs the service"
        )


def secret_of(authorization: Sequence[bytes]) -> str | None:
    """The token of an Authorization header: a bearer's, or the password of basic authentication."""
    if len(authorization) != 1:
        return None
    scheme, _, rest = authorization[0].partition(b" ")
    rest = rest.strip()
    if scheme.lower() == b"basic":
        try:
            rest = base64.b64decode(rest, validate=True).partition(b":")[2]
        except binascii.Error:
            return None
    elif scheme.lower() != b"bearer":
        return None
    return rest.decode("latin-1")


@contextmanager
def _private() -> Iterator[None]:
    """Files and folders made inside are for this user alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
