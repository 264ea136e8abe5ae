"""Progress lines: rate and time left count this run alone."""

from __future__ import annotations

import time

import pytest

from pipeline import progress
from pipeline.progress import Progress


def test_the_line_counts_this_run_alone() -> None:
    told = Progress()
    assert told.line(60) == "60 s: no shard is done yet"
    told(8, 10, 100, 300)  # seven shards were kept from an earlier run
    assert told.line(50) == "shard 8 of 10, 2 samples/s, about 100 s left"
    told(9, 10, 100, 300)
    assert told.line(50) == "shard 9 of 10, 4 samples/s, about 25 s left"


def test_a_plain_line_a_minute_even_when_no_shard_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.05)
    with Progress():
        time.sleep(0.3)
    said = capsys.readouterr().err
    assert said.count("no shard is done yet") >= 2
    assert "\r" not in said
