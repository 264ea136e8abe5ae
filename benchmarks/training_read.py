"""How fast training reads: each way of holding data against what memory, codec or disk allow.

    python -m benchmarks.training_read [--samples 50000] [--dtypes float16,uint8,float32]

Images of three channels, 50 x 50, in shuffled batches of 128, delivered in the stored type on one
core. Every ratio is of two times of one run, measured in turns, best of a few rounds; they are
times of the process's own work, so that a busy machine changes them little, except for the cold
cache, where the disk is what is timed. `benchmarks.training_peers` reads the same with others.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import google_crc32c
import numpy as np
import torch
from numcodecs import blosc
from torch.utils.data import DataLoader

from benchmarks.first_touch import spec_of
from benchmarks.machine import heading
from pi_cache.layout import Layout, SampleTable, standard_columns
from pi_cache.ledger import finish, write_shard
from pi_cache.reader import Store
from pi_cache.specs import DiagramSpec, ImageSpec, StoreSpec
from pi_cache.store import begin
from training.data import PersistenceImageDataset
from training.holding.resident import decode_all
from training.loader import Loader
from training.order import EpochBatches, epoch_order

BATCH = 128
CLASSES = 10
SHARD = 4096
DISTINCT = 1024
"""Images that differ; a store repeats them in another order in every shard."""
POINTS = 60
REQUESTS = 32
"""Threads that read from the disk where its own speed at random is timed."""
LAYOUTS = {
    "chunked": Layout(),
    "single": Layout(chunk_samples=1),
    "mapped": Layout.mapped(),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: samples a second of ours, and by name of each bound."""

    work: str
    ours: float
    bounds: Mapping[str, float]

    def __str__(self) -> str:
        ratios = ", ".join(f"{self.ours / b:.2f} of {name}" for name, b in self.bounds.items())
        return f"  {self.work:<34} {self.ours:>11,.0f} samples/s; {ratios}"


def images(samples: int, seed: int) -> np.ndarray:
    """(samples, 3, 50, 50) float32, each the sum of Gaussians of 2.5 pixels, 1 at its maximum."""
    rng = np.random.default_rng(seed)
    axis = np.arange(50, dtype=np.float32)
    places = rng.beta(1.5, 3, (samples, 3, POINTS, 2)).astype(np.float32) * 50
    weights = places[..., 0, None]
    bumps = np.exp(-((axis - places[..., None]) ** 2) / (2 * 2.5**2))  # (n, C, points, 2, 50)
    drawn = np.matmul((weights * bumps[..., 0, :]).swapaxes(2, 3), bumps[..., 1, :])
    drawn /= drawn.max(axis=(2, 3), keepdims=True)
    drawn[drawn < 1e-7] = 0
    return drawn


def make_store(root: Path, samples: int, dtype: str, layout: Layout, drawn: np.ndarray) -> Path:
    """A store of images, labels in ascending order."""
    source = spec_of(samples).source
    image = ImageSpec(dtype=dtype)
    spec = StoreSpec(source=source, diagram=DiagramSpec(), image=image)
    columns = [c for c in standard_columns(image, 3) if c.name in ("images", "status")]
    labels = np.arange(samples) * CLASSES // samples
    table = SampleTable(ids=[f"sample/{i}" for i in range(samples)], labels=labels)
    build = begin(root, spec, table, columns, layout=layout)
    stored = np.rint(drawn * 255).astype(np.uint8) if dtype == "uint8" else drawn.astype(dtype)
    for k in range(-(-samples // layout.shard_samples)):
        count = len(build.sample_range(k))
        rows = np.resize(np.roll(stored, k, axis=0), (count, *stored.shape[1:]))
        write_shard(build, k, {"images": rows, "status": np.zeros(count, np.uint8)})
    finish(build)
    return build.path


def best(works: Mapping[str, Callable[[], object]], samples: int, rounds: int) -> dict[str, float]:
    """Samples a second of each, all in turns: the best of several rounds after one.

    Every other round goes backwards: huge pages cost most for who asks for them first.
    """
    times: dict[str, float] = {}
    for turn in range(rounds + 1):
        for name, work in list(works.items())[:: -1 if turn % 2 else 1]:
            start = time.process_time()
            work()
            spent = time.process_time() - start
            times[name] = spent if turn == 1 else min(times.get(name, np.inf), spent)
    return {name: samples / spent for name, spent in times.items()}


def consume(batches: Iterable[Any]) -> None:
    """Take every batch and let it go."""
    for batch in batches:
        del batch


def stored(path: Path) -> PersistenceImageDataset:
    """Images as they are stored, and labels."""
    return PersistenceImageDataset(path, dtype="stored", check="size")


def chunks_of(store: Store) -> list[bytes]:
    """Every chunk of the images with its checksum, in memory."""
    return [
        file.file.read(offset, size)
        for file in (store._shard("images", k) for k in range(store.manifest.shards))
        for offset, size in file.chunk_places
        if offset >= 0
    ]


class Codec:
    """What decoding alone takes: the bound of everything that reads compressed chunks."""

    def __init__(self, store: Store) -> None:
        column, rows = store.column("images"), store.manifest.layout.chunk_samples
        self.chunks = chunks_of(store)
        self.payloads = [chunk[:-4] for chunk in self.chunks]
        whole = np.zeros((len(self.chunks) * rows, *column.shape), column.dtype)
        self.targets = [whole[i : i + rows] for i in range(0, len(whole), rows)]
        self.order = np.random.default_rng(0).permutation(len(self.chunks)).tolist()

    def decode(self) -> None:
        """Blosc of every chunk in order, into memory that was used before."""
        for payload, target in zip(self.payloads, self.targets, strict=True):
            blosc.decompress(payload, target)

    def into_new_memory(self) -> None:
        """Both, of every chunk in order, into memory that nobody has touched."""
        whole = np.empty((len(self.chunks), *self.targets[0].shape), self.targets[0].dtype)
        self._check_and_decode(whole)

    def check_and_decode(self) -> None:
        """The codecs that the store names, crc32c and Blosc, into memory that was used before."""
        self._check_and_decode(self.targets)

    def _check_and_decode(self, targets: Iterable[np.ndarray]) -> None:
        for chunk, payload, target in zip(self.chunks, self.payloads, targets, strict=True):
            google_crc32c.value(chunk)
            blosc.decompress(payload, target)

    def at_random(self) -> None:
        """Both, of chunks in a random order."""
        for place, k in enumerate(self.order):
            google_crc32c.value(self.chunks[k])
            blosc.decompress(self.payloads[k], self.targets[place])


class Plain:
    """Indexing tensors in memory: the bound of everything that delivers shuffled batches."""

    def __init__(self, dataset: PersistenceImageDataset) -> None:
        self.images, self.labels = dataset[:]

    def epoch(self) -> None:
        """A shuffled epoch by index_select, which is several times faster than `images[index]`."""
        for index in torch.randperm(len(self.images)).split(BATCH):
            self.images.index_select(0, index)
            self.labels.index_select(0, index)


def of_memory(path: Path, rounds: int) -> list[Row]:
    """Resident and mapped against a plain tensor."""
    dataset = stored(path)
    plain, samples = Plain(dataset), len(dataset)
    resident = Loader(dataset, BATCH, how="resident")
    batches = EpochBatches(samples=samples, batch_size=BATCH)
    torch_loader = DataLoader(dataset, batch_sampler=batches, collate_fn=dataset.collate)

    def in_a_loop() -> None:
        for index in torch.randperm(samples).split(BATCH):
            dataset.batch(index)

    found = best(
        {
            "plain": plain.epoch,
            "resident": lambda: consume(resident),
            "mapped, plain loop": in_a_loop,
            "mapped, DataLoader": lambda: consume(torch_loader),
        },
        samples,
        rounds,
    )
    bound = {"a plain tensor": found.pop("plain")}
    return [Row(work, speed, bound) for work, speed in found.items()]


def of_chunks(path: Path, rounds: int) -> list[Row]:
    """Decode-all and block shuffle against the codec."""
    dataset = stored(path)
    codec, samples = Codec(dataset.store), len(dataset)
    loader = Loader(dataset, BATCH, how="streaming")
    part = dataset.parts["images"]
    warm = np.zeros((samples, *part.shape), part.dtype)
    found = best(
        {
            "codec": codec.decode,
            "codecs": codec.check_and_decode,
            "anew": codec.into_new_memory,
            "decode all": lambda: part.source.read_all("images", out=warm),
            "decode all, new memory": lambda: decode_all(part, torch.device("cpu")),
            "block shuffle": lambda: consume(loader),
        },
        samples,
        rounds,
    )
    bounds = {"crc32c and Blosc": found.pop("codecs"), "Blosc alone": found.pop("codec")}
    anew = {"both into new memory": found.pop("anew")}
    return [
        Row(work, speed, bounds | anew if "new" in work else bounds)
        for work, speed in found.items()
    ]


def of_single(path: Path, rounds: int) -> list[Row]:
    """Samples that are compressed one by one, at random, against the codec."""
    dataset = stored(path)
    codec, samples = Codec(dataset.store), len(dataset)
    loader = Loader(dataset, BATCH, how="streaming")

    def at_random() -> None:
        for index in torch.randperm(samples).split(BATCH):
            dataset.batch(index)

    works = {
        "codecs": codec.at_random,
        "codec": codec.decode,
        "one a chunk, at random, plain loop": at_random,
        "one a chunk, at random, Loader": lambda: consume(loader),
    }
    found = best(works, samples, rounds)
    bounds = {"crc32c and Blosc": found.pop("codecs"), "Blosc in order": found.pop("codec")}
    return [Row(work, speed, bounds) for work, speed in found.items()]


def diversity(path: Path, classes: int = 1000) -> float:
    """Distinct classes a batch of block shuffle against those of a true shuffle.

    As if samples were sorted by class, of which there are many: the hardest case.
    """
    loader = Loader(stored(path), BATCH, how="streaming", seed=0)
    of = loader.batches
    labels = torch.arange(of.samples) * min(classes, of.samples) // of.samples

    def distinct(order: torch.Tensor) -> float:
        full = [part for part in labels[order].split(BATCH) if len(part) == BATCH]
        return float(np.mean([len(part.unique()) for part in full]))

    return distinct(of.order()) / distinct(epoch_order(of.samples, seed=0, epoch=0))


def evict(path: Path) -> list[Path]:
    """Let the files of the images leave the page cache."""
    files = sorted(path.glob("data.zarr/images/c.*"))
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        os.fdatasync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)
    return files


def cold(path: Path, rounds: int) -> Row:
    """An epoch at random from disk, against what the disk gives in order and at random."""

    def in_order() -> float:
        files = evict(path)
        start = time.perf_counter()
        for file in files:
            handle = os.open(file, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            while os.read(handle, 1 << 22):
                pass
            os.close(handle)
        return time.perf_counter() - start

    def requests() -> float:
        """As many reads under way as a disk is given, each of a sample at random."""
        handles = [os.open(file, os.O_RDONLY) for file in evict(path)]
        places = places_of(stored(path).store, handles)
        shares = [places[k::REQUESTS] for k in range(REQUESTS)]
        start = time.perf_counter()
        with ThreadPoolExecutor(REQUESTS) as threads:
            list(threads.map(read_each, shares))
        spent = time.perf_counter() - start
        for handle in handles:
            os.close(handle)
        return spent

    def at_random() -> float:
        loader = Loader(stored(path), BATCH, how="streaming")
        consume([next(iter(loader))])  # opened
        evict(path)
        start = time.perf_counter()
        consume(loader)
        return time.perf_counter() - start

    works = (at_random, in_order, requests)
    times = np.min([[work() for work in works] for _ in range(rounds)], axis=0)
    ours, ordered, random = len(stored(path)) / times
    bounds = {"the disk in order": ordered, "the disk at random": random}
    return Row("cold, mapped at random", ours, bounds)


def places_of(store: Store, handles: list[int]) -> list[tuple[int, int, int]]:
    """Handle, start and size of each sample of a mapped store, in a random order."""
    found = [
        (handle, start, size)
        for k, handle in enumerate(handles)
        for start, size in store._shard("images", k).chunk_places
        if start >= 0
    ]
    return [found[k] for k in np.random.default_rng(0).permutation(len(found)).tolist()]


def read_each(places: list[tuple[int, int, int]]) -> None:
    """Read from the disk, one request after the other."""
    for handle, start, size in places:
        os.pread(handle, size, start)


def measure(root: Path, samples: int, dtype: str, rounds: int, drawn: np.ndarray) -> list[Row]:
    """Every row of one type."""
    paths = {
        name: make_store(root / f"{dtype}-{name}", samples, dtype, layout, drawn)
        for name, layout in LAYOUTS.items()
    }
    rows = of_memory(paths["mapped"], rounds)
    rows += of_chunks(paths["chunked"], rounds)
    rows += of_single(paths["single"], rounds)
    if hasattr(os, "posix_fadvise"):
        rows.append(cold(paths["mapped"], rounds))
    share = diversity(paths["chunked"])
    size = sum(f.stat().st_size for f in paths["chunked"].glob("data.zarr/images/c.*"))
    click.echo(f"\n{dtype}: {size / samples:,.0f} bytes a sample compressed")
    for row in rows:
        click.echo(str(row))
    click.echo(f"  block shuffle has {share:.1%} of the classes that a true shuffle has in a batch")
    return rows


@click.command(help=__doc__.splitlines()[0])
@click.option("--samples", default=50_000, show_default=True)
@click.option("--dtypes", default="float16,uint8,float32", show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--core", default=0, show_default=True, help="The one that is used.")
@click.option("--folder", type=click.Path(path_type=Path), help="For stores; on the disk to time.")
def main(samples: int, dtypes: str, rounds: int, core: int, folder: Path | None) -> None:
    """Print a line a measurement."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    for line in heading(("numpy", "torch", "numcodecs")):
        click.echo(line)
    click.echo(f"{samples:,} samples, one core; load before {os.getloadavg()[0]:.2f}")
    drawn = np.concatenate([images(256, seed) for seed in range(DISTINCT // 256)])
    for dtype in dtypes.split(","):
        with tempfile.TemporaryDirectory(dir=folder) as made:
            measure(Path(made), samples, dtype, rounds, drawn)


if __name__ == "__main__":
    main()
