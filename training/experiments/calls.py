"""Commands of other rooms, run as a user would type them and printed so."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pi_cache.errors import BuilderNotInstalled, PiCacheError

MODULES = {"pipeline": "pipeline.cli", "pi-cache": "pi_cache.cli"}
Say = Callable[[str], None]
Caller = Callable[..., dict[str, Any]]
"""Called with the words of a command, gives the JSON that it printed."""


class CommandFailed(PiCacheError, RuntimeError):
    """A command that an experiment needs has failed; what it said stands above."""


def caller(root: Path, say: Say) -> Caller:
    """What runs commands on a cache root. Its calls raise CommandFailed, BuilderNotInstalled."""

    def call(name: str, *words: str | Path) -> dict[str, Any]:
        texts = [str(word) for word in words]
        say(f"$ {shlex.join([name, *texts])}")
        environment = {**os.environ, "PI_CACHE": str(root)}
        done = subprocess.run(
            [sys.executable, "-m", MODULES[name], *texts, "--json"],
            capture_output=True,
            text=True,
            env=environment,
        )
        for line in done.stderr.splitlines():
            say(f"  {line}")
        return _answer(name, texts, done)

    return call


def _answer(name: str, words: list[str], done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a command printed. Raises CommandFailed, BuilderNotInstalled."""
    if "No module named" in done.stderr and not done.stdout:
        raise BuilderNotInstalled(
            "the stores of an experiment are built by the pipeline; install it with"
            " pip install 'pi-cache[pipeline]'"
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise CommandFailed(
            f"{shlex.join([name, *words])} ended with {done.returncode}: {last}; run it alone to"
            " see all of it, and then the experiment again, which goes on"
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found
