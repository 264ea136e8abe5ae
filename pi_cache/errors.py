"""What can go wrong with a cache, each error also the built-in a caller would catch.

A message says what was met, what was expected, and what to do next.
"""

from __future__ import annotations

from pathlib import Path


class PiCacheError(Exception):
    """Any error of this project; the commands print it as one sentence."""


class InvalidSpec(PiCacheError, ValueError):
    """A specification that cannot be built; the message lists every problem found."""


class StoreNotFound(PiCacheError, FileNotFoundError):
    """No finished store under that name. An unfinished or damaged one is another error."""


class UnfinishedStore(PiCacheError, FileNotFoundError):
    """A build that was begun and not finished; running the same command again goes on."""


class CorruptStore(PiCacheError, OSError):
    """A finished store whose bytes differ from its manifest."""


class UnsupportedFormat(PiCacheError, ValueError):
    """A store or document of a format version that this release does not read."""


class StorageFailed(PiCacheError, OSError):
    """A call to the file system that failed; says which, at which path, and what to do."""


class StorageFull(StorageFailed):
    """No space, no inodes, no quota or too large a file: make room and run the command again."""


class SourceError(PiCacheError, ValueError):
    """A data source that cannot be read as a whole; names the file and the remedy."""


class UnknownSource(SourceError, InvalidSpec):
    """Words that name no kind of source, or options that the kind has not."""


class SampleError(PiCacheError, ValueError):
    """One sample that cannot be used; `status` is the code that the store keeps for it.

    field: where several fields were computed together, the position of the one that failed.
    """

    def __init__(self, status: int, message: str, field: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.field = field

    def __reduce__(self) -> tuple[type[SampleError], tuple[int, str, int | None]]:
        return type(self), (self.status, str(self), self.field)


class MismatchedStores(PiCacheError, ValueError):
    """Stores that do not hold the same samples; `problems` has a phrase for each difference."""

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class InvalidFolds(PiCacheError, ValueError):
    """Folds that cannot be made of these samples, or that name others; says which."""


class LeakageError(PiCacheError, ValueError):
    """Samples that belong together on two sides of a fold; `leaks` has an entry for each pair."""

    def __init__(self, message: str, leaks: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.leaks = leaks


class EngineNotInstalled(PiCacheError, ImportError):
    """A topology engine that is not installed, with the line that installs it."""


class BuilderNotInstalled(PiCacheError, ImportError):
    """A command that needs the pipeline, which is not installed; with the line that installs it."""


class RemovalRefused(PiCacheError, PermissionError):
    """What must not be removed: pinned, young, a link, or outside a known cache root."""


class AlreadyPublished(PiCacheError, FileExistsError):
    """A file of that name exists with other bytes; `paths` lists every such file."""

    def __init__(self, message: str, paths: tuple[Path, ...] = ()) -> None:
        super().__init__(message)
        self.paths = paths


class WrittenMeanwhile(AlreadyPublished):
    """Another process does the same work in the same place; one of them should."""


class RemoteFailed(PiCacheError, ConnectionError):
    """A server that does not answer, or not as it should; the same command again goes on."""


class BuildFailed(PiCacheError, RuntimeError):
    """A store that a service was asked for and did not build; says why, and what to do."""


class AccessRefused(PiCacheError, PermissionError):
    """A server that refuses this token, or a token that must not be sent or read so."""


class RemoteNotInstalled(PiCacheError, ImportError):
    """A library that reaches remote stores and is not installed; with the line that installs it."""


class StaleImages(PiCacheError, ValueError):
    """Augmentations that stored images do not follow; says why, and what to do instead."""


class NotFinite(PiCacheError, ArithmeticError):
    """A training that met NaN or infinity; names epoch, step and term, and what may help."""


class TrackerNotInstalled(PiCacheError, ImportError):
    """A program that draws curves of a run and is not installed; with the line that installs it."""


class UnsafeTokens(PiCacheError, PermissionError):
    """Tokens of the service that others could change, or no folder of tokens at all."""


class ServiceRefused(PiCacheError, ValueError):
    """Settings with which the service would be open to whom it should not be; says which."""


class ServiceNotInstalled(PiCacheError, ImportError):
    """A library of the service that is not installed; with the line that installs it."""
