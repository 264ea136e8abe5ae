"""What torch says of a device that it cannot use, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pi_cache.errors import InvalidSpec


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Raise InvalidSpec that says `what`, and torch's reason, where torch refuses what is done."""
    try:
        yield
    except (AssertionError, RuntimeError) as error:
        raise InvalidSpec(
            f"{what} ({str(error).splitlines()[0]:.120}); cpu always works"
        ) from error
