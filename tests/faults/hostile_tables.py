"""Smaller files to be changed: folds, tables, MATLAB arrays, and the documents of a cache root."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import scipy.io

from pi_cache import catalogue
from pi_cache.errors import PiCacheError
from pi_cache.keeping.pins import pin, read_pins
from pi_cache.keeping.removal import collectable, removable, remove
from pi_cache.keeping.space import read_budget, room_of, set_budget
from pi_cache.sampling.foldfiles import from_file, to_file
from pi_cache.sampling.folds import stratified
from pi_cache.sampling.samples import Arrays, read_arrays
from pipeline.legacy.found import Where, find
from pipeline.legacy.tables import read_values
from tests.faults import demand, scratch
from tests.faults.hostile import Files, Target
from tests.faults.hostile_sources import change_one, read_whole, saved
from tests.pi_cache.made import begin_store, make_spec
from tests.sources.trees import encode, pixels

SAMPLES = Arrays([f"표본 {k}" for k in range(12)], labels=np.arange(12) % 2)
SPEC = make_spec(4)
IDS = "id,fold\n" + "".join(f"{name},{k % 3}\n" for k, name in enumerate(SAMPLES.ids))
TABLE = "id,label,group,split\n가,1,p1,train\n나,0,p2,test\n"


def images() -> np.ndarray:
    """Images (5, 8, 8) of the kind that are imported."""
    return np.random.default_rng(3).random((5, 8, 8)).astype(np.float32)


@cache
def folds_json() -> Files:
    """Folds as they are written here."""
    with scratch() as folder:
        to_file(folder / "x.json", stratified(SAMPLES, 3, seed=0), SAMPLES)
        return {"x.json": (folder / "x.json").read_bytes()}


def read_folds(path: Path) -> None:
    """Read folds; they may name each sample once a fold."""
    for fold in from_file(path, SAMPLES):
        numbers = np.concatenate(list(fold.sides.values()))
        demand(len(set(numbers.tolist())) == len(numbers), "a sample is on two sides")


def mat_files(*, compressed: bool) -> Files:
    """MATLAB arrays of images and labels."""
    content = {"PI": images(), "labels": np.arange(5)[:, None], "name": "한글"}
    return {"x.mat": saved(lambda file: save_mat(file, content, compressed=compressed))}


def save_mat(file: io.BytesIO, content: dict[str, object], *, compressed: bool) -> None:
    scipy.io.savemat(file, content, do_compression=compressed)


def read_mat(folder: Path) -> None:
    """Read images and labels for an import."""
    for key in ("PI", "labels"):
        with suppress(PiCacheError):
            read_values([f"{folder / 'x.mat'}:{key}"])
    read_images("x.mat", key="PI")(folder)


def tree_files() -> Files:
    """Images of the kind that are imported, as PNG files in folders of classes."""
    names = ["a/0.png", "a/1.png", "b/0.png"]
    return {name: encode(pixels(seed, (8, 8))[..., 0]) for seed, name in enumerate(names)}


def stack_files() -> Files:
    """The same in an array, with labels beside it."""
    return {
        "x.npy": saved(lambda file: np.save(file, images())),
        "x.labels.npy": saved(lambda file: np.save(file, np.arange(5))),
    }


def read_images(*places: str, key: str | None = None) -> Callable[[Path], None]:
    """Read images for an import."""

    def read(folder: Path) -> None:
        found = find(Where(paths=tuple(str(folder / place) for place in places), key=key))
        read_whole(found.source)

    return read


@cache
def root_files() -> Files:
    """A cache root with all its documents."""
    with scratch() as root:
        begin_store(root, SPEC)
        pin(root, SPEC.key, "한글 note")
        set_budget(root, 10**12)
        paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def use_root(root: Path) -> None:
    """Everything that is done with a cache root. What is pinned must stay."""
    with suppress(PiCacheError):
        remove(root, removable(root, [SPEC.key], young=True), young=True)
    demand((root / "stores" / SPEC.key).is_dir(), "a pinned store was removed")
    for use in (
        lambda: collectable(root, older_than=0.0, max_bytes=0),
        lambda: read_pins(root),
        lambda: read_budget(root),
        lambda: room_of(root),
        lambda: catalogue.stores(root),
        lambda: begin_store(root, SPEC),
    ):
        with suppress(PiCacheError):
            use()


TARGETS = {
    "folds csv": Target(
        lambda: {"x.csv": IDS.encode()}, change_one, lambda folder: read_folds(folder / "x.csv")
    ),
    "folds json": Target(folds_json, change_one, lambda folder: read_folds(folder / "x.json")),
    "ids csv": Target(
        lambda: {"x.csv": TABLE.encode()},
        change_one,
        lambda folder: read_arrays(folder / "x.csv") and None,
    ),
    "values csv": Target(
        lambda: {"x.csv": TABLE.encode()},
        change_one,
        lambda folder: read_values([str(folder / "x.csv")]) and None,
    ),
    "mat": Target(lambda: mat_files(compressed=False), change_one, read_mat),
    "mat compressed": Target(lambda: mat_files(compressed=True), change_one, read_mat),
    "images in folders": Target(tree_files, change_one, read_images("")),
    "images in an array": Target(stack_files, change_one, read_images("x.npy")),
    "root": Target(root_files, change_one, use_root),
}
