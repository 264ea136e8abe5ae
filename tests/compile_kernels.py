"""Compile the kernels that most tests use, so that not each process of tests does: in a folder that
has none yet, `python -m tests.compile_kernels` takes 20 seconds and saves minutes."""

from __future__ import annotations

import multiprocessing
from itertools import product

from pi_cache.specs import DiagramSpec, ImageSpec, StoreSpec
from pipeline.shard import warm
from pipeline.sources import open_source

TOGETHER = (("rips",), ("cubical", "sublevel"))
"""Filtrations that one process compiles; about as much work each."""
PRECISIONS = ("float64", "float32")
PIXELS = (8, 50)


def compile_for(filtrations: tuple[str, ...]) -> None:
    """What builds by these filtrations need."""
    source = open_source("digits")[:1].spec()
    for filtration, precision, pixels in product(filtrations, PRECISIONS, PIXELS):
        diagram = DiagramSpec(filtration=filtration, precision=precision)
        warm(StoreSpec(source=source, diagram=diagram, image=ImageSpec(pixels=pixels)))


if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(len(TOGETHER)) as pool:
        pool.map(compile_for, TOGETHER)
