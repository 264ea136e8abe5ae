"""The store that most tests of datasets read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pi_cache.layout import Layout
from pi_cache.specs import Status
from tests.pi_cache.made import make_columns, make_spec, make_store

SAMPLES = 40
LAYOUTS = {
    "chunked": Layout(shard_samples=8, chunk_samples=4, point_capacity=40_000),
    "mapped": Layout.mapped(shard_samples=8, point_capacity=40_000),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float16 store of 40 samples, about a third of them OK, in a folder with a Korean name."""
    root = tmp_path_factory.mktemp("stores") / "위상 이미지"
    return make_store(root, make_spec(SAMPLES), LAYOUTS["chunked"])


@pytest.fixture(scope="module")
def ok() -> np.ndarray:
    """Numbers of the OK samples."""
    return np.flatnonzero(make_columns(make_spec(SAMPLES))["status"] == Status.OK)
