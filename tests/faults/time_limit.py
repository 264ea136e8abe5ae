"""A time limit of SLURM that is too short, and is kept: it ends jobs that nobody has warned.

SLURM counts limits in minutes and looks at them twice a minute, so that a round takes two.
"""

from __future__ import annotations

import os
from pathlib import Path

from pi_cache.integrity.verification import verify
from pi_cache.reader import open_store
from pipeline.cluster.notes import notes_of
from pipeline.cluster.workplan import Planned, read_plan
from tests.cluster.jobs_of_digits import SHARDS, Trial, invoke, serial_digest
from tests.cluster.slurm_lab import SlurmLab, missing_programs, wait_for
from tests.faults import Loop, demand, scratch

SECONDS = 17.0
"""What each shard takes: six of them, of one element, do not fit into the limit."""
LIMIT = 150.0
"""Seconds until SLURM has ended all; it was seen to take 90."""
UNWARNED = ("--sbatch-line=--time=1", "--sbatch-line=--signal=B:CONT@10")
"""A minute, of which the elements do not know; the warning is a signal that does nothing."""


def limit_round(seed: int) -> str:
    """Jobs that the limit ends, and those that are submitted again; how elements ended."""
    with scratch(in_memory=False) as folder:
        lab = SlurmLab(folder / "slurm")
        before = {name: os.environ.get(name) for name in ("PATH", "SLURM_CONF")}
        os.environ.update({name: lab.environment[name] for name in before})
        try:
            lab.start()
            return _limited(lab, folder)
        finally:
            lab.stop()
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def _limited(lab: SlurmLab, folder: Path) -> str:
    fast = folder / "fast"
    trial = Trial(folder, seconds=SECONDS, more={"PI_TEST_FAST": str(fast)})
    words = ("--elements", "2", "--rounds", "0", "--time", "10", *UNWARNED, *trial.setup())
    told = invoke(*trial.words(), *words)
    planned = read_plan(Path(told["plan"]))
    lab.wait(told["array"], told["finish"], seconds=LIMIT)
    ends = _check_ended(lab, planned, told["array"])
    done = invoke("status", str(planned.folder), "--json")["shards"]["done"]
    demand(0 < done < SHARDS, f"{done} of {SHARDS} shards were done by then")
    fast.touch()
    again = invoke("resubmit", str(planned.folder), "--json")
    lab.wait(again["array"], again["finish"], seconds=LIMIT)
    _check_finished(planned, folder)
    begun = sum(trial.computed().values())
    demand(begun <= SHARDS + 2, f"{begun} shards were begun, of which 2 in vain at most")
    return ends


def _check_ended(lab: SlurmLab, planned: Planned, array: str) -> str:
    """That the limit ended all elements, by what SLURM says; what they say themselves."""
    said = lab.call("scontrol", "show", "job", array)
    demand(said.count("JobState=TIMEOUT") == 2, f"SLURM says: {said}")
    demand(not (planned.store() / "manifest.json").exists(), "the store is finished")
    wait_for(lambda: not any(seen.is_alive for seen in notes_of(planned)), "no element works")
    return ", ".join(sorted({seen.state for seen in notes_of(planned)}))


def _check_finished(planned: Planned, folder: Path) -> None:
    store = open_store(planned.store())
    demand(store.manifest.digest == serial_digest(folder / "serial"), "it is another store")
    demand(not verify(store.path), "it does not verify")


def _lacking() -> str:
    missing = missing_programs()
    return f"{', '.join(missing)} missing (apt: slurm-wlm, munge)" if missing else ""


LOOPS = {"time limit": Loop(limit_round, ci=0, soak=1, lacking=_lacking)}
