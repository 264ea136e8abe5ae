"""What a cache can take: free space, free inodes, and its budget."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pi_cache import cli, files
from pi_cache.errors import CorruptStore, StorageFull, UnsupportedFormat
from pi_cache.keeping.space import (
    Need,
    check_space,
    read_budget,
    room_of,
    set_budget,
    shortages,
    used_bytes,
)
from pi_cache.quantities import (
    bytes_text,
    core_time_text,
    parse_bytes,
    parse_seconds,
    seconds_text,
)
from tests.faults.struck import installed
from tests.pi_cache.made import make_spec, make_store

DISK = {
    "f_frsize": 4096, "f_blocks": 10**6, "f_bavail": 1000, "f_files": 10**6, "f_favail": 50,
}  # fmt: skip
"""4.1 MB and 50 inodes are free."""
SMALL = Need(bytes=1_000_000, files=40)


class Disk(files.System):
    """The system, on a file system that says so of itself."""

    def __init__(self, **says: int) -> None:
        self.says = DISK | says

    def statvfs(self, path: Any) -> Any:  # type: ignore[override]
        Path(path).stat()  # raises where there is nothing
        return SimpleNamespace(**self.says)


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    with installed(made):
        yield made


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.cli, [str(a) for a in arguments])


def test_what_a_file_system_says(disk: Disk, tmp_path: Path) -> None:
    room = room_of(tmp_path / "not" / "yet" / "there")
    assert (room.free_bytes, room.free_files, room.block) == (4_096_000, 50, 4096)
    assert (room.budget, room.used) == (None, None)
    assert list(tmp_path.iterdir()) == []
    check_space(tmp_path, SMALL)


def test_the_real_file_system_says_something(tmp_path: Path) -> None:
    room = room_of(tmp_path)
    assert room.free_bytes is None or room.free_bytes > 0
    assert room.block > 0


@pytest.mark.parametrize(
    ("need", "message"),
    [
        (Need(bytes=5_000_000, files=10), "needs about 5.0 MB and its file system has 4.1 MB free"),
        # 4.0 MB of data fit, and not with the last blocks of 30 files
        (Need(bytes=4_000_000, files=30), "needs about 4.1 MB and its file system has 4.1 MB free"),
        (Need(bytes=1, files=51), "it needs 51 inodes and 50 are free"),
    ],
)
def test_too_little_is_refused(disk: Disk, tmp_path: Path, need: Need, message: str) -> None:
    with pytest.raises(StorageFull, match=message) as caught:
        check_space(tmp_path, need)
    assert "give another --cache, or insist with --no-space-check" in str(caught.value)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_what_a_file_system_does_not_say_limits_nothing(disk: Disk, tmp_path: Path) -> None:
    disk.says |= {"f_blocks": 0, "f_bavail": 0, "f_files": 0, "f_favail": 0}
    room = room_of(tmp_path)
    assert (room.free_bytes, room.free_files) == (None, None)
    assert shortages(room, Need(bytes=10**15, files=10**9)) == []


def test_a_full_disk_stops_no_build_that_adds_nothing(disk: Disk, tmp_path: Path) -> None:
    disk.says |= {"f_bavail": 0, "f_favail": 0}
    assert shortages(room_of(tmp_path), Need(bytes=0, files=0)) == []
    assert len(shortages(room_of(tmp_path), Need(bytes=1, files=1))) == 2


def test_a_budget(disk: Disk, tmp_path: Path) -> None:
    make_store(tmp_path, make_spec(5))
    used = used_bytes(tmp_path)
    assert used == sum(p.stat().st_size for p in files.tree(tmp_path / "stores"))
    set_budget(tmp_path, used + 1_000_000)
    assert room_of(tmp_path).used == used
    check_space(tmp_path, SMALL)
    larger = Need(bytes=1_000_001, files=1)
    with pytest.raises(StorageFull, match=r"are used, and the budget of this root is 1\.1 MB"):
        check_space(tmp_path, larger)
    set_budget(tmp_path, 1_020_001)
    remedy = rf"see what could go with pi-cache gc --max-bytes 20kB --cache {tmp_path}, or raise"
    with pytest.raises(StorageFull, match=remedy):
        check_space(tmp_path, larger)
    set_budget(tmp_path, 10**12)
    disk.says["f_bavail"] = 10
    with pytest.raises(StorageFull, match=r"its file system has 41\.0 kB free"):
        check_space(tmp_path, SMALL)


def test_the_remedy_names_how_much_may_stay(disk: Disk, tmp_path: Path) -> None:
    place = tmp_path / "stores" / ("0" * 64) / "data"
    place.parent.mkdir(parents=True)
    with place.open("wb") as file:
        file.truncate(900_000_000)
    with pytest.raises(StorageFull, match=rf"gc --max-bytes 800MB --cache {tmp_path}, or give"):
        check_space(tmp_path, Need(bytes=104_000_000, files=1))
    with pytest.raises(StorageFull, match=rf"gc --older-than 30d --cache {tmp_path}, or give"):
        check_space(tmp_path, Need(bytes=1, files=99))


def test_a_budget_is_changed_and_taken_away(tmp_path: Path) -> None:
    assert read_budget(tmp_path) is None
    for size in (10**9, 0, 10**12):
        set_budget(tmp_path, size)
        assert read_budget(tmp_path) == size
        assert len(list((tmp_path / "budget").iterdir())) == 1
    set_budget(tmp_path, None)
    set_budget(tmp_path, None)
    assert read_budget(tmp_path) is None


def test_a_budget_of_the_largest_number_is_followed_by_another(tmp_path: Path) -> None:
    set_budget(tmp_path, 10**9)
    (place,) = (tmp_path / "budget").iterdir()
    place.rename(place.with_name("999999.json"))
    for size in (10**6, 10**7):
        set_budget(tmp_path, size)
        assert read_budget(tmp_path) == size


def test_a_folder_that_may_not_be_read_is_not_counted(tmp_path: Path) -> None:
    from tests.pi_cache.test_removal import Closed

    mine, theirs = (make_store(tmp_path, make_spec(n)) for n in (5, 6))
    set_budget(tmp_path, 10**6)
    with installed(Closed(theirs.name)):
        assert used_bytes(tmp_path) == sum(p.stat().st_size for p in files.tree(mine))
        check_space(tmp_path, Need(bytes=1, files=1))
        with pytest.raises(StorageFull, match=r"is 1\.0 MB \(not counted: 1 folder that may not"):
            check_space(tmp_path, Need(bytes=10**6, files=1))


def test_there_is_no_moment_without_a_budget(tmp_path: Path) -> None:
    set_budget(tmp_path, 10**9)

    seen = []

    class Watching(files.System):
        def unlink(self, path: Any) -> None:  # type: ignore[override]
            seen.append(read_budget(tmp_path))
            Path(path).unlink()

    with installed(Watching()):
        set_budget(tmp_path, 10**6)
    assert seen and seen[-1] == 10**6 and None not in seen


def test_a_damaged_budget_is_not_taken_for_none(tmp_path: Path) -> None:
    set_budget(tmp_path, 10**9)
    (place,) = (tmp_path / "budget").iterdir()
    data = place.read_bytes()
    place.write_bytes(data.replace(b"1000000000", b"9000000000"))
    with pytest.raises(CorruptStore, match="budget SIZE sets it anew"):
        check_space(tmp_path, SMALL)
    set_budget(tmp_path, 10**6)
    assert read_budget(tmp_path) == 10**6


def test_a_root_of_a_newer_release_gets_no_budget(tmp_path: Path) -> None:
    from tests.pi_cache.test_root import change_record

    set_budget(tmp_path, 10**9)
    change_record(tmp_path, format_version=2)
    with pytest.raises(UnsupportedFormat, match="cache root format 2"):
        set_budget(tmp_path, 10)


def test_the_command(tmp_path: Path) -> None:
    make_store(tmp_path, make_spec(5))
    shown = run("budget", "--cache", tmp_path)
    assert shown.exit_code == 0 and "budget  none" in shown.stdout and "free " in shown.stdout
    over = run("budget", "1kB", "--cache", tmp_path)
    assert over.exit_code == 0 and "over the budget: pi-cache gc --max-bytes 1000" in over.stderr
    document = json.loads(run("budget", "2GB", "--json", "--cache", tmp_path).stdout)
    assert (document["budget"], document["used"]) == (2 * 10**9, used_bytes(tmp_path))
    assert "budget  none" in run("budget", "none", "--cache", tmp_path).stdout


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("200GB", 200 * 10**9), ("1.5 TB", 15 * 10**11), ("10GiB", 10 * 2**30), ("3k", 3000),
        ("500", 500), ("0", 0), ("7 mb", 7_000_000),
    ],
)  # fmt: skip
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "1e9", "-1", "1 GBs", "nan", "1,000", "9" * 400])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity; give a size such as 200GB"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30d", 30 * 86_400),
        ("12h", 43_200),
        ("90min", 5400),
        ("2 w", 14 * 86_400),
        ("0.5d", 43_200),
    ],
)
def test_ages_are_read(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (bytes_text(0), "0.0 kB"), (bytes_text(999_999), "1000.0 kB"),
        (bytes_text(3.21e9), "3.2 GB"), (bytes_text(4e15), "4,000.0 TB"),
        (seconds_text(1.25), "1.2 s"), (seconds_text(600), "10 min"), (seconds_text(9000), "2.5 h"),
        (seconds_text(40 * 86_400), "40 d"), (core_time_text(3.6e6), "1,000.0 core-h"),
        (core_time_text(300), "5 core-min"),
    ],
)  # fmt: skip
def test_quantities_are_written(text: str, expected: str) -> None:
    assert text == expected
