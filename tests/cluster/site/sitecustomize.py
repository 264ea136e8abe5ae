"""Run by every Python of a job in these tests: shards take a while there, leave a mark, or fail.

$PI_TEST_SECONDS: that each shard takes more. $PI_TEST_MARKS: a folder for a mark a computation.
$PI_TEST_POISON: shards, joined by commas, whose computation ends the process; $PI_TEST_ERROR:
shards that raise.
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
    """Finds `pipeline.shard`, and changes it once it is loaded."""

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != "pipeline.shard":
            return None
        spec = super().find_spec(fullname, path, target)
        assert spec is not None and spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            module.build_shard = watched(module.build_shard)

        spec.loader.exec_module = exec_module
        return spec


def watched(build_shard: Any) -> Any:
    """The function of a shard, with what the environment says beside it."""

    @functools.wraps(build_shard)
    def build_watched(task: Any) -> Any:
        marks = os.environ.get("PI_TEST_MARKS")
        if marks:
            (Path(marks) / f"{task.shard}.{secrets.token_hex(4)}").touch()
        time.sleep(float(os.environ.get("PI_TEST_SECONDS", "0")))
        if str(task.shard) in os.environ.get("PI_TEST_POISON", "").split(","):
            os._exit(9)
        if str(task.shard) in os.environ.get("PI_TEST_ERROR", "").split(","):
            raise RuntimeError("the disk of this node is on fire")
        return build_shard(task)

    return build_watched


sys.meta_path.insert(0, Patched)
