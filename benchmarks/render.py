"""Images drawn from diagrams while a job trains: samples a second, and bytes, beside stored ones.

    python -m benchmarks.render [--samples 1024] [--rounds 9]

Samples of three channels of 32 x 32 photographs are built into a store of float32 images; each
batch of 128 is drawn from the diagrams, read from the store at random, or taken from a tensor that
holds all images, in turns, and the best round of each counts. The bound is the arithmetic of the
products: two operations for every point, row and column, at the speed of a large product of
matrices in the same turns. One thread; the machine must be idle.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.kernels.inputs import photographs
from benchmarks.kernels.timing import Contender, best_times
from benchmarks.machine import heading, three_digits
from pi_cache.quantities import bytes_text
from pi_cache.reader import Store, open_store
from pi_cache.specs import DiagramSpec, ImageSpec
from pipeline.build import build
from pipeline.sources.arrays import from_arrays
from training.rendered import RenderedImages

BATCH = 128
SIDE = 1024
"""Of the square matrices whose product gives the speed of arithmetic."""


@dataclass(frozen=True)
class Sizes:
    """Bytes of a sample by how it is kept."""

    raw: float
    images: float
    diagrams: float
    resident: float


def make_store(root: Path, samples: int) -> Store:
    """Photographs read row by row, and their images of 50 x 50 in float32."""
    channels, _ = photographs(3 * samples)
    pixels = np.moveaxis(np.resize(channels, (samples, 3, 32, 32)), 1, 3)
    source = from_arrays(np.ascontiguousarray(pixels), sample="image")
    spec = DiagramSpec(filtration="sublevel", scan="rows")
    return open_store(build(source, spec, ImageSpec(dtype="float32"), root=root).path)


def sizes(store: Store, holder: RenderedImages) -> Sizes:
    """Bytes on disk, and of what is held in memory."""
    count = len(store)

    def on_disk(*names: str) -> float:
        listed = store.manifest.files.items()
        return sum(e.size for path, e in listed if path.split("/")[1] in names) / count

    raw = int(np.prod(store.column("images").shape)) * 4
    return Sizes(raw, on_disk("images"), on_disk("points", "offsets"), holder.bytes / count)


def batches(count: int) -> list[torch.Tensor]:
    """Shuffled batches of all samples."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return list(order.split(BATCH))[: max(1, count // BATCH)]


def rates(store: Store, rounds: int) -> dict[str, float]:
    """Samples a second of each way, the bound among them."""
    every = np.arange(len(store))
    single = RenderedImages(store, every)
    double = RenderedImages(store, every, dtype=torch.float64)
    learned = RenderedImages(store, every)
    learned.sigma = torch.tensor(store.spec.image.sigma, requires_grad=True)
    whole = torch.from_numpy(store.read_all("images"))
    order = batches(len(store))
    size = len(order[0])
    square = torch.rand(SIDE, SIDE)

    def ways(where: torch.Tensor) -> dict[str, object]:
        return {
            "drawn, float32": lambda: single.batch(where),
            "drawn, float64": lambda: double.batch(where),
            "drawn with the derivative by sigma": lambda: (
                learned.batch(where)["images"].sum().backward()
            ),
            "read from the store at random": lambda: store.read("images", where.numpy()),
            "taken from a tensor": lambda: whole.index_select(0, where),
        }

    contenders = [
        Contender(name=name, runs=[ways(where)[name] for where in order], items=size)  # type: ignore[misc]
        for name in ways(order[0])
    ]
    contenders.append(Contender(name="product", runs=[lambda: square @ square]))
    best = best_times(contenders, rounds)
    speed = 2 * SIDE**3 / float(best.pop("product").min())
    points = len(store.diagrams(every)[0]) / len(store)
    pixels = store.spec.image.pixels
    found = {name: 1 / float(times.mean()) for name, times in best.items()}
    return {"bound, float32": speed / (2 * points * pixels**2), **found}


@click.command(help=__doc__.splitlines()[0])
@click.option("--samples", default=1024, show_default=True)
@click.option("--rounds", default=9, show_default=True)
def main(samples: int, rounds: int) -> None:
    """Print a line a measurement."""
    torch.set_num_threads(1)
    for line in heading(("numpy", "torch", "numcodecs")):
        click.echo(line)
    click.echo(f"load before: {os.getloadavg()[0]:.2f}; of an idle machine it is near 0\n")
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder), samples)
        holder = RenderedImages(store, np.arange(len(store)))
        click.echo(f"{len(store)} samples, {_points(store):,.0f} points each; {holder.why}\n")
        kept = sizes(store, holder)
        for name, size in vars(kept).items():
            click.echo(
                f"{name:<10} {bytes_text(size):>9} a sample, {kept.raw / size:5.1f} times smaller"
                " than float32 images"
            )
        found = rates(store, rounds)
        for name, rate in found.items():
            share = rate / found["bound, float32"]
            click.echo(f"{name:<36} {three_digits(rate):>9} samples/s, {share:.2f} of the bound")


def _points(store: Store) -> float:
    return len(store.diagrams(np.arange(len(store)))[0]) / len(store)


if __name__ == "__main__":
    main()
