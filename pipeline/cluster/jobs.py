"""The jobs of a plan: what is submitted, and the record of it beside the plan."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pi_cache import files
from pi_cache.errors import AlreadyPublished, CorruptStore, UnsupportedFormat
from pi_cache.ledger import now
from pi_cache.manifest import Document
from pipeline.claims import recorded_shards
from pipeline.cluster.notes import TRIES, count_failures
from pipeline.cluster.script import Round, array_script, finish_script
from pipeline.cluster.settings import Settings
from pipeline.cluster.slurm import BatchFailed, submit, submit_after
from pipeline.cluster.workplan import Planned


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord(Document):
    """A round that was submitted: ids of the array and of the job after it."""

    what = "record of jobs"

    round: int
    array: str
    finish: str
    elements: int
    created: str


def missing_of(planned: Planned) -> list[int]:
    """Shards of a plan without a record, rising."""
    recorded = recorded_shards(planned.build())
    return [k for k in planned.plan.numbers if k not in recorded]


def given_up_of(planned: Planned) -> list[int]:
    """Missing shards that have failed too often to be tried again."""
    failed = count_failures(planned)
    return [k for k in missing_of(planned) if failed[k] >= TRIES]


def round_of(planned: Planned, missing: int, left: int | None = None) -> Round:
    """The round that computes so many missing shards. left: rounds that may follow it."""
    settings = Settings.from_dict(planned.plan.settings)
    return Round(
        plan=planned.plan,
        settings=settings,
        folder=planned.folder,
        missing=missing,
        left=settings.rounds if left is None else left,
    )


def write_scripts(planned: Planned, round: Round) -> tuple[int, Path, Path]:
    """A new number for a round, and its two scripts in the folder of the plan."""
    names = {path.name for path in files.listing(planned.folder)}
    number = 1
    while f"round-{number}.sh" in names:
        number += 1
    try:
        array = planned.publish(f"round-{number}.sh", array_script(round).encode())
        finish = planned.publish(f"round-{number}-finish.sh", finish_script(round).encode())
    except AlreadyPublished:  # by another command at this moment
        return write_scripts(planned, round)
    return number, array, finish


def submit_round(planned: Planned, round: Round) -> RoundRecord:
    """Submit a round: its array, and the job after it. Raises BatchFailed."""
    number, array, finish = write_scripts(planned, round)
    job = submit(array)
    try:
        after = submit_after(finish, job)
    except BatchFailed as error:
        raise BatchFailed(
            f"the array is submitted as job {job}, but not the job that finishes it ({error}); "
            f"when it has ended, run: pipeline finish {planned.quoted}"
        ) from None
    record = RoundRecord(
        round=number, array=job, finish=after, elements=round.elements, created=now()
    )
    return _publish_record(planned, record)


def _publish_record(planned: Planned, record: RoundRecord) -> RoundRecord:
    """The record, under the next number where another command has submitted at this moment."""
    try:
        planned.publish(f"jobs/{record.round:04d}.json", record.to_bytes())
    except AlreadyPublished:
        return _publish_record(planned, replace(record, round=record.round + 1))
    return record


def rounds_of(planned: Planned) -> list[RoundRecord]:
    """The rounds that were submitted, in their order."""
    found = []
    for path in files.listing(planned.folder / "jobs"):
        with suppress(FileNotFoundError, CorruptStore, UnsupportedFormat):
            found.append(RoundRecord.from_bytes(files.read_bytes(path)))
    return found
