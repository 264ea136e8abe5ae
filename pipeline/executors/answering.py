"""The process that calls functions for another one: `alone` starts it.

It answers one call at a time until its pipe closes. It ends with its parent, whatever it computes.
"""

from __future__ import annotations

import contextlib
import sys
from multiprocessing.connection import Connection
from typing import Any

from pi_cache.errors import PiCacheError
from pipeline.engines.child import end_with_parent
from pipeline.executors.signals import leave_to_parent


def main() -> None:
    """Serve until the pipe closes. Arguments: descriptors of the pipe and of the leash."""
    leave_to_parent()
    end_with_parent(int(sys.argv[2]))
    pipe: Connection[Any, Any] = Connection(int(sys.argv[1]))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send(answer(*pipe.recv()))


def answer(function: Any, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    """Whether the function raised, and its result or what it raised."""
    try:
        return False, function(*arguments)
    except (PiCacheError, MemoryError, OSError) as error:
        return True, error
    except Exception as error:  # which may not be one that can be sent
        return True, RuntimeError(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
