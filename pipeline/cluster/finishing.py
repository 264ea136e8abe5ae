"""After the last shard of a plan: the manifest; or another round, or what is missing and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pi_cache.errors import SourceError, UnfinishedStore
from pi_cache.ledger import finish
from pi_cache.manifest import StoreManifest
from pipeline.build import versions_of
from pipeline.cluster.jobs import RoundRecord, given_up_of, missing_of, round_of, submit_round
from pipeline.cluster.notes import TRIES, failures_of
from pipeline.cluster.workplan import Planned, runs_of

NAMED = 10
"""Failed shards that a message names."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Finished:
    """What came of it: the manifest, or the round that was submitted because shards are missing."""

    manifest: StoreManifest | None
    round: RoundRecord | None = None


def finish_plan(
    planned: Planned, say: Say, *, resubmit: int = 0, check_data: bool = True
) -> Finished:
    """Finish the store of a plan. resubmit: rounds that may be submitted for missing shards.

    check_data: compare the bytes of the samples with those that were planned.
    Raises UnfinishedStore with what is missing and why, SourceError where the samples have changed
    since the plan was made, or cannot be read, and what `pi_cache.ledger.finish` raises.
    """
    missing = missing_of(planned)
    if not missing:
        if check_data:
            check_bytes(planned, say)
        else:
            say("warning: the samples are not compared with those that were planned")
        try:
            return Finished(finish(planned.build(), versions=versions_of(planned.build().spec)))
        except UnfinishedStore as error:  # a record did not hold, and is gone now
            say(str(error))
            missing = missing_of(planned)
            if not missing:
                raise UnfinishedStore(
                    f"{error}; none of them is of this plan: pipeline submit the same, which plans "
                    "what is missing now"
                ) from None
    hopeless = set(given_up_of(planned))
    if resubmit and set(missing) - hopeless:
        left = len(set(missing) - hopeless)
        say(f"{len(missing)} shards are missing ({numbers_text(missing)}): submitted again")
        return Finished(None, submit_round(planned, round_of(planned, left, resubmit - 1)))
    raise UnfinishedStore("\n".join(missing_lines(planned, missing)))


def check_bytes(planned: Planned, say: Say) -> None:
    """Raise SourceError where the samples have changed since they were planned; reads them all.

    So too where they cannot be read: jobs compare no bytes, and shards of changed samples would be
    found by the key of the old ones.
    """
    spec = planned.plan.store_spec()
    try:
        source = planned.source(say)
        found = source.fingerprint()
    except SourceError as error:
        raise SourceError(
            f"the samples cannot be compared with those that were planned: {error}; run pipeline "
            f"finish {planned.quoted} where they can be read, or add --skip-data-check if you know "
            "that they have not changed"
        ) from None
    if found != spec.source.fingerprint:
        raise SourceError(
            f"{source.kind}:{source.location} has changed since {planned.folder.name} was planned "
            f"(fingerprint {found[:12]}, expected {spec.source.fingerprint[:12]}): its shards may "
            f"mix old and new samples; pi-cache rm {spec.key[:12]}, and submit again"
        )


def missing_lines(planned: Planned, missing: list[int]) -> list[str]:
    """What is missing of a plan, why as far as known, and what to do next."""
    total = len(planned.plan.numbers)
    lines = [f"{planned.store()}: {len(missing)} of {total} shards are missing: "
             f"{numbers_text(missing)}"]  # fmt: skip
    last = {failure.shard: failure for failure in failures_of(planned)}
    failed = [last[k] for k in missing if k in last]
    lines += [f"  shard {f.shard} failed on {f.node}: {f.error}" for f in failed[:NAMED]]
    if len(failed) > NAMED:
        lines.append(
            f"  and {len(failed) - NAMED} more; see pipeline logs {planned.quoted} --failed"
        )
    lines.append(f"to compute them: pipeline resubmit {planned.quoted}")
    if given_up_of(planned):
        lines[-1] += f" --retry-failed (those that failed {TRIES} times are left alone without it)"
    return lines


def numbers_text(numbers: Iterable[int]) -> str:
    """Rising numbers in few words: `0-4, 7, 9-12`."""
    runs = runs_of(list(numbers))
    words = [str(a) if b == a + 1 else f"{a}-{b - 1}" for a, b in runs[:NAMED]]
    return ", ".join(words) + (f" and more, up to {runs[-1][1] - 1}" if len(runs) > NAMED else "")
