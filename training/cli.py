"""The `training` command."""

from __future__ import annotations

import sys

from pi_cache.commands.options import say
from pi_cache.errors import PiCacheError

NEEDED = ("torch", "safetensors")


def main() -> None:
    """Run the command; an error of ours is one sentence on stderr and exit status 1."""
    try:
        from training.commands.group import cli
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        say(f'training: {error.name} is not installed: pip install "pi-cache[train]"')
        sys.exit(1)
    try:
        cli(prog_name="training")
    except (PiCacheError, FileNotFoundError) as error:
        say(f"training: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
