"""Input files to be changed, of every format that the pipeline reads."""

from __future__ import annotations

import io
import json
import random
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from pipeline.request import read_request, resolve
from pipeline.sources import cifar, open_source, read_samples
from pipeline.sources.base import Source
from pipeline.unpack import Limits, unpack
from tests.faults import demand, scratch
from tests.faults.hostile import Files, Target
from tests.faults.mutations import mutated, mutated_document
from tests.sources.test_cifar import python_two
from tests.sources.trees import encode, pixels

FEW = 4
"""Records of a made CIFAR file, where the release has thousands."""

TS = (
    "# made\n@problemName Made\n@timeStamps false\n@missing false\n@univariate false\n@dimensions 2"
    "\n@equalLength true\n@seriesLength 5\n@classLabel true a b\n@data\n"
    "1,2,3,4,5.5:-1,0.25,1e3,7,8:a\n0,?,2,3,-4:5,6,7,8,9:b\n1,1,1,1,1:2,2,2,2,2:a\n"
)
REQUEST = {
    "source": "digits",
    "split": "train",
    "recipe": "default",
    "limit": 16,
    "source_options": {"mode": "rgb"},
    "diagram": {"filtration": "cubical", "homology": [0, 1], "min_persistence": 0.5},
    "image": {"sigma": 0.125, "pixels": 9, "birth_range": [0, 2], "weight": "power:2"},
}
TOML = (
    'source = "digits"\nsplit = "train"\nlimit = 16\n[diagram]\nfiltration = "rips"\n'
    "max_length = 1.5\nhomology = [0, 1]\n[image]\nsigma = 0.125\nbirth_range = [0.0, 2.0]\n"
)


def read_whole(source: Source) -> None:
    """Every sample, its status and its digest. Raises Violation for what is OK and is not."""
    samples = read_samples(source)
    demand(len(samples.arrays) == len(samples.status) == len(source), "samples are missing")
    for array, status in zip(samples.arrays, samples.status.tolist(), strict=True):
        whole = np.asarray(array)
        demand(status or (whole.size and np.isfinite(whole).all()), "a bad sample is OK")
    source.fingerprint()


def saved(write: Callable[[io.BytesIO], object]) -> bytes:
    """What a function writes into a file."""
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def _signals() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(6, 20)).astype(np.float32)


def npy_files() -> Files:
    """An array with all that may lie beside it."""
    return {
        "x.npy": saved(lambda file: np.save(file, _signals())),
        "x.labels.npy": saved(lambda file: np.save(file, np.arange(6) % 2)),
        "x.ids.txt": "가\nb\nc\nd\ne\nf\n".encode(),
        "x.groups.txt": b"p1\np1\np2\np2\np3\np3\n",
        "x.label_names.txt": b"sit\nwalk\n",
    }


def npz_files() -> Files:
    """An array and its columns in one archive."""
    return {"x.npz": saved(lambda file: np.savez(file, **_columns()))}


def packed_files() -> Files:
    """The same, compressed."""
    return {"x.npz": saved(lambda file: np.savez_compressed(file, **_columns()))}


def _columns() -> dict[str, Any]:
    return {"data": _signals(), "labels": np.arange(6) % 2, "ids": np.array(list("abcdef"))}


def picture_files() -> Files:
    """Two folders of PNG and JPEG files."""
    kinds = [("a/0.png", "png", None), ("a/1.png", "png", "P"), ("a/2.jpg", "jpg", None)]
    kinds += [("b/0.png", "png", "L"), ("b/1.jpg", "jpg", "L"), ("b/2.jpg", "jpg", "CMYK")]
    return {
        name: encode(pixels(seed, (16, 16)), suffix, mode)
        for seed, (name, suffix, mode) in enumerate(kinds)
    }


def tiny_files() -> Files:
    """Tiny ImageNet in small, with its tables."""
    image = encode(pixels(1, (8, 8)), "jpg")
    return {
        "train/n01/images/n01_0.JPEG": image,
        "train/n02/images/n02_0.JPEG": image,
        "val/images/val_0.JPEG": image,
        "val/val_annotations.txt": b"val_0.JPEG\tn02\t0\t0\t62\t62\n",
        "words.txt": b"n01\tcat\nn02\tdog, hound\n",
    }


def _release() -> Any:
    return replace(
        cifar.CIFAR10, batches=(("data_batch_1", "train", FEW), ("test_batch", "test", FEW))
    )


def cifar_files() -> Files:
    """CIFAR-10 in small, as binary records."""
    chance = np.random.default_rng(8)
    records = chance.integers(0, 10, (2 * FEW, 1 + cifar.PLANES), np.uint8)
    return {
        "data_batch_1.bin": records[:FEW].tobytes(),
        "test_batch.bin": records[FEW:].tobytes(),
        "batches.meta.txt": "\n".join(cifar.CIFAR10.known_names).encode(),
    }


def batch_files() -> Files:
    """CIFAR-10 in small, as Python batches."""
    planes = np.random.default_rng(8).integers(0, 10, (FEW, cifar.PLANES), np.uint8)
    batch = python_two({b"labels": [1, 2, 3, 4], b"data": planes})
    names = [name.encode() for name in cifar.CIFAR10.known_names]
    meta = python_two({b"label_names": names})
    return {"data_batch_1": batch, "test_batch": batch, "batches.meta": meta}


@cache
def zarr_files(version: Any) -> Files:
    """An array of Zarr 2, or a sharded one of Zarr 3."""
    with scratch() as folder:
        inner: Any = {"shards": (4, 20), "chunks": (2, 20)} if version == 3 else {"chunks": (4, 20)}
        array = zarr.create_array(
            folder / "x.zarr", shape=(6, 20), dtype="f4", zarr_format=version, **inner
        )
        array[:] = _signals()
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


CONTENT = {"a/one.png": encode(pixels(1)), "a/two.txt": b"two" * 100}


def zip_files() -> Files:
    """A zip archive."""

    def write(file: io.BytesIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in CONTENT.items():
                archive.writestr(name, data)

    return {"archive": saved(write)}


def tar_files(mode: Any) -> Files:
    """A tar archive, compressed as the mode of tarfile says."""

    def write(file: io.BytesIO) -> None:
        with tarfile.open(fileobj=file, mode=mode) as archive:
            for name, data in CONTENT.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))

    return {"archive": saved(write)}


def change_one(files: Files, chance: random.Random) -> Files:
    """One of the files, changed."""
    name = chance.choice(sorted(files))
    others = [data for other, data in files.items() if other != name]
    if name.endswith(".json") and chance.random() < 0.5:
        changed = mutated_document(json.loads(files[name]), chance)
        return {**files, name: json.dumps(changed).encode()}
    return {**files, name: mutated(files[name], chance, others)}


def opened(text: str, **options: Any) -> Callable[[Path], None]:
    """Read the whole source of the words in which {} is the folder."""
    return lambda folder: read_whole(open_source(text.format(folder), **options))


def read_cifar(folder: Path) -> None:
    """Read CIFAR-10 in small."""
    read_whole(cifar._open(folder, _release()))


def read_archive(folder: Path) -> None:
    """Unpack the archive; few bytes may come of it, and none outside its folder."""
    inside = folder / "out"
    files, size = unpack(folder / "archive", inside, Limits(size=1 << 20, members=100))
    found = [path for path in inside.rglob("*") if path.is_file()]
    demand(len(found) == files and size <= 1 << 20, f"{files} files, {size} bytes: {found}")
    names = {path.name for path in folder.iterdir()}
    demand(names == {"archive", "out"}, f"written outside its folder: {names}")


def read_saved(name: str) -> Callable[[Path], None]:
    """Read a saved request."""
    return lambda folder: resolve(read_request(folder / name), {}) and None


TARGETS = {
    "npy": Target(npy_files, change_one, opened("array:{}/x.npy")),
    "npz": Target(npz_files, change_one, opened("array:{}/x.npz")),
    "npz compressed": Target(packed_files, change_one, opened("array:{}/x.npz")),
    "pictures": Target(picture_files, change_one, opened("imagefolder:{}")),
    "grey pictures": Target(picture_files, change_one, opened("imagefolder:{}", mode="grey")),
    "tiny-imagenet": Target(tiny_files, change_one, opened("tiny-imagenet:{}")),
    "cifar records": Target(cifar_files, change_one, read_cifar),
    "cifar batches": Target(batch_files, change_one, read_cifar),
    "ucr": Target(
        lambda: {"Made_TRAIN.ts": TS.encode(), "Made_TEST.ts": TS.encode()},
        change_one,
        opened("ucr:{}"),
    ),
    "zarr 2": Target(lambda: zarr_files(2), change_one, opened("array:{}/x.zarr")),
    "zarr 3": Target(lambda: zarr_files(3), change_one, opened("array:{}/x.zarr")),
    "zip": Target(zip_files, change_one, read_archive),
    "tar": Target(lambda: tar_files("w"), change_one, read_archive),
    "tar.gz": Target(lambda: tar_files("w:gz"), change_one, read_archive),
    "tar.xz": Target(lambda: tar_files("w:xz"), change_one, read_archive),
    "request json": Target(
        lambda: {"x.json": json.dumps(REQUEST, indent=1).encode()}, change_one, read_saved("x.json")
    ),
    "request toml": Target(lambda: {"x.toml": TOML.encode()}, change_one, read_saved("x.toml")),
}
