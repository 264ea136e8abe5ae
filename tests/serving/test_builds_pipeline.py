"""Builds on demand with the pipeline itself, in processes of its own."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pi_cache.reader import open_store
from pi_cache.serving.builds.sources import ListedSource
from tests.cluster.hard_source import write_hard
from tests.serving import builds_lab
from tests.serving.builds_lab import (
    Lab,
    ask,
    begun,
    check_store,
    child_of,
    ended,
    finished,
    shards_done,
    wait,
)

SITE = Path(__file__).parents[1] / "cluster" / "site"
SHARDED = {"source": "digits", "limit": 1030}
"""More than 1,024 samples: a build of several shards."""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    yield from builds_lab.lab(tmp_path / "root")


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of marks of shards that are begun; children do what $PI_TEST_* says."""
    folder = tmp_path / "marks"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(SITE))
    monkeypatch.setenv("PI_TEST_MARKS", str(folder))
    return folder


def test_images_by_the_largest_of_all_are_built_with_the_store_that_they_need(lab: Lab) -> None:
    builds = lab.start()
    ticket = ask(builds, {"source": "digits", "limit": 24, "image": {"normalise": "dataset-max"}})
    key = finished(builds, ticket)
    check_store(builds, ticket, 24)
    raw = {path.name for path in (builds.root / "stores").iterdir()} - {key}
    assert ticket.resolution is not None and ticket.resolution.keys == [*raw, key]


def test_gramian_fields_of_listed_signals(
    lab: Lab, tmp_path: Path, rng: np.random.Generator
) -> None:
    np.save(tmp_path / "waves.npy", rng.normal(size=(6, 20, 1)))
    text, options = f"array:{tmp_path / 'waves.npy'}", {"sample": "signal"}
    listed = {"waves": ListedSource(name="waves", text=text, options=options)}
    builds = lab.start(sources=listed, executor="slurm", time_limit=60.0)
    ticket = ask(builds, {"source": "waves", "gramian": {"size": 10}})
    store = open_store(builds.root / "stores" / finished(builds, ticket))
    assert store.spec.gramian is not None and store.spec.gramian.size == 10
    assert len(store) == 6


def test_two_services_help_each_other_and_one_is_killed_meanwhile(
    lab: Lab, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PI_TEST_SECONDS", "0.5")
    one, two = lab.start(executor="serial"), lab.start(executor="serial")
    first, second = ask(one, SHARDED), ask(two, SHARDED, "bob")
    process = child_of(one, first)
    wait(lambda: shards_done(one, first))
    os.kill(process, signal.SIGKILL)
    monkeypatch.setenv("PI_TEST_SECONDS", "0")
    assert finished(one, first) == finished(two, second)
    check_store(one, first, 1030)
    counts = Counter(begun(marks))
    assert sum(counts.values()) <= len(counts) + 1, "only what was in flight is computed again"


def test_a_sample_that_ends_whoever_reads_it_costs_that_sample(
    lab: Lab, marks: Path, tmp_path: Path
) -> None:
    text = write_hard(tmp_path / "hard.json", lab.root, 4, {13: "exits"})
    builds = lab.start(f"hard={text}", workers=1)
    ticket = ask(builds, {"source": "hard"})
    store = open_store(builds.root / "stores" / finished(builds, ticket))
    assert dict(store.manifest.status) == {"OK": 31, "CRASH": 1}
    assert any("no estimate" in note for note in lab.notes), "it ended the one that measured too"


def test_a_failing_shard_and_a_source_that_is_gone(
    lab: Lab, marks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PI_TEST_ERROR", "0")
    builds = lab.start("digits=digits", f"gone=array:{tmp_path / 'gone.npy'}")
    ticket, gone = ask(builds, {"source": "digits", "limit": 8}), ask(builds, {"source": "gone"})
    told = ended(builds, gone)
    assert told["state"] == "failed" and "gone.npy" not in told["error"].replace("gone", "", 1)
    assert str(tmp_path) not in told["error"]
    assert "ended with status 1" in ended(builds, ticket)["error"]
    assert ticket.outcome is not None and "is on fire" in ticket.outcome.details
    assert not (builds.root / "stores" / str(ticket.key) / "manifest.json").exists()
