"""Requests and builds in memory: a request belongs to a token, a build to all that ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pi_cache.serving.builds.progress import Meter
from pi_cache.serving.builds.records import OutcomeRecord, RequestRecord, ResolutionRecord
from pi_cache.serving.builds.runs import Run

TOLD = ("bytes", "files", "shards", "seconds", "core_seconds", "memory_per_worker")
"""What of an estimate a client is told."""


@dataclass(eq=False)
class Ticket:
    """A request. unsaved: its outcome is not on the disk yet, which may be full."""

    record: RequestRecord
    resolution: ResolutionRecord | None = None
    outcome: OutcomeRecord | None = None
    unsaved: bool = False

    @property
    def id(self) -> str:
        """Its id, which is new with every request."""
        return self.record.id

    @property
    def owner(self) -> str:
        """The name of the token that asked."""
        return self.record.token

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.outcome is None

    @property
    def key(self) -> str | None:
        """The key of the store, None as long as it is not known."""
        return None if self.resolution is None else self.resolution.key

    @property
    def source(self) -> str:
        """The name of the data: as it was found, else as it was asked for, "spec" by a spec."""
        if self.resolution is not None:
            return self.resolution.source
        asked = self.record.document.get("source")
        return asked if isinstance(asked, str) else "spec"


@dataclass(eq=False)
class Job:
    """A build of one store. run: who computes, None as long as it waits for its turn."""

    resolution: ResolutionRecord
    meter: Meter
    tickets: list[Ticket] = field(default_factory=list)
    run: Run | None = None

    @property
    def key(self) -> str:
        """The key of the store."""
        return self.resolution.key

    @property
    def wanted(self) -> list[Ticket]:
        """The requests for it that have not ended."""
        return [ticket for ticket in self.tickets if ticket.is_open]


def status_document(
    ticket: Ticket, job: Job | None, position: int | None, progress: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What a client is told of its request: plain values without a path of this machine.

    position: among the builds that wait, from 1. The spec of a store, as it was sent, would name
    where its samples were: it is not repeated.
    """
    found, outcome, asked = ticket.resolution, ticket.outcome, ticket.record.document
    estimate = {} if found is None else found.estimate
    return {
        "id": ticket.id,
        "url": f"/v1/requests/{ticket.id}",
        "state": _state(ticket, job),
        "position": position,
        "token": ticket.owner,
        "source": ticket.source,
        "key": ticket.key,
        "store": f"/stores/{ticket.key}" if outcome and outcome.state == "finished" else None,
        "samples": None if found is None else found.samples,
        "progress": progress,
        "estimate": {name: estimate[name] for name in TOLD if name in estimate} or None,
        "error": (outcome.error or None) if outcome else None,
        "created": ticket.record.created,
        "ended": outcome.ended if outcome else None,
        "asked": dict(asked) if isinstance(asked.get("source"), str) else None,
    }


def _state(ticket: Ticket, job: Job | None) -> str:
    """`resolving`, `queued`, `running`, `finished`, `failed` or `cancelled`."""
    if ticket.outcome is not None:
        return ticket.outcome.state
    if ticket.resolution is None:
        return "resolving"
    return "queued" if job is None or job.run is None else "running"
