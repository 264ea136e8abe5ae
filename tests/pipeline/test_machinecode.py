"""Machine code that several processes compile at once, or find damaged, is right or made anew."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.kernels import jit, machinecode

ROOT = Path(__file__).resolve().parents[2]


def times(factor: int) -> Any:
    """A kernel that closes over a number, as those of images close over their sizes."""

    @jit.compiled
    def kernel(value: int) -> int:
        return factor * value

    return kernel


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of machine code."""
    monkeypatch.setattr(machinecode, "cache_folder", lambda: tmp_path / "code")
    return tmp_path / "code"


def files_of(code: Path) -> list[Path]:
    return [path for path in code.rglob("*") if path.is_file()]


def is_found(factor: int) -> bool:
    """Whether the code of a kernel is on disk; what it says is right either way."""
    kernel = times(factor)
    assert kernel(10) == 10 * factor
    return bool(kernel.stats.cache_hits)


def test_code_is_compiled_once(code: Path) -> None:
    assert [is_found(factor) for factor in (2, 3, 2, 3)] == [False, False, True, True]


def test_each_finds_its_own_code_whoever_compiles_meanwhile(
    code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes are about to put files in place, in an order that numba's own do not bear.

    numba has an index and the code in two files, whose numbers the second one takes as well.
    """
    replace, late = os.replace, list[tuple[str, str]]()
    calls: list[str] = []

    def interleaved(source: str, target: str) -> None:
        calls.append(target)
        call = len(calls)
        if call == 1:
            assert times(3)(10) == 30
        if call == 3:
            late.append((source, target))
        else:
            replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interleaved)
        assert times(2)(10) == 20
    for source, target in late:
        replace(source, target)
    assert len(calls) > 1
    assert is_found(2) and is_found(3)


@pytest.mark.parametrize("damage", ["flipped", "torn", "empty", "of another"])
def test_damaged_code_is_compiled_anew(code: Path, damage: str) -> None:
    is_found(2)
    [path] = files_of(code)
    content = path.read_bytes()
    if damage == "of another":
        is_found(3)
        [other] = {*files_of(code)} - {path}
        path.write_bytes(other.read_bytes())
    else:
        flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        path.write_bytes({"flipped": flipped, "torn": content[:-9], "empty": b""}[damage])
    assert not is_found(2)
    assert is_found(2), "in place of what was damaged"


def test_code_that_has_no_room_is_compiled_each_time(
    code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*names: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert not is_found(2) and not is_found(2)
    assert files_of(code) == [], "no temporary file is left"
    assert not is_found(2) and is_found(2)


def test_no_other_folder_is_taken(code: Path) -> None:
    """numba would take one beside the source next, where code of changed kernels is found."""
    code.write_text("no folder")
    assert not is_found(2) and not is_found(2)


def test_code_is_read_where_none_can_be_written(
    code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*names: object, **options: object) -> None:
        raise OSError(30, "Read-only file system")

    is_found(2)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert is_found(2) and not is_found(3)


def test_code_is_not_shared_by_versions_of_numpy(
    code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_found(2)
    monkeypatch.setattr(np, "__version__", "1.26.0")
    assert not is_found(2)


CALLED = """
import sys
from pathlib import Path
from pipeline.kernels import machinecode
from tests.pipeline.test_machinecode import times

machinecode.cache_folder = lambda: Path(sys.argv[1])
kernels = {int(factor): times(int(factor)) for factor in sys.argv[2:]}
for _ in range(2):
    assert all(kernel(10) == 10 * factor for factor, kernel in kernels.items())
names = {code.fndesc.mangled_name for it in kernels.values() for code in it.overloads.values()}
print(len(names), sum(sum(kernel.stats.cache_hits.values()) for kernel in kernels.values()))
"""


def test_code_of_equal_names_is_told_apart(code: Path) -> None:
    """numba counts closures in a process, so that the first ones of two have one symbol."""
    for factors, said in {("2",): "1 0", ("3",): "1 0", ("3", "2"): "1 2"}.items():
        words = [sys.executable, "-c", CALLED, str(code), *factors]
        assert subprocess.check_output(words, text=True, cwd=ROOT).strip() == said
