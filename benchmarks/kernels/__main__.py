"""Times of our kernels beside those of every library that is installed, on this machine.

    python -m benchmarks.kernels [--markdown] [--only A,B,C,D,E,scaling] [--quick]

Works: A sub-level H0 of signals, B persistence images, and A+B, C cubical H0 and H1 of images, D
Vietoris-Rips of image clouds, E of delay embeddings, and how all of them grow with size.

One thread. Each figure is the best of several rounds, in which all have their turns in the same
process; the first call, which compiles, does not count. Inputs are distinct. On a shared machine
times move by 10 to 30 %, and ratios less: these are what to keep. Before anything is timed, the
diagrams of the others are compared with ours, bit for bit, and images up to rounding: where they
differ the command fails.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator

import click
from threadpoolctl import threadpool_limits

from benchmarks.kernels import clouds, fields, images, scaling
from benchmarks.kernels.inputs import QUICK, Sizes
from benchmarks.kernels.peers import PACKAGES, Disagreement
from benchmarks.kernels.table import Section, show
from benchmarks.machine import heading

WORKS: dict[str, Callable[[Sizes], Section]] = {
    "A": fields.paths,
    "B": images.images,
    "C": fields.cubical,
    "D": clouds.image_clouds,
    "E": clouds.embeddings,
    "scaling": scaling.scaling,
}


def sections(names: list[str], sizes: Sizes) -> Iterator[Section]:
    """What is printed, a section at a time. Raises Disagreement."""
    lines = [
        *heading(("numpy", "numba", "scipy", *PACKAGES)),
        "one thread; best of several rounds, all in turns in one process; ratio: how many times "
        "our time; in brackets, how many distinct inputs each was given",
    ]
    yield Section(title="Kernels and libraries", lines=lines)
    for name in names:
        yield WORKS[name](sizes)


def parse_works(context: object, parameter: object, value: str) -> list[str]:
    """Names between commas."""
    names = value.split(",")
    unknown = [name for name in names if name not in WORKS]
    if unknown:
        raise click.BadParameter(f"unknown {', '.join(unknown)}; there are {', '.join(WORKS)}")
    return names


@click.command(help=__doc__.splitlines()[0])
@click.option("--markdown", is_flag=True, help="Tables for a document.")
@click.option("--only", default=",".join(WORKS), show_default=True, callback=parse_works)
@click.option("--quick", is_flag=True, help="Tiny inputs: to see that it runs.")
def main(markdown: bool, only: list[str], quick: bool) -> None:
    """Print each section as soon as it is measured."""
    warnings.simplefilter("ignore")  # of the other libraries
    with threadpool_limits(1):
        try:
            for section in sections(only, QUICK if quick else Sizes()):
                click.echo(show([section], markdown=markdown) + "\n")
        except Disagreement as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
