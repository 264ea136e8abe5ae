"""How far the jobs of a plan are: from the ledger of its store, and from what elements say."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from pi_cache import files
from pi_cache.quantities import seconds_text
from pipeline.claims import recorded_shards
from pipeline.cluster.finishing import numbers_text
from pipeline.cluster.jobs import rounds_of
from pipeline.cluster.notes import TRIES, Seen, count_failures, notes_of
from pipeline.cluster.slurm import job_states
from pipeline.cluster.workplan import Planned


@dataclass(frozen=True, kw_only=True)
class PlanStatus:
    """A plan at one moment; shards by what is known of them, each in one list.

    failed: missing, and tried in vain; given_up: those of them that are not tried again.
    rate: samples a second of all that run now. seconds_left: None where nothing runs.
    jobs: those of SLURM by state, None where it cannot be asked.
    """

    planned: Planned
    finished: bool
    done: list[int]
    running: list[int]
    failed: list[int]
    given_up: list[int]
    missing: list[int]
    rate: float
    seconds_left: float | None
    elements: list[Seen]
    jobs: dict[str, int] | None

    def samples(self, shards: list[int]) -> int:
        """How many samples some shards have."""
        return self.planned.plan.samples_of(shards)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        shards = {name: getattr(self, name)
                  for name in ("done", "running", "failed", "given_up", "missing")}  # fmt: skip
        return {
            "plan": str(self.planned.folder),
            "store": str(self.planned.store()),
            "finished": self.finished,
            "shards": {name: len(found) for name, found in shards.items()},
            "samples": {name: self.samples(found) for name, found in shards.items()},
            "lists": {name: found for name, found in shards.items() if name != "done"},
            "rate": self.rate,
            "seconds_left": self.seconds_left,
            "jobs": self.jobs,
            "nodes": nodes_of(self.elements),
            "elements": [element_document(seen) for seen in self.elements],
        }


def status_of(planned: Planned, *, ask: bool = True) -> PlanStatus:
    """What is known of a plan. ask: SLURM too, about its jobs."""
    numbers, recorded = planned.plan.numbers, recorded_shards(planned.build())
    notes, failures = notes_of(planned), count_failures(planned)
    alive = [seen for seen in notes if seen.is_alive]
    working = {k for seen in alive for k in seen.note.working}
    left = [k for k in numbers if k not in recorded]
    rate = sum(rate_of(seen) for seen in alive)
    rounds = rounds_of(planned)
    ids = [job for round in rounds for job in (round.array, round.finish)]
    states = job_states(ids) if ask and ids else None
    return PlanStatus(
        planned=planned,
        finished=files.exists(planned.store() / "manifest.json"),
        done=[k for k in numbers if k in recorded],
        running=[k for k in left if k in working],
        failed=[k for k in left if k not in working and failures[k]],
        given_up=[k for k in left if failures[k] >= TRIES],
        missing=[k for k in left if k not in working and not failures[k]],
        rate=rate,
        seconds_left=planned.plan.samples_of(left) / rate if rate else None,
        elements=notes,
        jobs=None if states is None else dict(sorted(states.items())),
    )


def rate_of(seen: Seen) -> float:
    """Samples a second that an element has done since its start."""
    return seen.note.samples / seen.note.elapsed if seen.note.elapsed > 0 else 0.0


def nodes_of(elements: list[Seen]) -> dict[str, dict[str, float]]:
    """What was done on each node: elements by state, shards, samples, samples a second now."""
    nodes: dict[str, dict[str, float]] = {}
    for seen in elements:
        found = nodes.setdefault(seen.note.node, defaultdict(float))
        found[seen.state] += 1
        found["shards"] += seen.note.shards
        found["samples"] += seen.note.samples
        found["rate"] += rate_of(seen) if seen.is_alive else 0.0
    return {name: dict(found) for name, found in sorted(nodes.items())}


def element_document(seen: Seen) -> dict[str, Any]:
    """An element, as plain values."""
    note = seen.note
    return {
        "part": note.part,
        "parts": note.parts,
        "state": seen.state,
        "reason": note.reason,
        "node": note.node,
        "host": note.host,
        "process": note.process,
        "batch": dict(note.batch),
        "working": list(note.working),
        "shards": note.shards,
        "samples": note.samples,
        "seconds": note.seconds,
        "elapsed": note.elapsed,
        "silent": seen.age,
    }


def status_lines(status: PlanStatus) -> list[str]:
    """A plan, for people."""
    plan = status.planned.plan
    state = "finished" if status.finished else "unfinished"
    lines = [
        f"plan     {status.planned.folder}",
        f"store    {state}: {status.planned.store()}",
        f"done     {len(status.done):,} of {len(plan.numbers):,} shards, "
        f"{status.samples(status.done):,} of {plan.planned_samples:,} samples",
    ]
    for name in ("running", "failed", "missing"):
        found = getattr(status, name)
        given_up = f" ({len(status.given_up)} given up)" * (name == "failed" and
                                                           bool(status.given_up))  # fmt: skip
        named = f": {numbers_text(found)}" if found else ""
        lines.append(f"{name:<8} {len(found):,} shards{given_up}{named}")
    if status.rate:
        left = seconds_text(status.seconds_left or 0.0)
        lines.append(f"rate     {status.rate:,.3g} samples/s, about {left} left")
    if status.jobs is not None:
        jobs = ", ".join(f"{count} {name}" for name, count in status.jobs.items())
        lines.append(f"jobs     {jobs or 'none in the queue'}")
    for name, node in nodes_of(status.elements).items():
        states = ", ".join(
            f"{node[state]:.0f} {state}"
            for state in ("running", "done", "stopped", "out of time", "failed", "lost")
            if state in node
        )
        lines.append(
            f"node     {name}: elements {states}; {node['shards']:.0f} shards, "
            f"{node['samples']:,.0f} samples"
        )
    return lines
