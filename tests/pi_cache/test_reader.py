"""Any order, any process; a damaged file never gives a byte."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import pickle
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pi_cache.shardfile
from pi_cache import Store, open_store
from pi_cache.errors import CorruptStore, InvalidSpec, StoreNotFound, UnfinishedStore
from pi_cache.layout import Layout
from pi_cache.manifest import FileEntry, StoreManifest
from pi_cache.reader import Check
from pi_cache.shardfile import OpenFile, ShardFile
from pi_cache.shards import CHECKSUM, ShardFormat, encode, parse_index
from tests.pi_cache.forged import sealed
from tests.pi_cache.hashing import flip
from tests.pi_cache.made import (
    CHANNELS,
    begin_store,
    fill_store,
    make_columns,
    make_spec,
    make_store,
)

SAMPLES = 27
LAYOUTS = {
    "chunked": Layout(shard_samples=8, chunk_samples=4),
    "mapped": Layout.mapped(shard_samples=8),
}


@pytest.fixture(scope="module", params=list(LAYOUTS))
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cache") / "한글 캐시"
    return make_store(root, make_spec(SAMPLES), LAYOUTS[request.param])


@pytest.fixture(scope="module")
def store(path: Path) -> Store:
    return open_store(path)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A store that the test may damage."""
    return make_store(tmp_path, make_spec(SAMPLES))


indices = st.lists(st.integers(-SAMPLES, SAMPLES - 1), max_size=40)
bounds = st.none() | st.integers(-SAMPLES - 2, SAMPLES + 2)
slices = st.builds(slice, bounds, bounds, st.sampled_from([None, 1, 2, 7, -1, -3]))


@pytest.mark.parametrize("chunk", [1, 4])
def test_any_four_rows_of_a_chunk(tmp_path: Path, chunk: int) -> None:
    """Repeated, missing and in any order: only all of them, once, are the chunk as it lies."""
    layout = Layout(shard_samples=8, chunk_samples=chunk)
    store = open_store(make_store(tmp_path, make_spec(SAMPLES), layout))
    truth = make_columns(store.spec)["inputs"]
    for rows in product(range(4, 8), repeat=4):
        np.testing.assert_array_equal(store.read("inputs", rows), truth[list(rows)])
        beside = [9, *rows, 0]
        np.testing.assert_array_equal(store.read("inputs", beside), truth[beside])


@settings(max_examples=150, deadline=None)
@given(rows=indices | slices | st.lists(st.booleans(), min_size=SAMPLES, max_size=SAMPLES))
def test_read_follows_numpy(store: Store, rows: Any) -> None:
    truth = make_columns(store.spec)
    rows = rows if isinstance(rows, slice) else np.array(rows, dtype=None if rows else int)
    for name in ("images", "status", "inputs"):
        np.testing.assert_array_equal(store.read(name, rows), truth[name][rows])


@settings(max_examples=100, deadline=None)
@given(rows=indices | slices)
def test_diagrams_follow_the_offsets(store: Store, rows: Any) -> None:
    truth = make_columns(store.spec)
    wanted = np.arange(SAMPLES)[rows if isinstance(rows, slice) else np.array(rows, int)]
    points, offsets = store.diagrams(rows)
    assert offsets.shape == (len(wanted), CHANNELS + 1)
    for row, i in enumerate(wanted):
        for c in range(CHANNELS):
            expected = truth["points"][slice(*truth["offsets"][i, c : c + 2])]
            np.testing.assert_array_equal(points[slice(*offsets[row, c : c + 2])], expected)
    assert not len(wanted) or offsets[-1, -1] == len(points)


def test_out_is_filled(store: Store) -> None:
    out = np.empty((3, CHANNELS, 6, 6), np.float16)
    assert store.read("images", [9, 2, 2], out=out) is out
    np.testing.assert_array_equal(out, make_columns(store.spec)["images"][[9, 2, 2]])
    with pytest.raises(InvalidSpec, match="out must be contiguous float16"):
        store.read("images", [1], out=out)
    out.flags.writeable = False
    with pytest.raises(InvalidSpec, match="out must be writable"):
        store.read("images", [1, 2, 3], out=out)


def test_wrong_requests(store: Store) -> None:
    with pytest.raises(IndexError, match="sample 27 is not in a store of 27"):
        store.read("images", [0, 27])
    with pytest.raises(IndexError, match="one-dimensional"):
        store.read("images", 3)
    with pytest.raises(IndexError, match="whole numbers"):
        store.read("images", [0.5])
    with pytest.raises(IndexError, match="mask needs 27"):
        store.read("images", [True])
    with pytest.raises(InvalidSpec, match="no array 'image' in this store; it has images"):
        store.read("image", [0])
    with pytest.raises(InvalidSpec, match=r"labels is a table, which is read whole: take .labels"):
        store.read("labels", [0])
    with pytest.raises(InvalidSpec, match=r"a row for every point, not sample: take .diagrams"):
        store.read("points", [0])
    with pytest.raises(IndexError, match=r"sample 18446744073709551615 is not in a store of 27"):
        store.read("images", np.array([1, 2**64 - 1], np.uint64))
    with pytest.raises(IndexError, match=r"channel 3 is not in 0..2"):
        store.diagram(0, 3)
    with pytest.raises(InvalidSpec, match="axis must be birth or persistence"):
        store.axis("death")
    with pytest.raises(InvalidSpec, match="check must be one of"):
        open_store(store.path, check="never")  # type: ignore[arg-type]


def test_what_a_store_says(store: Store) -> None:
    assert len(store) == store.samples == SAMPLES
    assert "27 samples, images float16" in repr(store)
    assert store.columns == ("images", "status", "offsets", "inputs")
    np.testing.assert_allclose(store.axis("birth"), np.arange(6) / 6)
    np.testing.assert_array_equal(store.status, make_columns(store.spec)["status"])


@pytest.mark.parametrize("name", ["labels", "ids", "groups", "splits", "status"])
def test_what_a_store_keeps_cannot_be_changed(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="read-only"):
        getattr(store, name)[0] = 1


def test_a_store_is_read_after_a_change_of_folder(
    own: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(own.parents[1])
    key = own.name
    stores = [
        open_store(f"stores/{key}"),
        open_store(key, root="."),
        open_store(Path("stores", key)),
    ]
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    for store in stores:
        assert store.path == own
        assert len(pickle.loads(pickle.dumps(store)).read("images", [3])) == 1
        assert len(store.read("images", [3])) == 1


def test_axis_of_a_legacy_grid(tmp_path: Path) -> None:
    spec = make_spec(3, birth_range=(-1.0, 2.0), persistence_range=(0.0, 2.0), grid="legacy-persim")
    spec = spec.replace(image=spec.image.replace(row_order="descending"))
    store = open_store(make_store(tmp_path, spec))
    np.testing.assert_allclose(store.axis("birth"), np.linspace(-1, 2, 6))
    np.testing.assert_allclose(store.axis("persistence"), np.linspace(2, 0, 6))


def test_open_by_key_and_by_prefix(own: Path) -> None:
    root, key = own.parents[1], own.name
    for name in (key, key[:7], key[:7].upper()):
        assert open_store(name, root=root).path == own
    with pytest.raises(StoreNotFound, match="first 4 or more"):
        open_store("zz", root=root)
    with pytest.raises(StoreNotFound, match="pi-cache ls"):
        open_store("0123456", root=root)
    with pytest.raises(StoreNotFound, match="no store in"):
        open_store(root)


def answer(store: Store, queue: Any) -> None:
    queue.put(store.read("images", [20, 3]).tobytes() + store.diagrams([26])[0].tobytes())


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_other_processes_read_the_same(store: Store, method: str) -> None:
    store.read("images", [0])
    expected = store.read("images", [20, 3]).tobytes() + store.diagrams([26])[0].tobytes()
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    workers = [context.Process(target=answer, args=(store, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert [queue.get(timeout=60) for _ in workers] == [expected] * 2
    for worker in workers:
        worker.join()


def test_pickle_carries_no_handles(store: Store) -> None:
    store.read_all("images")
    data = pickle.dumps(store)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert again._open == {} and again.manifest == store.manifest


def test_pickle_notices_another_store(tmp_path: Path) -> None:
    path = make_store(tmp_path / "a", make_spec(5))
    data = pickle.dumps(open_store(path))
    other = make_store(tmp_path / "b", make_spec(6))
    path.rename(tmp_path / "old")
    other.rename(path)
    with pytest.raises(CorruptStore, match="another store lies here"):
        pickle.loads(data)


def test_many_shards_use_few_handles(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pi_cache.shardfile, "OPEN_SHARDS", 2)
    store = open_store(own)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        store.read_all("images")
    assert len(store._open) == 2
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2


IMAGES = "data.zarr/images/c.1.0.0.0"
DAMAGES: dict[str, Callable[[Path], object]] = {
    "first bit": lambda path: flip(path / IMAGES, 0),
    "middle bit": lambda path: flip(path / IMAGES, 100),
    "index bit": lambda path: flip(path / IMAGES, -10),
    "zeros": lambda path: (path / IMAGES).write_bytes(bytes((path / IMAGES).stat().st_size)),
}
AT_OPENING: dict[str, Callable[[Path], object]] = {
    "shorter": lambda path: os.truncate(path / IMAGES, 100),
    "empty": lambda path: os.truncate(path / IMAGES, 0),
    "longer": lambda path: (path / IMAGES).write_bytes((path / IMAGES).read_bytes() + b"x"),
    "deleted": lambda path: (path / IMAGES).unlink(),
    "swapped": lambda path: (path / IMAGES).write_bytes(
        (path / IMAGES.replace("c.1", "c.0")).read_bytes()
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_before_any_byte(own: Path, damage: str) -> None:
    DAMAGES[damage](own)
    store, truth = open_store(own), make_columns(make_spec(SAMPLES))["images"]
    np.testing.assert_array_equal(store.read("images", [0, 7]), truth[[0, 7]])
    for rows in ([8], slice(None), [0, 15]):
        with pytest.raises(CorruptStore, match=r"images/c.1.0.0.0: expected SHA-256 .*, got"):
            store.read("images", rows)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_damage_of_any_array_is_found_before_any_byte(tmp_path: Path, layout: str) -> None:
    path = make_store(tmp_path, make_spec(SAMPLES), LAYOUTS[layout])
    for column in open_store(path).manifest.columns:
        listed = column.shard_file(1)
        flip(path / listed, 7)
        store = open_store(path)
        reads: dict[str, Callable[[], object]] = {
            "whole": partial(store.read_all, column.name),
            "one": partial(store.read, column.name, [9]),
            "range": partial(store.read, column.name, slice(9, 12)),
        }
        if column.name in ("points", "offsets"):
            reads = {
                "whole": partial(store.diagrams, slice(None)),
                "one": partial(store.diagram, 9, 0),
                "some": partial(store.diagrams, [15, 3, 8]),
            }
        for read in reads.values():
            with pytest.raises(CorruptStore, match=rf"{listed}: expected SHA-256 \w{{64}}, got \w"):
                read()
        flip(path / listed, 7)


@pytest.mark.parametrize("damage", AT_OPENING)
def test_missing_and_short_files_are_found_at_opening(own: Path, damage: str) -> None:
    AT_OPENING[damage](own)
    with pytest.raises(CorruptStore, match=r"images/c.1.0.0.0 (has|is missing)"):
        open_store(own)


@pytest.mark.parametrize("damage", AT_OPENING)
def test_damage_after_opening(own: Path, damage: str) -> None:
    store = open_store(own)
    AT_OPENING[damage](own)
    with pytest.raises(CorruptStore, match=r"images/c.1.0.0.0"):
        store.read("images", [8])


def test_size_check_still_has_the_chunk_checksums(own: Path) -> None:
    store = open_store(own, check="size")
    for position in range(0, (own / IMAGES).stat().st_size, 37):
        flip(own / IMAGES, position)
        with pytest.raises(CorruptStore, match=r"damaged|expected"):
            open_store(own, check="size").read("images", slice(8, 16))
        flip(own / IMAGES, position)
    store.read_all("images")


def test_always_checks_again(own: Path) -> None:
    once, always = open_store(own), open_store(own, check="always")
    for store in (once, always):
        store.read("images", [8])
    before = (own / IMAGES).stat()
    flip(own / IMAGES, -10)
    os.utime(own / IMAGES, ns=(before.st_atime_ns, before.st_mtime_ns))  # as bytes decay
    once.read("images", [8])
    with pytest.raises(CorruptStore, match="expected SHA-256"):
        always.read("images", [8])


@pytest.mark.parametrize("check", ["first-touch", "always"])
@pytest.mark.parametrize("damage", [*DAMAGES, "shorter", "longer"])
def test_what_is_written_to_an_open_shard_is_found(
    path: Path, tmp_path: Path, check: Check, damage: str
) -> None:
    own = tmp_path / path.name
    shutil.copytree(path, own)
    store = open_store(own, check=check)
    store.read("images", [8])
    (DAMAGES | AT_OPENING)[damage](own)
    with pytest.raises(CorruptStore, match=r"images/c.1.0.0.0: (expected SHA|\d+ bytes, the man)"):
        store.read("images", [9])


@pytest.mark.parametrize("table", ["ids", "labels", "groups", "splits"])
def test_damaged_tables_are_found(own: Path, table: str) -> None:
    flip(own / f"data.zarr/{table}/c.0", 20)
    with pytest.raises(CorruptStore, match=f"{table}/c.0: expected SHA-256"):
        getattr(open_store(own), table)


READER = """
import concurrent.futures.thread, os, sys  # all before Python's own files are out of reach
from pathlib import Path
from pi_cache.integrity.verification import verify
from pi_cache.reader import open_store
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
path = Path(sys.argv[1])
try:
    (path / "new").write_bytes(b"")
except PermissionError:
    pass
else:
    sys.exit("the folder can be written")
assert open_store(path).read_all("images").tobytes() == sys.stdin.buffer.read()
assert verify(path) == []
"""


def test_a_finished_store_can_be_read_only(own: Path) -> None:
    """Read by a process that cannot write; root gives up its rights for it."""
    for path in [own, *own.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    above = [path for path in own.parents if path.stat().st_uid == os.getuid()]
    modes = {path: path.stat().st_mode for path in above if path != Path("/")}
    try:
        for path, mode in modes.items():
            path.chmod(mode | 0o111)
        done = subprocess.run(
            [sys.executable, "-c", READER, str(own)],
            input=make_columns(make_spec(SAMPLES))["images"].tobytes(),
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
        for path in [own, *own.rglob("*")]:
            path.chmod(0o755)


def shard_file(
    path: Path, shard: ShardFormat, rows: int, index: dict[tuple[int, int], int] | None = None
) -> ShardFile:
    """A shard of ones, its index changed and sealed again, with an entry that fits."""
    data = encode(np.ones((rows, *shard.row_shape), shard.dtype), shard)
    places = parse_index(data[-shard.index_bytes :], shard)
    for place, value in (index or {}).items():
        places[place] = value
    packed = places.astype("<i8").tobytes()
    checksum = google_crc32c.value(packed).to_bytes(CHECKSUM, "little")
    data = data[: -shard.index_bytes] + packed + checksum
    path.write_bytes(data)
    entry = FileEntry(len(data), hashlib.sha256(data).hexdigest())
    return ShardFile(OpenFile(path, entry), shard)


SHARD = ShardFormat(8, 2, (3,), np.dtype("f4"))
MAPPED = ShardFormat(8, 1, (3,), np.dtype("f4"), "none")


@pytest.mark.parametrize("shard", [SHARD, MAPPED])
@pytest.mark.parametrize(
    "index", [{(1, 0): 10**6}, {(1, 1): 10**6}, {(0, 0): -5}, {(1, 1): 3}, {(1, 0): -1}]
)
def test_an_index_that_points_outside_is_refused(
    tmp_path: Path, shard: ShardFormat, index: dict[tuple[int, int], int]
) -> None:
    with pytest.raises(CorruptStore, match="index points outside the shard"):
        shard_file(tmp_path / "shard", shard, 8, index)


@pytest.mark.parametrize("shard", [SHARD, MAPPED])
def test_rows_that_a_shard_lacks_are_refused(tmp_path: Path, shard: ShardFormat) -> None:
    file = shard_file(tmp_path / "shard", shard, 4)
    out = np.zeros((2, 3), "f4")
    file.read_range(2, 4, out)
    assert out.all()
    with pytest.raises(CorruptStore, match=r"inner chunk \d is missing"):
        file.read_range(3, 5, out)
    with pytest.raises(CorruptStore, match=r"inner chunk \d is missing"):
        file.read_rows(np.array([0, 7]), out, slice(0, 2))


def claiming(path: Path, samples: int, shards: int) -> None:
    """Make the manifest of a small store claim that many samples in so many shards."""
    document = json.loads((path / "manifest.json").read_bytes())
    spec = make_spec(samples)
    layout = {**document["blueprint"]["layout"], "shard_samples": -(-samples // shards)}
    blueprint = {**document["blueprint"], "key": spec.key, "samples": samples, "layout": layout}
    claims = {"key": spec.key, "diagram_key": spec.diagram_key, "spec": spec.to_dict()}
    claims |= {"blueprint": blueprint, "samples": samples, "shards": shards}
    (path / "manifest.json").write_bytes(sealed(document | claims | {"status": {"OK": samples}}))


@pytest.mark.parametrize(
    ("samples", "shards", "message"),
    [
        (10**15, 1, "an inner chunk of 10{15} rows .* at most 1073741824 are read at once"),
        (10**15, 4, "an inner chunk of 250{13} rows .* at most 1073741824 are read at once"),
        (10**15, 10**12, "disagrees with itself: .*shards and files"),
        (1 << 24, 4, "disagrees with itself: .*shards and files"),  # the index alone is longer
    ],
)
def test_a_manifest_that_claims_more_than_its_files_hold(
    own: Path, samples: int, shards: int, message: str
) -> None:
    own = own.rename(own.with_name("sent by somebody"))
    claiming(own, samples, shards)
    with pytest.raises(CorruptStore, match=message):
        open_store(own)
    claiming(own, SAMPLES, 4)
    assert len(open_store(own)) == SAMPLES  # what is refused is the claim


def test_unfinished_is_told_from_absent(tmp_path: Path) -> None:
    build = begin_store(tmp_path, make_spec())
    with pytest.raises(UnfinishedStore, match="begun and not finished"):
        open_store(build.path)
    manifest: StoreManifest = fill_store(build)
    assert open_store(manifest.key, root=tmp_path).manifest == manifest


def test_reading_needs_no_zarr(own: Path) -> None:
    code = (
        "import sys, pi_cache\n"
        f"store = pi_cache.open_store({str(own)!r})\n"
        "store.read_all('images'), store.diagram(0, 0), store.ids, store.labels\n"
        "assert not {'zarr', 'asyncio', 'concurrent.futures'} & set(sys.modules), 'imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


THREADS = """
import sys, threading
import numpy as np
import pi_cache.shardfile
from tests.pi_cache.made import make_columns
pi_cache.shardfile.OPEN_SHARDS = 3
sys.setswitchinterval(1e-6)
store = pi_cache.open_store(sys.argv[1])
truth = make_columns(store.spec)["images"]
wrong = []

def read(seed):
    try:
        rng = np.random.default_rng(seed)
        for _ in range(300):
            rows = rng.integers(0, len(store), 10)
            if store.read("images", rows).tobytes() != truth[rows].tobytes():
                raise ValueError(f"wrong rows {rows}")
    except BaseException as error:
        wrong.append(repr(error))

threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(store._open) <= 3 + len(threads)
sys.exit("; ".join(wrong) or 0)
"""


@pytest.mark.parametrize("layout", [Layout(shard_samples=4), Layout.mapped(shard_samples=4)])
def test_threads_share_a_store_of_many_shards(tmp_path: Path, layout: Layout) -> None:
    path = make_store(tmp_path, make_spec(80), layout)
    command = [sys.executable, "-c", THREADS, str(path)]
    done = subprocess.run(command, timeout=60, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_shard_used_longest_ago_is_closed(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pi_cache.shardfile, "OPEN_SHARDS", 2)
    store = open_store(own)
    for row in (0, 8, 1, 16):
        store.read("images", [row])
    assert [name.split(".")[2] for name in store._open] == ["0", "2"]


@pytest.mark.parametrize(
    ("limit", "most"), [(-1, 256), (4, 1), (64, 16), (1024, 256), (1 << 20, 256)]
)
def test_open_shards_leave_descriptors_to_others(
    monkeypatch: pytest.MonkeyPatch, limit: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert pi_cache.shardfile.most_open() == most


def test_stores_share_the_descriptors_of_a_process(tmp_path: Path) -> None:
    layout = Layout.mapped(shard_samples=1)
    paths = [make_store(tmp_path, make_spec(samples), layout) for samples in (60, 61, 62)]
    stores = []
    before, hardest = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(used, 50) + 100, hardest))
    try:
        for path in paths:
            store = open_store(path)
            for name in ("images", "inputs"):
                truth = make_columns(store.spec)[name]
                np.testing.assert_array_equal(store.read_all(name), truth)
            stores.append(store)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hardest))
    assert len(stores[-1].ids) == 62


def test_threads_share_a_store(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pi_cache.shardfile, "OPEN_SHARDS", 1)
    store, truth = open_store(own), make_columns(make_spec(SAMPLES))["images"]
    orders = [np.random.default_rng(seed).permutation(SAMPLES) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        for order, rows in zip(
            orders, pool.map(partial(store.read, "images"), orders), strict=True
        ):
            np.testing.assert_array_equal(rows, truth[order])
