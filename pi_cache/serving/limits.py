"""How much one client may take: time, connections, bytes of a request, requests a second."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from pi_cache.errors import InvalidSpec

HELD = 64 << 20
"""Bytes that all large answers together may hold while their readers take them."""
REMEMBERED = 10_000
"""Clients whose rate is known at a time; who has been silent longest is forgotten first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a service; 0 connections or requests is no limit.

    timeout: seconds for the head of a request, for its body, and within which a client has to
    take bytes that wait for it. keep_alive: seconds between two requests. grace: seconds to finish
    what is being sent when the service stops. head, body: bytes. connections: at a time, of all
    clients; per_address: of one. rate, burst: requests a second of one token (of one address where
    there are no tokens) and how many at once.
    """

    timeout: float = 10.0
    keep_alive: float = 5.0
    grace: float = 10.0
    head: int = 16 << 10
    body: int = 1 << 20
    connections: int = 256
    per_address: int = 64
    rate: float = 1000.0
    burst: int = 2000

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be positive, got {getattr(self, name)}"
            for name in ("timeout", "keep_alive", "head", "body", "burst")
            if not getattr(self, name) > 0  # so that NaN is refused too
        ]
        problems += [
            f"{name} must be 0 or more, got {getattr(self, name)}"
            for name in ("grace", "connections", "per_address", "rate")
            if not getattr(self, name) >= 0
        ]
        if problems:
            raise InvalidSpec(f"Limits: {'; '.join(problems)}")


@lru_cache(REMEMBERED)
def client_of(address: str) -> str:
    """What counts as one client: an address, but of IPv6 the 64 bits of its network. A host there
    has as many addresses as it likes.
    """
    if ":" not in address:
        return address
    found = ipaddress.IPv6Address(address.partition("%")[0])
    return str(found.ipv4_mapped or ipaddress.IPv6Address(int(found) >> 64 << 64))


class Rates:
    """Requests a second of each client, as tokens that drip into a bucket."""

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate = rate
        self.burst = burst
        self.clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Seconds until this client may ask again; 0 where it may now, which is then counted."""
        if not self.rate:
            return 0.0
        now, client = self.clock(), client_of(client)
        left, since = self._buckets.pop(client, (float(self.burst), now))
        left = min(left + (now - since) * self.rate, float(self.burst))
        wait = 0.0 if left >= 1 else (1 - left) / self.rate
        self._buckets[client] = (left if wait else left - 1, now)
        while len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return wait


class Room:
    """Bytes of answers that wait for their readers; `most` of them at a time."""

    def __init__(self, most: int = HELD) -> None:
        self.most = most
        self.held = 0

    def fits(self, size: int) -> bool:
        """Whether so many bytes more may wait."""
        return self.held + size <= self.most

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Count bytes for as long as they wait."""
        self.held += size
        try:
            yield
        finally:
            self.held -= size


class Crowd:
    """The connections that are open, and of which address; those that were refused apart.

    A refused one takes no place: an address that opens more than it may shuts nobody else out.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.total = 0
        self.refused = 0
        self._by_address: Counter[str] = Counter()

    def enter(self, address: str) -> str:
        """Count a connection; why it is one too many, "" where it is not."""
        address = client_of(address)
        reason = self._refusal(address)
        if reason:
            self.refused += 1
        else:
            self.total += 1
            self._by_address[address] += 1
        return reason

    def _refusal(self, address: str) -> str:
        most, of_one = self.limits.connections, self.limits.per_address
        if of_one and self._by_address[address] >= of_one:
            return f"this address has {of_one} connections open, which is the most it may have"
        if most and self.total >= most:
            return f"{most} connections are open, which is the most this service takes"
        return ""

    def leave(self, address: str, *, refused: bool) -> None:
        """Count a connection no more. refused: as `enter` said."""
        if refused:
            self.refused -= 1
            return
        address = client_of(address)
        self.total -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def is_flood(self) -> bool:
        """Whether so many are open that not even a refusal is worth one more."""
        return bool(self.limits.connections) and self.refused > self.limits.connections
