"""How much a token may ask for, and whether there is room for it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pi_cache.keeping.space import Need, room_of, shortages
from pi_cache.quantities import bytes_text
from pi_cache.serving.builds.records import ResolutionRecord, seconds_since
from pi_cache.serving.builds.refusals import NO_ROOM, TOO_LARGE, TOO_MANY, BuildRefused
from pi_cache.serving.builds.settings import Quotas
from pi_cache.serving.builds.tickets import Ticket

HOUR = 3600.0


def check_asker(tickets: Iterable[Ticket], owner: str, quotas: Quotas) -> None:
    """Raise BuildRefused where a token, or all together, have asked for enough."""
    open_ones = [ticket for ticket in tickets if ticket.is_open]
    if len(open_ones) >= quotas.waiting:
        raise BuildRefused(TOO_MANY, f"{len(open_ones)} requests wait already; ask again later")
    mine = sum(ticket.owner == owner for ticket in open_ones)
    if mine >= quotas.open:
        raise BuildRefused(
            TOO_MANY,
            f"{mine} of your requests have not ended, and {quotas.open} may be open at a time;"
            " wait for one, or cancel one",
        )


def check_hour(tickets: Iterable[Ticket], owner: str, quotas: Quotas) -> None:
    """Raise BuildRefused where a token has asked too often within an hour."""
    recent = [
        seconds
        for ticket in tickets
        if ticket.owner == owner
        and 0 <= (seconds := seconds_since(ticket.record.created)) < HOUR  # clocks are set back
    ]
    if len(recent) >= quotas.hourly:
        wait = max(HOUR - max(recent), 1.0)
        raise BuildRefused(
            TOO_MANY,
            f"{len(recent)} requests within an hour, and {quotas.hourly} are allowed; ask again in"
            f" {wait:.0f} seconds",
        )


def check_room(
    found: ResolutionRecord, others: Iterable[Ticket], root: Path, quotas: Quotas
) -> None:
    """Raise BuildRefused, with the numbers, where a store is too large or has no room.

    others: the requests that have not ended; of this store too.
    """
    size, count = found.adds
    if quotas.bytes and size > quotas.bytes:
        raise BuildRefused(
            TOO_LARGE,
            f"the store would take about {bytes_text(size)}, and {bytes_text(quotas.bytes)} may be"
            " asked for at a time; give a limit, fewer pixels, or a smaller dtype",
        )
    known = [other.resolution for other in others if other.resolution is not None]
    promised = {other.key: other.adds for other in known if other.key != found.key}
    before = [sum(adds[part] for adds in promised.values()) for part in (0, 1)]
    lacking = shortages(room_of(root), Need(bytes=size + before[0], files=count + before[1]))
    if lacking and count:
        queued = f" ({bytes_text(before[0])} of them for builds that wait)" if before[0] else ""
        raise BuildRefused(
            NO_ROOM,
            f"there is no room for this build: {'; '.join(lacking)}{queued}; ask for less, or have"
            " room made (pi-cache gc, pi-cache budget)",
        )
