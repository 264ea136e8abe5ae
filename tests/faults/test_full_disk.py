"""A disk that runs full in mid-build costs time and nothing else."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pi_cache import open_store
from pi_cache.integrity.verification import verify
from tests.faults.full_disk import LOOPS
from tests.faults.mounts import lacking, memory, skip_without

BUILD = [sys.executable, "-m", "pipeline.cli", "build-pis", "digits", "--limit", "600"]
SETTINGS = ["--shard-samples", "8", "--executor", "serial", "--json"]


@pytest.mark.parametrize("name", LOOPS)
def test_full_disks(name: str) -> None:
    loop = LOOPS[name]
    skip_without(loop.lacking())
    ends = loop.rounds(1, loop.ci)
    assert not any(end.rpartition(" ")[2] == "finished" for end in ends), ends


def build(cache: Path) -> subprocess.CompletedProcess[str]:
    command = [*BUILD, "--cache", str(cache), *SETTINGS]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def fill(place: Path) -> Path:
    """A file of somebody else, as large as there is room."""
    other = place / "of somebody else"
    with other.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(1 << 16))
    return other


def build_and_fill(place: Path) -> tuple[int, str, Path]:
    """Exit status, talk, and the file of somebody else that takes all room in mid-build."""
    command = [*BUILD, "--cache", str(place / "cache"), *SETTINGS]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as builder:
        while not list(place.glob("cache/stores/*/ledger/00*.json")) and builder.poll() is None:
            pass
        builder.send_signal(signal.SIGSTOP)  # the disk is full at once, whatever the speed here
        other = fill(place)
        builder.send_signal(signal.SIGCONT)
        _, talk = builder.communicate(timeout=120)
    return builder.returncode, talk, other


def test_a_disk_that_is_filled_in_mid_build(tmp_path: Path) -> None:
    skip_without(lacking())
    undisturbed: dict[str, Any] = json.loads(build(tmp_path).stdout)
    with memory(64 << 20) as place:
        status, talk, other = build_and_fill(place)
        assert status == 1, talk
        *_, told, last = talk.splitlines()
        assert re.fullmatch(r"the disk is full: \d+ of 75 shards are finished and kept", told), talk
        assert re.match(r"pipeline: .*: No space left on device; 0 bytes are free", last), talk
        assert str(place) in last and "free some space" in last and "command again" in last
        assert "unfinished" in cache_listing(place / "cache")
        other.unlink()
        again = build(place / "cache")
        done = json.loads(again.stdout)
        assert (done["key"], done["digest"]) == (undisturbed["key"], undisturbed["digest"])
        assert done["kept"] > 0 and done["built"] > 0 and "are kept" in again.stderr
        store = open_store(done["path"], check="always")
        assert verify(store.path) == [] and store.read_all("images").shape[0] == 600


def cache_listing(cache: Path) -> str:
    command = [sys.executable, "-m", "pi_cache.cli", "ls", "--cache", str(cache)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
