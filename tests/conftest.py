"""Fixtures that every room uses."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

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


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20260101)
