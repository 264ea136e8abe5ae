"""Fixtures that every room uses."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from collections.abc import Callable

# Before any library starts its threads: tests share cores, and workers are the parallelism.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# What tests hash is remembered apart from what this user has hashed.
os.environ["PI_CACHE_CHECKED"] = tempfile.mkdtemp(prefix="pi-cache-checked-")
atexit.register(shutil.rmtree, os.environ["PI_CACHE_CHECKED"], ignore_errors=True)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

# Timing is never tested: the first example of a kernel compiles it.
settings.register_profile("here", deadline=None)
settings.load_profile("here")


FIRST = ("pipeline", "test_experiments", "cluster", "faults")
"""Folders and files that come first: what the first one compiles serves all, and the longest tests
are not left to one process at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in the order of FIRST, then as they were collected; a file goes to one process."""

    def place(item: pytest.Item) -> int:
        names = (item.path.parent.name, item.path.stem)
        return min((FIRST.index(name) for name in names if name in FIRST), default=len(FIRST))

    items.sort(key=place)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20260101)


@pytest.fixture
def begun() -> Callable[[], list[threading.Thread]]:
    """Returns our threads that run and did not before the test: other tests may keep services."""
    before = set(threading.enumerate())

    def find() -> list[threading.Thread]:
        now = set(threading.enumerate()) - before
        return [thread for thread in now if thread.name.startswith("pi-cache")]

    return find
