"""The large plan of the benchmark, with fewer samples: every phase, and the files of the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.simulated import INVENTED, PHASES, WORK, planned_of
from pi_cache.reader import open_store
from pipeline.plan import choose_shard_samples, count_files
from pipeline.sources.kinds import KINDS

IMAGENET = 1_280_000
ARRAYS, TABLES = 5, 2
"""images, status, points, offsets, inputs; and ids, labels."""


def test_a_large_plan_goes_from_phase_to_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "invented", INVENTED)
    samples = 20_000
    said = {name: WORK[name](tmp_path, samples) for name in PHASES}
    assert said["plan"] == "6 shards of 3336"
    assert said["status"] == "3 shards done, 3 missing"
    assert said["resume"] == "3 shards of 3336"
    store = open_store(planned_of(tmp_path).store())
    assert len(store) == samples and store.manifest.status == {"OK": samples}
    files = sum(1 for path in store.path.rglob("*") if path.is_file())
    assert files == count_files(6, ARRAYS, TABLES)
    assert said["finish"].startswith(f"{files} files, ")


def test_a_store_of_the_size_of_imagenet_has_under_two_thousand_files() -> None:
    shard = choose_shard_samples(IMAGENET, 0.001, 20_000)
    assert count_files(-(-IMAGENET // shard), ARRAYS, TABLES) < 2000
