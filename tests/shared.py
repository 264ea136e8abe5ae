"""Real data that is not part of the repository: found where it lies, else the test is skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def data_folder() -> Path:
    """The folder of all data sets: $PI_SHARED_DATA, or `shared/data` beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("PI_SHARED_DATA") or beside)


def shared_data(name: str) -> Path:
    """The folder of one data set."""
    folder = data_folder() / name
    if not folder.is_dir():
        pytest.skip(f"no {name} data: {folder} does not exist; set PI_SHARED_DATA to have this run")
    return folder
