"""File systems of our own: they are made empty, they lose power, and they leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import mounts
from tests.faults.mounts import KINDS, PREFIX, REQUIRED, cut_power, disk, lacking, memory, resize


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_not_synced_is_gone_with_the_power(kind: str) -> None:
    mounts.skip_without(lacking(kind))
    with disk(kind) as power:
        (power.place / "before").write_bytes(b"x" * 9000)
        os.sync()
        (power.place / "after").write_bytes(b"x" * 9000)
        cut_power(power.place)
        with pytest.raises(OSError, match="Input/output error"):
            (power.place / "late").write_bytes(b"x")
        power.unmount()
        power.mount()
        left = {path.name for path in power.place.iterdir()} - {"lost+found"}
        assert left == {"before"} and (power.place / "before").read_bytes() == b"x" * 9000
    assert not power.place.exists()


def test_memory_runs_full_and_grows() -> None:
    mounts.skip_without(lacking())
    with memory(1 << 16) as place:
        with pytest.raises(OSError, match="No space left"):
            (place / "file").write_bytes(bytes(1 << 17))
        resize(place, 1 << 18)
        (place / "file").write_bytes(bytes(1 << 17))


def test_what_a_killed_run_left_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    mounts.skip_without(lacking())
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with memory(1 << 16) as other:
        left = other.parent.with_name(f"{PREFIX}{dead.pid}.left")
        place = left / "memory"
        place.mkdir(parents=True)
        mounts._mount("-t", "tmpfs", "-o", "size=65536", "tmpfs", str(place))
        mounts._clear_left.cache_clear()
        with memory(1 << 16):
            assert not left.exists() and other.exists()
        assert not any(left in path.parents for path in mounts._mounted(left))


def test_what_is_required_is_not_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRED, raising=False)
    mounts.skip_without("")
    with pytest.raises(pytest.skip.Exception, match="needs root"):
        mounts.skip_without("needs root")
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match=f"{REQUIRED} is set, and this test needs root"):
        mounts.skip_without("needs root")


def test_without_root_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert lacking.__wrapped__("xfs") == "needs root, to mount file systems"


def test_a_mount_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounts.skip_without(lacking())
    monkeypatch.setitem(mounts.OPTIONS, "ext4", "loop,no-such-option")
    assert "needs to mount ext4: mount -t ext4" in lacking.__wrapped__("ext4")
