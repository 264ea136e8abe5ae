"""Where a remote store lies: its address, parsed and checked; knows no transport."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pi_cache.errors import InvalidSpec

SCHEMES = ("http", "https", "s3")
INSECURE = "PI_CACHE_INSECURE"
"""Set to 1: a token may travel over http, where anybody on the way can read it."""
MARKED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
UNSEEN = re.compile(r"[\x00-\x20\x7f]")
"""What no address holds as it is: it would end a line of the request."""


def is_remote(store: str | Path) -> bool:
    """Whether this is the address of a store rather than its path or key."""
    return isinstance(store, str) and MARKED.match(store) is not None


@dataclass(frozen=True, slots=True)
class Address:
    """A place under which files lie; no part of it is secret.

    host: with its port; of `s3` the bucket. path: unquoted, without slashes at its ends.
    """

    scheme: str
    host: str
    path: str

    def __str__(self) -> str:
        path = quote(self.path) if self.scheme != "s3" else self.path
        return f"{self.scheme}://{self.host}/{path}".rstrip("/")

    @property
    def name(self) -> str:
        """The last part of the path, which of a store is its key."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> Address:
        """The place in which it lies."""
        return Address(self.scheme, self.host, self.path.rpartition("/")[0])

    def inside(self, name: str) -> Address:
        """A place below it."""
        return Address(self.scheme, self.host, f"{self.path}/{name}".strip("/"))

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent there stays on this machine."""
        host = urlsplit(f"//{self.host}").hostname or ""
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read what is sent there."""
        return self.scheme != "http" or self.is_loopback or os.environ.get(INSECURE) == "1"


def parse_address(text: str) -> Address:
    """The address that a text is. Raises InvalidSpec, which repeats no password in it."""
    scheme, _, rest = text.partition("://")
    scheme, authority = scheme.lower(), rest.partition("/")[0]
    shown = f"{scheme}://{rest.rpartition('@')[2]}"
    if scheme not in SCHEMES:
        raise InvalidSpec(
            f"{shown}: an address begins with one of {', '.join(f'{s}://' for s in SCHEMES)};"
            " give a folder as its path"
        )
    if "@" in authority:
        raise InvalidSpec(
            f"{shown}: a name or password in an address ends in logs; give the token in"
            " $PI_CACHE_TOKEN or in the file of tokens"
        )
    if "?" in rest or "#" in rest or UNSEEN.search(rest):
        raise InvalidSpec(f"{shown!r}: an address has no query, no fragment and no white space")
    try:
        port_is_number = urlsplit(f"//{authority}").port is not None or ":" not in authority
    except ValueError as error:
        raise InvalidSpec(f"{shown}: {error}") from None
    if not authority or not (port_is_number or authority.endswith("]")):
        raise InvalidSpec(f"{shown}: an address names a host, such as {scheme}://host/stores/KEY")
    path = rest[len(authority) :].strip("/")
    path = path if scheme == "s3" else unquote(path)
    if any(part in ("", ".", "..") for part in path.split("/")) and path:
        raise InvalidSpec(f"{shown}: no part of an address is empty, . or ..")
    return Address(scheme, authority if scheme == "s3" else authority.lower(), path)
