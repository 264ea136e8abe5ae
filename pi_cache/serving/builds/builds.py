"""The builds of a service: who waits, who computes.

One thread looks at everything a few times a second, and nothing else begins or ends a build. An
open request is taken up again by whichever service of the root comes next, and two services of one
root build the same stores together (see `pipeline.sharing`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Iterable
from pathlib import Path
from typing import Any

from pi_cache.catalogue import read_manifest
from pi_cache.errors import PiCacheError, StorageFull
from pi_cache.root import STORES
from pi_cache.serving.builds.asked import Asked, parse_document
from pi_cache.serving.builds.child import builder_module
from pi_cache.serving.builds.desk import Desk, Note
from pi_cache.serving.builds.progress import Meter
from pi_cache.serving.builds.records import ENDED
from pi_cache.serving.builds.refusals import BROKEN, NO_BUILDER, NO_ROOM, BuildRefused
from pi_cache.serving.builds.resolving import Resolver
from pi_cache.serving.builds.runs import FIELDS, IMAGES, Ended, Run, Task, start_run
from pi_cache.serving.builds.settings import BuildSettings
from pi_cache.serving.builds.tickets import Job, Ticket, status_document

BEAT = 0.25
"""Seconds between two looks at what runs."""
LOOK = 2.0
"""Seconds between two looks at what other services of the root have written."""
COLLECT = 3600.0
"""Seconds between two collections of old requests."""
UNPLANNED = 64
"""Samples of a shard of a build that could not be planned."""
NO_STORE = (
    "the build ended without a store of this key: another release may have computed it; ask again"
)


class Builds:
    """What is built on demand for one root. note: told, a line each, for the administrator."""

    def __init__(self, root: Path, settings: BuildSettings, note: Note = lambda text: None) -> None:
        self.root, self.settings, self.note = root, settings, note
        self.desk = Desk(root, settings, self._is_finished, note)
        self._changed = self.desk.changed
        self._jobs: dict[str, Job] = {}
        self._resolvers: dict[str, Resolver] = {}
        self._ending: list[threading.Thread] = []
        self._over = False
        self._looked = self._collected = float("-inf")
        self._thread = threading.Thread(target=self._watch, name="pi-cache builds", daemon=True)

    def start(self) -> None:
        """Take up what is open, and go on with it. Raises StorageFailed."""
        self.desk.adopt()
        self._thread.start()

    def stop(self) -> None:
        """End what runs, gently; the next service of the root goes on with it."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        with self._changed:
            resolvers = list(self._resolvers.values())
            running = [job.run for job in self._jobs.values() if job.run is not None]
        _all_at_once([*(r.stop for r in resolvers), *(r.leave for r in running)])
        for thread in self._ending:
            thread.join()

    def ask(self, owner: str, asked: Asked) -> Ticket:
        """The request of a token, see `Desk.ask`. Raises BuilderNotInstalled besides."""
        builder_module()
        return self.desk.ask(owner, asked)

    def granted(self, owner: str) -> Container[str]:
        """Keys of the finished stores that a token asked for: it may read them. Never waits."""
        return self.desk.granted(owner)

    def is_queued(self, ticket: Ticket) -> bool:
        """Whether it is known what a request means, and its build waits or runs."""
        return (ticket.key or "") in self._jobs

    def status(self, ticket: Ticket) -> dict[str, Any]:
        """What its client is told of a request; reads the disk now and then."""
        with self._changed:
            job = self._jobs.get(ticket.key or "") if ticket.is_open else None
            waiting = [each.key for each in self._jobs.values() if each.run is None]
        position = waiting.index(job.key) + 1 if job and job.key in waiting else None
        progress = None if job is None else job.meter.read().to_dict()
        return status_document(ticket, job, position, progress)

    def counts(self) -> dict[str, int]:
        """How many builds run and wait, and how many requests are looked into, or have ended."""
        with self._changed:
            running = sum(job.run is not None for job in self._jobs.values())
            tickets = self.desk.tickets()
            ended = [ticket.outcome.state for ticket in tickets if ticket.outcome is not None]
            return {
                "running": running,
                "queued": len(self._jobs) - running,
                "resolving": sum(t.is_open and t.key is None for t in tickets),
                **{state: ended.count(state) for state in ENDED},
            }

    def _watch(self) -> None:
        """Look at everything until told to end."""
        while not self._over:
            try:
                self._step()
            except Exception as error:  # such as of the disk, which may be there again
                self.note(f"builds: {type(error).__name__}: {error}")
            with self._changed:
                if not self._over:
                    self._changed.wait(BEAT)

    def _step(self) -> None:
        """One look at everything."""
        now = time.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            self.desk.adopt()
            self.desk.see_others()
            self.desk.save()
        if now - self._collected >= COLLECT:
            self._collected = now
            self.desk.collect()
        self._look_into()
        self._queue()
        self._end_runs()
        self._start_runs()

    def _look_into(self) -> None:
        """Find what requests mean, a few at a time."""
        with self._changed:
            unknown = {ticket.id: ticket for ticket in self.desk.open() if ticket.key is None}
            for id in self._resolvers.keys() - unknown.keys():  # cancelled meanwhile
                threading.Thread(target=self._resolvers[id].stop, daemon=True).start()
            new = [ticket for id, ticket in unknown.items() if id not in self._resolvers]
            for ticket in new[: self.settings.resolvers - len(self._resolvers)]:
                resolver = Resolver(self.root, self.settings, self._is_finished)
                self._resolvers[ticket.id] = resolver
                threading.Thread(target=self._resolve, args=(ticket, resolver), daemon=True).start()

    def _resolve(self, ticket: Ticket, resolver: Resolver) -> None:
        """In a thread of its own: find what a request means."""
        try:
            asked = parse_document(dict(ticket.record.document))
            found = resolver.resolve(ticket.id, asked, self.note)
            if found is not None and not self._over:
                self.desk.resolve(ticket, found)
        except (PiCacheError, OSError) as error:
            self.desk.fail(ticket, refusal_status(error), str(error))
        except Exception as error:
            self.desk.fail(ticket, BROKEN, "the request could not be looked into")
            self.note(f"builds: request {ticket.id}: {type(error).__name__}: {error}")
        finally:
            with self._changed:
                self._resolvers.pop(ticket.id, None)
                self._changed.notify_all()

    def _queue(self) -> None:
        """Queue the build of each request whose key is known: the one of that key, if any."""
        with self._changed:
            for ticket in self.desk.open():
                found = ticket.resolution
                if found is None:
                    continue
                job = self._jobs.get(found.key)
                if job is None:
                    meter = Meter(self.root, found.keys, found.samples, found.estimate)
                    job = self._jobs[found.key] = Job(found, meter)
                if ticket not in job.tickets:
                    job.tickets.append(ticket)

    def _start_runs(self) -> None:
        with self._changed:
            self._ending = [thread for thread in self._ending if thread.is_alive()]
            running = sum(job.run is not None for job in self._jobs.values()) + len(self._ending)
            waiting = [job for job in self._jobs.values() if job.run is None]
            for job in waiting[: max(self.settings.builds - running, 0)]:
                self._start_run(job)

    def _start_run(self, job: Job) -> None:
        """Begin a build, unless its store is finished meanwhile."""
        if self._is_finished(job.key):
            self._over_with(job, Ended())
            return
        job.meter.start()
        try:
            job.run = start_run(self._task(job), self.note)
            self.note(f"build {job.key[:12]}: started for {_names(job.wanted)}")
        except (PiCacheError, OSError) as error:
            self._over_with(job, Ended(str(error)))

    def _task(self, job: Job) -> Task:
        is_gramian = "gramian" in job.resolution.spec
        return Task(
            key=job.key,
            command=FIELDS if is_gramian else IMAGES,
            spec_file=self.desk.book.spec_file(job.resolution),
            root=self.root,
            settings=self.settings,
            shard_samples=int(job.resolution.estimate.get("shard_samples", UNPLANNED)),
        )

    def _end_runs(self) -> None:
        """Settle what is over, and end what nobody wants any more."""
        with self._changed:
            jobs = list(self._jobs.values())
        for job in jobs:
            if not job.wanted:
                self._drop(job)
            elif job.run is not None:
                ended = self._polled(job.run)
                if ended is not None:
                    self._over_with(job, ended)

    def _polled(self, run: Run) -> Ended | None:
        """How a run ended; one that cannot be followed is ended."""
        try:
            return run.poll()
        except Exception as error:
            self._stop_beside(run)
            problem = f"{type(error).__name__}: {error}"
            return Ended("the build could not be followed; ask again to go on", problem)

    def _drop(self, job: Job) -> None:
        """End a build of which every request was cancelled."""
        with self._changed:
            del self._jobs[job.key]
        if job.run is not None:
            self.note(f"build {job.key[:12]}: nobody waits for it any more")
            self._stop_beside(job.run)

    def _stop_beside(self, run: Run) -> None:
        """End a run, in a thread of its own; until then it counts among those that run."""
        self._ending.append(threading.Thread(target=run.stop))
        self._ending[-1].start()

    def _over_with(self, job: Job, ended: Ended) -> None:
        """Tell all who asked how a build ended."""
        finished, sentence = self._is_finished(job.key), ended.sentence or NO_STORE
        self.note(f"build {job.key[:12]}: {'finished' if finished else f'failed: {sentence}'}")
        with self._changed:
            for ticket in job.wanted:
                if finished:
                    self.desk.finish(ticket)
                else:
                    self.desk.fail(ticket, BROKEN, sentence, ended.details)
            self._jobs.pop(job.key, None)

    def _is_finished(self, key: str) -> bool:
        """Whether there is a finished store of a key."""
        try:
            read_manifest(self.root / STORES / key)
        except (PiCacheError, OSError):
            return False
        return True


def refusal_status(error: Exception) -> int:
    """The code of HTTP for an error of asking."""
    if isinstance(error, BuildRefused):
        return error.status
    if isinstance(error, StorageFull):
        return NO_ROOM
    return NO_BUILDER if isinstance(error, ImportError) else BROKEN


def _names(tickets: Iterable[Ticket]) -> str:
    return ", ".join(sorted({ticket.owner or "everybody" for ticket in tickets}))


def _all_at_once(functions: Iterable[Callable[[], Any]]) -> None:
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
