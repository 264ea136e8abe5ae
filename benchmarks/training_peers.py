"""How fast other libraries deliver the same shuffled batches, beside ours and a plain tensor.

    python -m benchmarks.training_peers [--samples 12800] [--dtype float16]

Peers are those that are installed, each set up as its documentation recommends, uncompressed where
it has the choice; they may keep what they have opened. Times are of the process's own work on one
core and one thread, with the files in the page cache. A slow one is stopped after some batches.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.machine import heading
from benchmarks.training_read import BATCH, LAYOUTS, images, make_store, stored
from training.loader import Loader
from training.order import EpochBatches

Epoch = Callable[[], Iterator[int]]
"""An epoch that yields how many samples each batch had."""

PATIENCE = 6.0
"""Seconds of work after which a peer has shown how fast it is."""


def shuffled(count: int) -> Iterator[np.ndarray]:
    """Positions of each batch."""
    for index in torch.randperm(count).split(BATCH):
        yield index.numpy()


def of_plain(folder: Path, rows: np.ndarray) -> Epoch:
    """A tensor in memory and index_select: the bound."""
    tensor = torch.from_numpy(rows)
    return lambda: (len(tensor.index_select(0, torch.from_numpy(i))) for i in shuffled(len(rows)))


def of_dataset(folder: Path, rows: np.ndarray) -> Epoch:
    """TensorDataset and DataLoader, as most people write it."""
    loader = DataLoader(torch.utils.data.TensorDataset(torch.from_numpy(rows)), BATCH, shuffle=True)
    return lambda: (len(batch[0]) for batch in loader)


def of_ours(name: str, how: str) -> Callable[[Path, np.ndarray], Epoch]:
    """A store of ours, by a holder or by torch's DataLoader."""

    def make(folder: Path, rows: np.ndarray) -> Epoch:
        store = make_store(folder, len(rows), str(rows.dtype), LAYOUTS[name], rows)
        dataset = stored(store)
        if how == "DataLoader":
            batches = EpochBatches(samples=len(rows), batch_size=BATCH)
            plain = DataLoader(dataset, batch_sampler=batches, collate_fn=dataset.collate)
            return lambda: (len(images) for images, _ in plain)
        loader = Loader(dataset, BATCH, how=how)  # type: ignore[arg-type]
        return lambda: (len(batch["images"]) for batch in loader)

    return make


def of_zarr(pipeline: str) -> Callable[[Path, np.ndarray], Epoch]:
    """zarr-python, a sample a chunk, a batch at a time by orthogonal indexing."""

    def make(folder: Path, rows: np.ndarray) -> Epoch:
        import zarr

        array = zarr.create_array(
            folder / "data.zarr", data=rows, chunks=(1, *rows.shape[1:]), compressors=None
        )

        def epoch() -> Iterator[int]:
            with zarr.config.set({"codec_pipeline.path": pipeline} if pipeline else {}):
                opened = zarr.open_array(array.store_path, mode="r")
                for index in shuffled(len(rows)):
                    yield len(torch.from_numpy(opened.oindex[np.sort(index)]))

        return epoch

    return make


def of_tensorstore(folder: Path, rows: np.ndarray) -> Epoch:
    """tensorstore on our own mapped store, its favourite layout for single samples."""
    import tensorstore

    store = make_store(folder, len(rows), str(rows.dtype), LAYOUTS["mapped"], rows)
    array = tensorstore.open(
        {"driver": "zarr3", "kvstore": f"file://{store}/data.zarr/images/"},
        context=tensorstore.Context({"cache_pool": {"total_bytes_limit": 8_000_000}}),
        open=True,
        read=True,
    ).result()
    return lambda: (
        len(torch.from_numpy(array[index].read().result())) for index in shuffled(len(rows))
    )


def of_h5py(folder: Path, rows: np.ndarray) -> Epoch:
    """h5py, contiguous, a batch at a time by a list of positions, which must ascend."""
    import h5py

    with h5py.File(folder / "data.h5", "w") as file:
        file.create_dataset("images", data=rows)
    data = h5py.File(folder / "data.h5", "r")["images"]
    return lambda: (len(torch.from_numpy(data[np.sort(index)])) for index in shuffled(len(rows)))


def of_lmdb(folder: Path, rows: np.ndarray) -> Epoch:
    """lmdb, raw bytes of each sample, a transaction a batch."""
    import lmdb

    options = {"map_size": 4 * rows.nbytes + (1 << 24), "readahead": False, "lock": False}
    with lmdb.open(str(folder / "data.lmdb"), **options) as made, made.begin(write=True) as put:
        for i, row in enumerate(rows):
            put.put(f"{i:08d}".encode(), row.tobytes())
    opened = lmdb.open(str(folder / "data.lmdb"), readonly=True, **options)

    def batch(index: np.ndarray) -> int:
        out = np.empty((len(index), rows[0].size), rows.dtype)
        with opened.begin(buffers=True) as get:
            for place, i in enumerate(index.tolist()):
                out[place] = np.frombuffer(get.get(f"{i:08d}".encode()), rows.dtype)
        return len(torch.from_numpy(out.reshape(len(index), *rows.shape[1:])))

    return lambda: map(batch, shuffled(len(rows)))


def of_npy(folder: Path, rows: np.ndarray) -> Epoch:
    """One .npy file, memory-mapped, indexed a batch at a time."""
    np.save(folder / "images.npy", rows)
    data = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    return lambda: (len(torch.from_numpy(data[index])) for index in shuffled(len(rows)))


def of_webdataset(folder: Path, rows: np.ndarray) -> Epoch:
    """webdataset: tars of a thousand samples, a shuffle buffer of 2,000, batched."""
    import webdataset

    for start in range(0, len(rows), 1000):
        with tarfile.open(folder / f"{start // 1000:06d}.tar", "w") as tar:
            for i, row in enumerate(rows[start : start + 1000], start):
                data = io.BytesIO()
                np.save(data, row)
                member = tarfile.TarInfo(f"{i:08d}.npy")
                member.size = data.tell()
                data.seek(0)
                tar.addfile(member, data)
    shards = sorted(map(str, folder.glob("*.tar")))
    found = webdataset.WebDataset(shards, shardshuffle=len(shards)).shuffle(2000)
    batches = found.decode().to_tuple("npy").batched(BATCH)
    return lambda: (len(torch.from_numpy(np.asarray(batch[0]))) for batch in batches)


def of_datasets(folder: Path, rows: np.ndarray) -> Epoch:
    """Hugging Face datasets: Array3D in Arrow, in the format of numpy, a batch at a time."""
    import datasets

    shape, dtype = rows.shape[1:], str(rows.dtype)
    features = datasets.Features({"image": datasets.Array3D(shape=shape, dtype=dtype)})
    made = datasets.Dataset.from_dict({"image": list(rows)}, features=features)
    made.save_to_disk(folder / "data")
    data = datasets.load_from_disk(folder / "data").with_format("numpy")
    return lambda: (
        len(torch.from_numpy(np.stack(data[index.tolist()]["image"])))
        for index in shuffled(len(rows))
    )


def of_mosaicml(folder: Path, rows: np.ndarray) -> Epoch:
    """mosaicml-streaming: MDS shards of 64 MB, its shuffle and its DataLoader."""
    import streaming

    shape = ",".join(map(str, rows.shape[1:]))
    columns = {"image": f"ndarray:{rows.dtype}:{shape}"}
    with streaming.MDSWriter(out=str(folder / "mds"), columns=columns) as out:
        for row in rows:
            out.write({"image": row})
    data = streaming.StreamingDataset(local=str(folder / "mds"), shuffle=True, batch_size=BATCH)
    loader = streaming.StreamingDataLoader(data, batch_size=BATCH)
    return lambda: (len(batch["image"]) for batch in loader)


def of_litdata(folder: Path, rows: np.ndarray) -> Epoch:
    """litdata: optimised chunks of 64 MB, its shuffle and its DataLoader."""
    import litdata
    from litdata.streaming.writer import BinaryWriter

    out = folder / "lit"
    out.mkdir()
    writer = BinaryWriter(str(out), chunk_bytes=1 << 26)
    for i, row in enumerate(rows):
        writer[i] = torch.from_numpy(row)
    writer.done()
    writer.merge()
    data = litdata.StreamingDataset(str(out), shuffle=True)
    loader = litdata.StreamingDataLoader(data, batch_size=BATCH, shuffle=True)
    return lambda: (len(batch) for batch in loader)


PEERS: dict[str, tuple[str, Callable[[Path, np.ndarray], Epoch]]] = {
    "plain tensor": ("torch", of_plain),
    "ours, resident": ("torch", of_ours("chunked", "resident")),
    "ours, mapped, DataLoader": ("torch", of_ours("mapped", "DataLoader")),
    "ours, compressed, block shuffle": ("torch", of_ours("chunked", "streaming")),
    "TensorDataset, DataLoader": ("torch", of_dataset),
    ".npy, memory-mapped": ("numpy", of_npy),
    "zarr": ("zarr", of_zarr("")),
    "zarrs": ("zarrs", of_zarr("zarrs.ZarrsCodecPipeline")),
    "tensorstore": ("tensorstore", of_tensorstore),
    "h5py": ("h5py", of_h5py),
    "lmdb": ("lmdb", of_lmdb),
    "webdataset": ("webdataset", of_webdataset),
    "datasets": ("datasets", of_datasets),
    "litdata": ("litdata", of_litdata),
    "mosaicml-streaming": ("streaming", of_mosaicml),
}
"""By name, what must be installed, and how an epoch is made of rows in a folder."""


def speed(epoch: Epoch, patience: float = PATIENCE) -> float:
    """Samples a second: the best of a first epoch, which warms up, and of those after it."""
    best, spent = 0.0, 0.0
    while spent < patience:
        start = time.process_time()
        count = 0
        for batch in epoch():
            count += batch
            if time.process_time() - start > patience:
                break
        took = time.process_time() - start
        best, spent = max(best, count / took), spent + took
    return best


@click.command(help=__doc__.splitlines()[0])
@click.option("--samples", default=12_800, show_default=True)
@click.option("--dtype", default="float16", show_default=True)
@click.option("--only", help="Names, separated by commas.")
@click.option("--core", default=0, show_default=True, help="The one that is used.")
def main(samples: int, dtype: str, only: str | None, core: int) -> None:
    """Print a line a peer."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    for line in heading(("numpy", "torch", *PACKAGES)):
        click.echo(line)
    click.echo(f"{samples:,} samples, {dtype}, one core; load before {os.getloadavg()[0]:.2f}\n")
    drawn = images(256, 0)
    rows = np.resize(drawn, (samples, *drawn.shape[1:]))
    rows = np.rint(rows * 255).astype(np.uint8) if dtype == "uint8" else rows.astype(dtype)
    bound = mapped = 0.0
    for name, (needs, make) in PEERS.items():
        if (only and name not in only.split(",")) or find_spec(needs) is None:
            continue
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = speed(make(Path(folder), rows))
            except Exception as error:  # a library that fails is told, and the others measured
                click.echo(f"  {name:<32} fails: {type(error).__name__}: {str(error)[:80]}")
                continue
        bound = bound or found
        mapped = found if name == "ours, mapped, DataLoader" else mapped
        behind = f"; ours, mapped, through DataLoader, {mapped / found:.1f} times" if mapped else ""
        click.echo(f"  {name:<32} {found:>11,.0f} samples/s; {found / bound:.3f}{behind}")


PACKAGES = (
    "zarr", "zarrs", "tensorstore", "h5py", "lmdb", "webdataset", "datasets", "litdata",
    "mosaicml-streaming",
)  # fmt: skip

if __name__ == "__main__":
    main()
