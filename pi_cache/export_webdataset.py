"""A store as tar files in the order of its samples, as WebDataset and any tar program read them.

Sample 12 of the store is `00000012.npy`, its image, and `00000012.json`, who it is; its raw sample
is `00000012.inputs.npy` where inputs go out. Owner, time and mode are the same in all tars, so the
bytes depend on the samples only.
"""

from __future__ import annotations

import itertools
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from pi_cache import files
from pi_cache.export import Blocks, File, Selected
from pi_cache.export_npy import npy_header

SHARD_BYTES = 1 << 28
"""Of a tar, about, unless its number of samples is given: large enough to be read in sequence."""


def default_shard(selected: Selected) -> int:
    """Samples of a tar of about SHARD_BYTES, at least one."""
    size = sum(
        int(np.prod(selected.shape(name)[1:])) * selected.dtype(name).itemsize + 2048
        for name in selected.arrays
    )
    return max(1, SHARD_BYTES // size)


def tar_files(selected: Selected, samples: int) -> Iterator[File]:
    """`shard-000000.tar` and so on, of that many samples each."""
    for k, start in enumerate(range(0, len(selected.samples), samples)):
        stop = min(start + samples, len(selected.samples))
        size = _tar_size(selected, start, stop)
        yield File(
            name=f"shard-{k:06d}.tar", size=size, blocks=_blocks(selected, start, stop, size)
        )


def _blocks(selected: Selected, start: int, stop: int, size: int) -> Blocks:
    def blocks() -> Iterator[files.Buffer]:
        headers = {name: _header(selected, name) for name in selected.arrays}
        columns = [itertools.chain.from_iterable(selected.rows(n, start, stop)) for n in headers]
        written = 0
        for place, rows in enumerate(zip(*columns, strict=True), start):
            number = int(selected.samples[place])
            named = zip(headers.items(), rows, strict=True)
            parts = [
                _member(f"{number:08d}{SUFFIXES[name]}", header + row.tobytes())
                for (name, header), row in named
            ]
            data = b"".join([*parts, _member(f"{number:08d}.json", _who(selected, place))])
            written += len(data)
            yield data
        yield bytes(size - written)  # zeros end a tar

    return blocks


SUFFIXES = {"images": ".npy", "inputs": ".inputs.npy"}


def _header(selected: Selected, name: str) -> bytes:
    return npy_header(selected.shape(name)[1:], selected.dtype(name))


def _tar_size(selected: Selected, start: int, stop: int) -> int:
    """Bytes of a tar: members in blocks of 512, and zeros up to a whole record."""
    arrays = sum(
        tarfile.BLOCKSIZE
        + _padded(
            len(_header(selected, name))
            + int(np.prod(selected.shape(name)[1:])) * selected.dtype(name).itemsize
        )
        for name in selected.arrays
    )
    who = sum(
        tarfile.BLOCKSIZE + _padded(len(_who(selected, place))) for place in range(start, stop)
    )
    end = arrays * (stop - start) + who + 2 * tarfile.BLOCKSIZE
    return -(-end // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _member(name: str, data: bytes) -> bytes:
    """A file of a tar: its header, its bytes, and zeros up to a whole block."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    header = entry.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
    return header + data + bytes(_padded(len(data)) - len(data))


def _who(selected: Selected, place: int) -> bytes:
    """The JSON of the sample at a place among those that go out."""
    store, number = selected.store, int(selected.samples[place])
    label = int(store.labels[number])
    names = store.label_names
    document: dict[str, Any] = {
        "sample": number,
        "id": str(store.ids[number]),
        "label": label,
        "label_name": names[label] if 0 <= label < len(names) else None,
        "group": None if store.groups is None else str(store.groups[number]),
        "split": None if store.splits is None else str(store.splits[number]),
    }
    return json.dumps(document, ensure_ascii=False).encode()
