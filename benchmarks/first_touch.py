"""What checking costs: a first epoch that is hashed, one that is remembered, and opening a store.

    python -m benchmarks.first_touch [--shards 8] [--rounds 3]

Bytes are in the page cache, so that the processor is what is measured and not the disk. A first
epoch has no marks; a later one finds those of the first; `size` never hashes. All are read by a
store of their own, in turns, and the best round of each counts. The machine must be idle.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.machine import duration, heading
from pi_cache import checked
from pi_cache.firsttouch import Check
from pi_cache.layout import Column, Layout, SampleTable, standard_columns
from pi_cache.ledger import finish, write_files, write_shard
from pi_cache.manifest import FileEntry
from pi_cache.reader import Store, open_store
from pi_cache.shardfile import OpenFile
from pi_cache.specs import DiagramSpec, ImageSpec, SourceSpec, StoreSpec
from pi_cache.store import begin

CHANNELS, SHARD = 3, 4096
BATCH = 128
MANY = 318
"""Shards of 1.3 million samples."""
BLOCK = 1 << 20


@dataclass(frozen=True)
class Times:
    """Seconds of an epoch by how it was checked, and bytes of the files it reads."""

    first: float
    remembered: float
    size: float
    bytes: int


def spec_of(samples: int) -> StoreSpec:
    """Images of three channels, 50 x 50."""
    source = SourceSpec(
        kind="arrays", sample="signal", samples=samples, channels=CHANNELS, fingerprint="0" * 64
    )
    return StoreSpec(source=source, diagram=DiagramSpec(), image=ImageSpec())


def table_of(samples: int) -> SampleTable:
    """Names and labels."""
    ids = [f"sample/{i}" for i in range(samples)]
    return SampleTable(ids=ids, labels=np.arange(samples) % 10)


def images(samples: int, seed: int) -> np.ndarray:
    """(samples, 3, 50, 50) float16 with a few smooth bumps each, about as compressible as PIs."""
    rng = np.random.default_rng(seed)
    axis = np.arange(50)
    places = rng.uniform(0, 50, (samples, CHANNELS, 6, 2))
    bumps = np.exp(-((axis - places[..., None]) ** 2) / 8)  # (n, C, 6, 2, 50)
    drawn = np.einsum("nckp,nckb->ncpb", bumps[..., 0, :], bumps[..., 1, :])
    drawn /= drawn.max(axis=(2, 3), keepdims=True)
    drawn[drawn < 1e-3] = 0
    return drawn.astype(np.float16)


def real_store(root: Path, shards: int, layout: Layout) -> Path:
    """A store of images, every shard the same numbers in another order."""
    spec = spec_of(shards * layout.shard_samples)
    columns = [c for c in standard_columns(spec.image, CHANNELS) if c.name in ("images", "status")]
    build = begin(root, spec, table_of(spec.source.samples), columns, layout=layout)
    drawn = images(layout.shard_samples, 0)
    status = np.zeros(layout.shard_samples, np.uint8)
    for k in range(shards):
        write_shard(build, k, {"images": np.roll(drawn, k, axis=0), "status": status})
    finish(build)
    return build.path


def wide_store(root: Path, shards: int) -> Path:
    """A store with the manifest and as many files as a large one has, none of which holds much."""
    spec = spec_of(shards * SHARD)
    inputs = Column(name="inputs", shape=(3, 128), dtype="float32", dimensions=("channel", "time"))
    columns = standard_columns(spec.image, CHANNELS, inputs=inputs)
    build = begin(root, spec, table_of(spec.source.samples), columns)
    for k in range(shards):
        sizes = {c.shard_file(k): c.shard_format(build.layout).index_bytes for c in columns}
        content = {name: bytes(size) for name, size in sizes.items()}
        write_files(build, k, content, {"OK": SHARD}, {}, {})
    finish(build)
    return build.path


def whole(store: Store) -> None:
    """Everything at once."""
    store.read_all("images")


def in_order(store: Store) -> None:
    """An epoch of batches in order."""
    for start in range(0, len(store), BATCH):
        store.read("images", slice(start, start + BATCH))


def at_random(store: Store) -> None:
    """An epoch of shuffled batches."""
    order = np.random.default_rng(0).permutation(len(store))
    for start in range(0, len(store), BATCH):
        store.read("images", order[start : start + BATCH])


EPOCHS: dict[str, Callable[[Store], None]] = {
    "whole": whole,
    "batches in order": in_order,
    "batches at random": at_random,
}


@contextmanager
def marks_in(folder: Path) -> Iterator[None]:
    """Remember what is hashed in this folder."""
    before = os.environ.get("PI_CACHE_CHECKED")
    os.environ["PI_CACHE_CHECKED"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("PI_CACHE_CHECKED")
        if before is not None:
            os.environ["PI_CACHE_CHECKED"] = before


def epoch(path: Path, read: Callable[[Store], None], check: Check, marks: Path) -> float:
    """Seconds of an epoch of a newly opened store."""
    with marks_in(marks):
        store = open_store(path, check=check)
    start = time.perf_counter()
    read(store)
    return time.perf_counter() - start


def epochs(path: Path, read: Callable[[Store], None], rounds: int) -> Times:
    """The best of several rounds, each of the three in turns, and one before to warm up."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        epoch(path, read, "size", Path(folder))
        for turn in range(rounds):
            marks = Path(folder) / str(turn)
            checks: list[Check] = ["first-touch", "first-touch", "size"]
            found.append([epoch(path, read, check, marks) for check in checks])
    entries = open_store(path, check="size").manifest.files.items()
    size = sum(entry.size for name, entry in entries if "/images/c." in name)
    return Times(*np.min(found, axis=0).tolist(), size)


def hashing(path: Path, rounds: int) -> tuple[float, float]:
    """Bytes a second of a core's own time: hashing the shards of a store, and hashlib alone.

    hashlib has as many bytes, from memory and never from a file.
    """
    entries = open_store(path, check="size").manifest.files.items()
    shards = {path / name: entry for name, entry in entries if "/images/c." in name}
    size, best = sum(entry.size for entry in shards.values()), np.full(2, np.inf)
    for _ in range(rounds + 1):
        best = np.minimum(best, [_verify(shards), _plain(size)])
    return size / best[0], size / best[1]


def _verify(shards: dict[Path, FileEntry]) -> float:
    start = time.thread_time()
    for path, entry in shards.items():
        OpenFile(path, entry).verify()
    return time.thread_time() - start


def _plain(size: int) -> float:
    block = bytes(BLOCK)
    start = time.thread_time()
    sha256 = hashlib.sha256()
    for _ in range(size // BLOCK):
        sha256.update(block)
    sha256.update(block[: size % BLOCK])
    return time.thread_time() - start


def opening(path: Path, rounds: int) -> float:
    """Seconds to open a store, sizes checked: the best of several."""
    best = np.inf
    for _ in range(5 * rounds):
        start = time.perf_counter()
        open_store(path)
        best = min(best, time.perf_counter() - start)
    return best


def settle(path: Path) -> None:
    """Wait until the files are old enough to be remembered."""
    newest = max(file.stat().st_ctime for file in path.rglob("*"))
    time.sleep(max(0.0, newest + checked.SETTLED - time.time()))


@click.command(help=__doc__.splitlines()[0])
@click.option("--shards", default=8, show_default=True, help="Of 4,096 samples.")
@click.option("--rounds", default=3, show_default=True)
def main(shards: int, rounds: int) -> None:
    """Print a line a measurement."""
    for line in heading(("numpy", "numcodecs")):
        click.echo(line)
    click.echo(f"load before: {os.getloadavg()[0]:.2f}; of an idle machine it is near 0\n")
    with tempfile.TemporaryDirectory() as folder:
        for name, layout in {"compressed": Layout(), "mapped": Layout.mapped()}.items():
            path = real_store(Path(folder) / name, shards, layout)
            settle(path)
            ours, plain = hashing(path, rounds)
            click.echo(
                f"{name}: hashed at {ours / 1e9:.2f} GB/s a core, hashlib alone"
                f" {plain / 1e9:.2f} ({ours / plain:.2f} of it)"
            )
            for how, read in EPOCHS.items():
                click.echo(_line(how, epochs(path, read, rounds)))
        path = wide_store(Path(folder) / "wide", MANY)
        count = len(open_store(path).manifest.files)
        click.echo(f"opening {MANY} shards, {count} files: {duration(opening(path, rounds))}")


def _line(how: str, times: Times) -> str:
    return (
        f"  {how:<18} first {duration(times.first):>8}, remembered"
        f" {duration(times.remembered):>8}, size {duration(times.size):>8};"
        f" first / size {times.first / times.size:.2f},"
        f" remembered / size {times.remembered / times.size:.2f}; {times.bytes / 1e6:,.0f} MB"
    )


if __name__ == "__main__":
    main()
