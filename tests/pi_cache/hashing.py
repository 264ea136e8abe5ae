"""What the tests of hashing share: small files are remembered too, and every hashing is counted."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from pi_cache import checked
from pi_cache.shardfile import OpenFile


def flip(path: Path, position: int) -> None:
    """Change one bit."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def remember_all() -> None:
    """Remember files of any size, however young; for processes that are started anew too."""
    checked.SETTLED = 0.0
    checked.SMALL = 0


class Hashings:
    """The hashings of this process that came to an end: the file's name and the thread of each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, threading.Thread]] = []
        real = OpenFile._sha256

        def counted(file: OpenFile, step: Any) -> str:
            digest = real(file, step)
            self.made.append((file.path.name, threading.current_thread()))
            return digest

        monkeypatch.setattr(OpenFile, "_sha256", counted)

    @property
    def names(self) -> list[str]:
        return sorted(name for name, _ in self.made)

    @property
    def beside(self) -> list[str]:
        """Files hashed by threads other than this one."""
        here = threading.current_thread()
        return [name for name, thread in self.made if thread is not here]

    def clear(self) -> None:
        self.made.clear()


def marks(root: Path) -> list[Path]:
    """Every mark below a folder of marks."""
    return sorted(path for path in root.glob("*/*"))


def hashing_threads() -> list[threading.Thread]:
    """Threads of ours that run."""
    return [thread for thread in threading.enumerate() if thread.name == "pi-cache hashing"]


def age(path: Path, seconds: float) -> None:
    """Make a file or folder look older."""
    changed = path.stat().st_mtime - seconds
    os.utime(path, (changed, changed))
