"""The `pipeline` command."""

from __future__ import annotations

import signal
import sys

import click

from pi_cache.commands.options import CONTEXT, say
from pi_cache.errors import InvalidSpec, PiCacheError
from pipeline.cluster.commands import COMMANDS as CLUSTER_COMMANDS
from pipeline.commands import begin, builds, known, look
from pipeline.delays.command import delays
from pipeline.gramian.command import build_gafs

MISUSE, INTERRUPTED = 2, 130


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="pi-cache")
def cli() -> None:
    """Persistence images from real data, computed once, into a cache that training reads.

    Start with `pipeline build-pis`: it needs no data of yours.
    """


for _command in (
    builds.build_pis,
    builds.plan,
    build_gafs,
    known.recipes,
    known.engines,
    known.sources,
    begin.fetch,
    begin.demo,
    look.explain,
    look.report,
    delays,
    *CLUSTER_COMMANDS,
):
    cli.add_command(_command)


class _Signals:
    """SIGINT and SIGTERM as KeyboardInterrupt, remembered.

    A library that is interrupted may raise what it likes: numba does while it compiles.
    """

    def __init__(self) -> None:
        self.seen = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: object) -> None:
        self.seen = True
        raise KeyboardInterrupt


def main() -> None:
    """Run the command. An error of ours is one sentence; a stopped build says how to go on."""
    signals = _Signals()
    try:
        try:
            code = cli(standalone_mode=False)
        except Exception as error:
            raise (KeyboardInterrupt if signals.seen else error) from None
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        say("stopped; finished shards are kept: run the same command again to go on")
        code = INTERRUPTED
    except InvalidSpec as error:
        say(f"pipeline: {error}")
        code = MISUSE
    except PiCacheError as error:
        say(f"pipeline: {error}")
        code = 1
    except MemoryError as error:
        say(
            f"pipeline: out of memory ({error}); what is finished is kept: give more memory, or "
            "--executor joblib, by which a sample that needs too much costs only itself"
        )
        code = 1
    except ModuleNotFoundError as error:
        say(f'pipeline: {error.name} is not installed; pip install "pi-cache[pipeline]"')
        code = 1
    except OSError as error:
        say(f"pipeline: {error.filename or 'file system'}: {error.strerror or error}")
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
