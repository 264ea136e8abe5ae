"""Whether two runs are the same one: what decides the result, by content and not by place.

Stores count by key, files of arrays by SHA-256, folds by the ids on each side, networks from other
runs by what those runs are. So a cache that moved changes nothing, and a teacher that is another
one changes every student of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pi_cache import files
from training.runs.spec import RunSpec
from training.tasks import DataSpec, Task
from training.trained import PICKS


def identity(
    spec: RunSpec, task: Task, teachers: Sequence[str], start: str | None
) -> dict[str, Any]:
    """What decides the result of a run, as plain values.

    teachers, start: what tells each network from another, see `network_identity`.
    """
    data = with_digests(spec.data)
    for place in ("root", "folds"):
        del data[place]
    data["stores"] = dict(task.record["stores"])
    data["digests"] = dict(task.record["digests"])
    found = {**spec.to_dict(), "data": data, "teachers": list(teachers), "start": start}
    plain: dict[str, Any] = json.loads(json.dumps(found))  # lists for tuples, as they are read back
    return plain


def with_digests(data: DataSpec) -> dict[str, Any]:
    """A spec of data as plain values; files of arrays by SHA-256."""
    arrays = {name: files.digest(Path(path))[1] for name, path in data.arrays.items()}
    return {**data.to_dict(), "arrays": arrays}


def network_identity(name: str, spec_digest: str | None, sha256: str) -> str:
    """Of a network from another run: what that run is, and which of its epochs; else its bytes."""
    pick = name.rpartition(":")[2]
    return f"{spec_digest or sha256}:{pick if pick in PICKS else 'best'}"


def digest_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of plain values, whatever the order of their names."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
