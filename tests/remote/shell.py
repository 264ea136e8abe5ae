"""Commands of the cache, one after the other in one process: a line of JSON each, there and back.

obstore runs here, in a process that nobody forks.
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout

from pi_cache.cli import main


def run(words: list[str], surroundings: dict[str, str]) -> tuple[object, str, str]:
    """Exit status, and what the command says on each of its outputs."""
    os.environ.update(surroundings)
    sys.argv = ["pi-cache", *words]
    told, talk = io.StringIO(), io.StringIO()
    with redirect_stdout(told), redirect_stderr(talk):
        try:
            main()
            status: object = 0
        except SystemExit as end:
            status = end.code or 0
    return status, told.getvalue(), talk.getvalue()


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(*json.loads(line))), flush=True)
