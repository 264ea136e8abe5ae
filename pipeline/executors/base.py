"""What every executor is: a function mapped over tasks, each small result as it comes.

The truth is in the store: a task that is run twice, or again after a loss, ends with the same
files, and one that finds its work done does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pi_cache.errors import PiCacheError

Task = TypeVar("Task")
Result = TypeVar("Result")
Say = Callable[[str], None]


class WorkersLost(PiCacheError, RuntimeError):
    """Workers died; what they had finished is kept, and the same command goes on."""


class Run(Protocol):
    """An executor."""

    def __call__(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        *,
        workers: int,
        scheduler: str | Path | None,
        rescue: Callable[[Task], Result] | None = None,
        say: Say = ...,
    ) -> Iterator[Result]:
        """The result of every task, in any order.

        workers: processes, where they are ours. scheduler: of Dask, an address or the file that
        holds one. rescue: computes what can be of a task that ends every process that runs it;
        None where that is a loss. say: told of what is lost and of what is done about it.
        Raises WorkersLost once no other task is left; what the function raises, at once.
        """
        ...


def silent(text: str) -> None:
    """Say nothing."""


def name_of(task: Any) -> str:
    """A task in words."""
    number = getattr(task, "shard", None)
    return "a task" if number is None else f"shard {number}"


def lost(problems: Sequence[str]) -> WorkersLost:
    """The error for tasks that could not be computed, once all others are."""
    return WorkersLost("; ".join([*problems, "all other shards are kept"]))
