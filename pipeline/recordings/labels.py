"""Labels of samples: codes of the data set, checked against what it has published."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pi_cache.errors import SourceError
from pipeline.recordings.base import Facts
from pipeline.recordings.text import line_of


def constant_labels(code: int, samples: int) -> np.ndarray:
    """One code for all samples (T,) int64, read-only, in the memory of one."""
    return np.broadcast_to(np.int64(code), (samples,))


def parse_codes(column: np.ndarray, facts: Facts, path: Path) -> np.ndarray:
    """Codes (T,) int64 of a column of `read_numbers`. Raises SourceError for an unknown one."""
    known = np.array(sorted(facts.labels), np.float64)
    wrong = np.flatnonzero(~np.isin(column, known))
    if len(wrong):
        line = line_of(path, int(wrong[0]))
        raise SourceError(
            f"{path}, line {line}: the label is {column[wrong[0]]:g}, expected one of"
            f" {', '.join(map(str, facts.labels))}; is this a file of {facts.title}?"
        )
    return column.astype(np.int64)
