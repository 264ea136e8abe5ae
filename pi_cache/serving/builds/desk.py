"""Every request of a root: who asked, what it means, how it ended, and what that grants.

The truth is on the disk, where other services of the root write too. `changed` guards all of it,
and is notified of what happens.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path

from pi_cache.errors import CorruptStore, PiCacheError
from pi_cache.serving.builds.asked import Asked
from pi_cache.serving.builds.quotas import HOUR, check_asker, check_hour, check_room
from pi_cache.serving.builds.records import (
    Book,
    OutcomeRecord,
    RequestRecord,
    ResolutionRecord,
    moment,
    new_id,
    seconds_since,
)
from pi_cache.serving.builds.refusals import without_paths
from pi_cache.serving.builds.settings import BuildSettings
from pi_cache.serving.builds.tickets import Ticket

FINISHED, FAILED, CANCELLED = "finished", "failed", "cancelled"
OK, GONE = 200, 410
KEPT = 200
"""Requests of a token that are remembered after an hour, besides those that grant."""
Note = Callable[[str], None]


class Desk:
    """The requests. is_finished: whether there is a finished store of a key."""

    def __init__(
        self, root: Path, settings: BuildSettings, is_finished: Callable[[str], bool], note: Note
    ) -> None:
        self.root, self.settings, self.note = root, settings, note
        self.is_finished = is_finished
        self.book = Book(root)
        self.changed = threading.Condition(threading.RLock())
        self._tickets: dict[str, Ticket] = {}
        self._grants: dict[str, set[str]] = {}
        self._paths = {str(root): "the cache", str(root.absolute()): "the cache"}
        for source in settings.sources.values():
            self._paths |= source.paths

    def ask(self, owner: str, asked: Asked) -> Ticket:
        """The request of a token, which is new unless the same words are open already.

        Raises BuildRefused, StorageFull, StorageFailed.
        """
        asked.candidates(self.settings.sources)
        with self.changed:
            for ticket in self.open():
                if ticket.owner == owner and ticket.record.document == asked.document:
                    return ticket
            check_asker(self._tickets.values(), owner, self.settings.quotas)
            check_hour(self._tickets.values(), owner, self.settings.quotas)
            record = RequestRecord(
                id=new_id(), token=owner, document=dict(asked.document), created=moment()
            )
            ticket = self._tickets[record.id] = Ticket(self.book.publish(record))
            self.changed.notify_all()
        return ticket

    def find(self, id: str) -> Ticket | None:
        """The request of an id, which another service of this root may have been asked."""
        with self.changed:
            if id not in self._tickets:
                self.adopt()
            return self._tickets.get(id)

    def tickets(self) -> list[Ticket]:
        """Every request, the oldest first."""
        with self.changed:
            return sorted(self._tickets.values(), key=_age)

    def open(self) -> list[Ticket]:
        """The requests that have not ended, the oldest first."""
        with self.changed:
            found = [ticket for ticket in self._tickets.values() if ticket.is_open]
        return sorted(found, key=_age)

    def granted(self, owner: str) -> Container[str]:
        """Keys of the finished stores that a token asked for: it may read them. Never waits."""
        return self._grants.get(owner, frozenset())

    def told(self, sentence: str, source: str = "") -> str:
        """A sentence for a client, without paths of this machine. source: that it is about."""
        about = self.settings.sources.get(source)
        return without_paths(sentence, self._paths | (about.paths if about else {}))

    def adopt(self) -> None:
        """Take up requests on the disk that are not known here. Raises StorageFailed."""
        with self.changed:
            for id in set(self.book.ids()) - set(self._tickets):
                record = self.book.request(id)
                if record is not None:
                    found = Ticket(record, self.book.resolution(id), self.book.outcome(id))
                    self._tickets[id] = found
                    self._grant(found)

    def see_others(self) -> None:
        """What another service of this root has found out or ended is so here too."""
        with self.changed:
            for ticket in self.open():
                if ticket.resolution is None:
                    ticket.resolution = self.book.resolution(ticket.id)
                outcome = self.book.outcome(ticket.id)
                if outcome is not None:
                    self._settle(ticket, outcome)

    def resolve(self, ticket: Ticket, found: ResolutionRecord) -> None:
        """Write what a request means; one whose store is finished has ended.

        Raises BuildRefused where there is no room, StorageFull, StorageFailed.
        """
        with self.changed:
            if not ticket.is_open or ticket.resolution is not None:
                return
            if not self.is_finished(found.key):
                check_room(found, self.open(), self.root, self.settings.quotas)
            ticket.resolution = self.book.publish(found)
            if self.is_finished(found.key):
                self.finish(ticket)
            self.changed.notify_all()

    def finish(self, ticket: Ticket) -> None:
        """The store of a request is there."""
        self._end(ticket, FINISHED, OK)

    def fail(self, ticket: Ticket, status: int, sentence: str, details: str = "") -> None:
        """End a request without a store. status: of HTTP. details: for the administrator."""
        self._end(ticket, FAILED, status, self.told(sentence, ticket.source), details)

    def cancel(self, ticket: Ticket) -> None:
        """End a request that is not wanted any more."""
        self._end(ticket, CANCELLED, GONE, "cancelled by who asked; what was done is kept")

    def save(self) -> None:
        """Write outcomes for which there was no room. Raises StorageFull, StorageFailed."""
        with self.changed:
            for ticket in self._tickets.values():
                if ticket.unsaved and ticket.outcome is not None:
                    try:
                        ticket.outcome = self.book.publish(ticket.outcome)
                    except CorruptStore as problem:  # stands where it belongs, and will stay there
                        self.note(f"builds: the outcome of {ticket.id} is not kept: {problem}")
                    ticket.unsaved = False

    def collect(self) -> None:
        """Forget old requests that grant nothing. Raises StorageFailed."""
        with self.changed:
            for ticket in list(self._forgettable()):
                self.book.remove(ticket.id)
                del self._tickets[ticket.id]
            self._grants = _grants_of(self._tickets.values())
            self.book.sweep()

    def _forgettable(self) -> Iterator[Ticket]:
        """Requests that grant nothing, and are old or more than a token may leave behind."""
        granting: set[tuple[str, str]] = set()
        others: Counter[str] = Counter()
        for ticket in reversed(self.tickets()):  # of several that grant one store the newest
            outcome, grant = ticket.outcome, (ticket.owner, ticket.key or "")
            if outcome is None:
                continue
            if outcome.state == FINISHED and grant not in granting:
                granting.add(grant)
                if self.is_finished(grant[1]):
                    continue
            others[ticket.owner] += 1
            surplus = others[ticket.owner] > KEPT and seconds_since(ticket.record.created) >= HOUR
            if surplus or seconds_since(outcome.ended) >= self.settings.keep:
                yield ticket

    def _end(
        self, ticket: Ticket, state: str, status: int, error: str = "", details: str = ""
    ) -> None:
        """Write how a request ended, once; on a full disk it is remembered, and written later."""
        outcome = OutcomeRecord(
            id=ticket.id, state=state, status=status, error=error, details=details, ended=moment()
        )
        with self.changed:
            if not ticket.is_open:
                return
            try:
                outcome = self.book.publish(outcome)
            except (PiCacheError, OSError) as problem:
                ticket.unsaved = True
                self.note(f"builds: the outcome of {ticket.id} is not written yet: {problem}")
            self._settle(ticket, outcome)

    def _settle(self, ticket: Ticket, outcome: OutcomeRecord) -> None:
        ticket.outcome = outcome
        self._grant(ticket)
        self.changed.notify_all()

    def _grant(self, ticket: Ticket) -> None:
        """Let a token read the finished store that it asked for."""
        for owner, keys in _grants_of([ticket]).items():
            self._grants.setdefault(owner, set()).update(keys)


def _grants_of(tickets: Iterable[Ticket]) -> dict[str, set[str]]:
    """The keys of the finished stores that were asked for, by the name of the token."""
    grants: dict[str, set[str]] = {}
    for ticket in tickets:
        if ticket.key and ticket.outcome is not None and ticket.outcome.state == FINISHED:
            grants.setdefault(ticket.owner, set()).add(ticket.key)
    return grants


def _age(ticket: Ticket) -> tuple[str, str]:
    return ticket.record.created, ticket.id
