"""What only the pipeline can do for a command of the cache: found by name, never imported.

An installed package offers functions as entry points of the group `pi_cache.builders`; so the
commands can repair and import without this room knowing who computes.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from pi_cache.errors import BuilderNotInstalled

GROUP = "pi_cache.builders"


def builder(name: str) -> Any:
    """The function of that name. Raises BuilderNotInstalled with the line that installs it."""
    remedy = 'this needs what builds stores: pip install "pi-cache[pipeline]"'
    for entry in entry_points(group=GROUP, name=name):
        try:
            return entry.load()
        except ModuleNotFoundError as error:
            raise BuilderNotInstalled(f"{error.name} is not installed; {remedy}") from error
    raise BuilderNotInstalled(f"nothing installed offers {name!r}; {remedy}")
