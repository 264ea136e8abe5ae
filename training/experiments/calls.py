"""Commands of other rooms, run as a user would type them and printed so."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
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
        command = [sys.executable, "-m", MODULES[name], *texts, "--json"]
        told = []
        with tempfile.TemporaryFile("w+", encoding="utf-8") as printed:
            with subprocess.Popen(
                command, stdout=printed, stderr=subprocess.PIPE, text=True, env=environment
            ) as process:
                for line in process.stderr or ():  # at once: a build takes minutes
                    told.append(line.rstrip())
                    say(f"  {told[-1]}")
            printed.seek(0)
            return _answer(name, texts, process.returncode, printed.read(), told)

    return call


def _answer(
    name: str, words: list[str], code: int, printed: str, told: Sequence[str]
) -> dict[str, Any]:
    """What a command printed. Raises CommandFailed, BuilderNotInstalled."""
    if any("No module named" in line for line in told) and not printed:
        raise BuilderNotInstalled(
            "the stores of an experiment are built by the pipeline; install it with"
            " pip install 'pi-cache[pipeline]'"
        )
    if code:
        last = ([line for line in told if line] or ["it said nothing"])[-1]
        raise CommandFailed(
            f"{shlex.join([name, *words])} ended with {code}: {last}; run it alone to"
            " see all of it, and then the experiment again, which goes on"
        )
    found: dict[str, Any] = json.loads(printed)
    return found
