"""Run by every Python of a job in these tests: shards take a while there, leave a mark, or fail.

And `hard` is a kind of source there, see `tests.cluster.hard_source`.

$PI_TEST_SECONDS: that each shard takes more, unless $PI_TEST_FAST is a file. $PI_TEST_MARKS: a
folder for a mark a computation. $PI_TEST_POISON: shards, joined by commas, whose computation ends
the process; $PI_TEST_ERROR: shards that raise. $PI_TEST_GRACE: seconds that a shard may still take
after a signal.
"""

from __future__ import annotations

import functools
import importlib.machinery
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any


class Patched(importlib.machinery.PathFinder):
    """Finds what is in CHANGES, and changes it once it is loaded."""

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname not in CHANGES:
            return None
        spec = super().find_spec(fullname, path, target)
        assert spec is not None and spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            CHANGES[fullname](module)

        spec.loader.exec_module = exec_module
        return spec


def watch(module: Any) -> None:
    module.build_shard = watched(module.build_shard)


def know_hard(module: Any) -> None:
    sys.path.append(str(Path(__file__).resolve().parents[3]))
    from tests.cluster.hard_source import HARD

    module.KINDS["hard"] = HARD


def give_grace(module: Any) -> None:
    module.GRACE = float(os.environ.get("PI_TEST_GRACE", module.GRACE))


CHANGES = {
    "pipeline.shard": watch,
    "pipeline.sources.kinds": know_hard,
    "pipeline.cluster.element": give_grace,
}


def watched(build_shard: Any) -> Any:
    """The function of a shard, with what the environment says beside it."""

    @functools.wraps(build_shard)
    def build_watched(task: Any) -> Any:
        marks = os.environ.get("PI_TEST_MARKS")
        if marks:
            (Path(marks) / f"{task.shard}.{secrets.token_hex(4)}").touch()
        if not Path(os.environ.get("PI_TEST_FAST", "no such file")).exists():
            time.sleep(float(os.environ.get("PI_TEST_SECONDS", "0")))
        if str(task.shard) in os.environ.get("PI_TEST_POISON", "").split(","):
            os._exit(9)
        if str(task.shard) in os.environ.get("PI_TEST_ERROR", "").split(","):
            raise RuntimeError("the disk of this node is on fire")
        return build_shard(task)

    return build_watched


sys.meta_path.insert(0, Patched)
