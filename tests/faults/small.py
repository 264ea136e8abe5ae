"""The small store of fault rounds: how it is built, and what must hold of it whatever happened."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from pi_cache import files, open_store, store
from pi_cache.errors import CorruptStore, StoreNotFound, UnfinishedStore
from pi_cache.integrity.verification import Finding, verify
from pi_cache.layout import Layout, SampleTable, standard_columns
from pi_cache.ledger import Build, finish, missing_shards, write_shard
from pi_cache.manifest import ShardRecord, StoreManifest
from pi_cache.reader import Store
from tests.faults import Violation, demand, scratch
from tests.pi_cache.made import CHANNELS, make_columns, make_spec, shard_columns

Log = Callable[[int], object]


@dataclass(frozen=True)
class Small:
    """A store of so many samples; `build` gives the same bytes each time."""

    samples: int
    shard_samples: int

    @property
    def key(self) -> str:
        """The key of the store."""
        return make_spec(self.samples).key

    @property
    def ids(self) -> list[str]:
        """Names of the samples."""
        return [f"표본/{i}" for i in range(self.samples)]

    @property
    def labels(self) -> np.ndarray:
        """A label a sample."""
        return np.arange(self.samples) % 4

    def path(self, root: Path) -> Path:
        """The folder of the store."""
        return root / "stores" / self.key

    def begin(self, root: Path) -> Build:
        """The build, new or as it was left."""
        spec = make_spec(self.samples)
        return store.begin(
            root,
            spec,
            SampleTable(ids=self.ids, labels=self.labels),
            standard_columns(spec.image, CHANNELS),
            layout=Layout(shard_samples=self.shard_samples, chunk_samples=self.shard_samples),
        )

    def write(self, build: Build, k: int) -> None:
        """Publish shard k."""
        columns = {n: c for n, c in columns_of(self.samples).items() if n != "inputs"}
        write_shard(build, k, shard_columns(columns, build.sample_range(k)))

    def build(self, root: Path, log: Log = lambda k: None) -> StoreManifest:
        """The finished store; log is called with every shard that is on the disk by then."""
        build = self.begin(root)
        for k in missing_shards(build):
            self.write(build, k)
            log(k)
        return finish(build)

    def truth(self) -> StoreManifest:
        """The manifest of a build that nothing disturbed."""
        return truth_of(self)


@cache
def columns_of(samples: int) -> dict[str, np.ndarray]:
    return make_columns(make_spec(samples))


@cache
def truth_of(small: Small) -> StoreManifest:
    with scratch() as root:
        return small.build(root)


Records = Mapping[int, bytes]


def records_of(small: Small, root: Path) -> Records:
    """The records whose files all have their digests, as they lie on the disk; changes nothing."""
    path = small.path(root)
    places = {k: path / "ledger" / f"{k:06d}.json" for k in range(small.truth().shards)}
    return {k: data for k, place in places.items() if (data := _held(path, place)) is not None}


def ledger_of(small: Small, root: Path) -> set[int]:
    """The shards that have a record, whatever it says."""
    return {int(place.stem) for place in (small.path(root) / "ledger").glob("0*.json")}


def _held(path: Path, place: Path) -> bytes | None:
    try:
        data = files.read_bytes(place)
        record = ShardRecord.from_bytes(data)
        differ = [files.difference(path / name, *entry) for name, entry in record.files.items()]
    except (FileNotFoundError, CorruptStore):
        return None
    return None if any(differ) else data


def check_whole(small: Small, path: Path) -> Store:
    """The store, which must be finished, be read as it was computed, and have no finding."""
    whole = open_store(path, check="always")
    digest, expected = whole.manifest.digest, small.truth().digest
    demand(digest == expected, f"digest {digest}, undisturbed {expected}")
    columns = columns_of(small.samples)
    points, offsets = whole.diagrams(slice(None))
    read = {name: whole.read_all(name) for name in ("images", "status")}
    for name, found in (read | {"points": points, "offsets": offsets}).items():
        same = np.array_equal(found, columns[name], equal_nan=True)
        demand(same, f"{name} is read as other numbers than were written")
    demand(whole.ids.tolist() == small.ids, f"ids are read as {whole.ids.tolist()}")
    demand(np.array_equal(whole.labels, small.labels), f"labels are read as {whole.labels}")
    demand(not (findings := verify(path)), f"verify finds {[str(one) for one in findings]}")
    return whole


def check_left(small: Small, root: Path, *, damaged: bool = False) -> str:
    """What a disturbed build left: "absent", "unfinished" or "finished", and then whole.

    damaged: where it began with a damaged store; one that still says so is "damaged".
    """
    path = small.path(root)
    try:
        check_whole(small, path)
    except UnfinishedStore:
        return "unfinished"
    except StoreNotFound:
        return "absent"
    except CorruptStore:
        if not damaged:
            raise
        return "damaged"
    except Violation:
        if not (damaged and _unread(verify(path))):
            raise
        return "damaged"
    return "finished"


def _unread(findings: Sequence[Finding]) -> bool:
    """Whether what is wrong is nothing that is read: ledger, blueprint, metadata for zarr."""
    read = [f for f in findings if f.path.startswith("data.zarr/") and ".json" not in f.path]
    return bool(findings) and not read


def check_resumed(small: Small, root: Path, kept: Records) -> None:
    """Build on: the same store, none of the kept records computed again or written anew."""
    again: list[int] = []
    small.build(root, again.append)
    check_whole(small, small.path(root))
    lost = sorted(kept.keys() & set(again))
    demand(not lost, f"recorded shards {lost} were computed again")
    found = records_of(small, root)
    anew = [k for k, record in kept.items() if found.get(k) != record]
    demand(not anew, f"the records of shards {anew} were written anew")


def copy_of(small: Small, root: Path) -> Path:
    """A finished store in another root, made by copying one."""
    path = small.path(root)
    shutil.copytree(small.path(_template(small)), path)
    return path


@cache
def _template(small: Small) -> Path:
    folder = tempfile.TemporaryDirectory(prefix="faults.")
    atexit.register(folder.cleanup)
    small.build(Path(folder.name))
    return Path(folder.name)


@contextmanager
def in_order() -> Iterator[None]:
    """One thread, so that calls are made in the same order each time; Zarr metadata made once.

    zarr makes them in memory, from nothing but the specs: no file is touched, and half of the time
    of a round is saved.
    """
    real, threads = store.metadata, files.in_threads

    def metadata(build: Build, table: SampleTable) -> dict[str, bytes]:
        known = (build.spec.key, build.blueprint.digest)
        if known not in _METADATA:
            _METADATA[known] = real(build, table)
        return _METADATA[known]

    store.metadata = metadata
    files.in_threads = lambda function, items: [function(item) for item in items]
    try:
        yield
    finally:
        store.metadata, files.in_threads = real, threads


_METADATA: dict[tuple[str, str], dict[str, bytes]] = {}


def age(path: Path, seconds: float = 40 * 86400.0) -> None:
    """Set all times in a store back, as if nothing had touched it for so long."""
    then = time.time() - seconds
    for place in (*path.rglob("*"), path):
        os.utime(place, (then, then))
