"""What the sender of a request may do."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the commands that make tokens need no server
    from starlette.requests import HTTPConnection
    from starlette.types import Scope

MAY = ("read", "build", "watch")
"""What a token can allow: stores, builds on demand, and `/health` and `/metrics`."""
STATE = "pi_cache.access"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who asks, and what they may.

    name: for people and logs. id: the public part of the token, "" without tokens. stores: keys,
    None for all. granted: more keys, as builds on demand add them.
    """

    name: str
    may: frozenset[str]
    id: str = ""
    stores: frozenset[str] | None = None
    granted: Container[str] = frozenset()

    def may_read(self, key: str) -> bool:
        """Whether the store of this key may be seen at all."""
        if "read" not in self.may:
            return key in self.granted
        return self.stores is None or key in self.stores or key in self.granted


EVERYBODY = Access(name="", may=frozenset({"read", "watch"}))
"""Who asks a service without tokens."""


def access_of(request: HTTPConnection | Scope) -> Access:
    """The access of a request that has passed the gate."""
    scope: Any = getattr(request, "scope", request)
    access: Access = scope[STATE]
    return access
