"""A remote store reads like the local one, from a cache of bounded size that many share."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from pi_cache import files, open_store
from pi_cache.cli import cli
from pi_cache.errors import (
    AccessRefused,
    CorruptStore,
    InvalidSpec,
    PiCacheError,
    RemoteFailed,
    StorageFull,
    StoreNotFound,
)
from pi_cache.layout import Layout
from pi_cache.reader import Check, Store
from pi_cache.remote import diskcache, http, reading
from pi_cache.remote.diskcache import DiskCache, default_cache
from tests.pi_cache.forged import sealed
from tests.pi_cache.made import make_columns, make_spec, make_store
from tests.remote.lab import Line, Server, running, served

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 2500
LAYOUTS = {
    "chunked": Layout(shard_samples=250, chunk_samples=5, point_capacity=20_000),
    "mapped": Layout.mapped(shard_samples=1024, point_capacity=20_000),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served") / "한글 캐시"


@pytest.fixture(scope="module")
def made(root: Path) -> dict[str, Path]:
    """The same samples in each layout."""
    spec = make_spec(SAMPLES)
    return {name: make_store(root / name, spec, layout) for name, layout in LAYOUTS.items()}


@pytest.fixture(scope="module")
def local(made: dict[str, Path]) -> Path:
    """A compressed store."""
    return made["chunked"]


@pytest.fixture(scope="module", params=list(LAYOUTS))
def each(request: pytest.FixtureRequest, made: dict[str, Path]) -> Path:
    """A store of either layout."""
    return made[request.param]


@pytest.fixture(scope="module")
def server(root: Path, made: dict[str, Path]) -> Iterator[Server]:
    with served(root) as server:
        yield server


@pytest.fixture(autouse=True)
def _count_anew(request: pytest.FixtureRequest) -> None:
    if "server" in request.fixturenames:
        request.getfixturevalue("server").asked.clear()


def url(server: Server, local: Path) -> str:
    return f"{server.url}/{local.relative_to(server.folder).as_posix()}"


def held(name: str = "") -> list[Path]:
    """Files of the cache of remote stores."""
    root = Path(os.environ["PI_REMOTE_CACHE"])
    return [path for path in root.rglob(f"data.zarr/{name}**/*") if path.is_file()]


def fetched_more_than_once(server: Server) -> dict[str, int]:
    return {p: n for p, n in server.asked.items() if n > 1 and "manifest" not in p}


@pytest.mark.parametrize("check", ["first-touch", "always", "size"])
def test_reads_are_those_of_the_local_store(server: Server, each: Path, check: Check) -> None:
    remote, truth = open_store(url(server, each), check=check), open_store(each)
    assert server.asked.total() == 1 and not held(), "opening reads the manifest alone"
    rng = np.random.default_rng(0)
    for name in ("images", "inputs", "status"):
        np.testing.assert_array_equal(remote.read_all(name), truth.read_all(name))
        for _ in range(20):
            rows = rng.integers(0, SAMPLES, 50)
            np.testing.assert_array_equal(remote.take(name, rows), truth.read(name, rows))
    for one, other in zip(remote.diagrams(rows), truth.diagrams(rows), strict=True):
        np.testing.assert_array_equal(one, other)
    for name in ("labels", "ids", "groups", "splits"):
        assert getattr(remote, name).tolist() == getattr(truth, name).tolist()
    assert remote.key == truth.key and remote.manifest.digest == truth.manifest.digest
    assert remote.address == url(server, each) and truth.address == str(each)
    assert not fetched_more_than_once(server)


def test_only_what_is_read_is_fetched(server: Server, local: Path) -> None:
    store = open_store(url(server, local))
    store.read("images", [0, 1, 2])
    assert [path.name for path in held("images/")] == ["c.0.0.0.0"]
    store.read("images", [0, 1, SAMPLES - 1])
    assert len(held("images/")) == 2 and len(held()) == 2
    open_store(url(server, local)).read("images", [0, 1, 2])
    assert not fetched_more_than_once(server), "another opening finds what is here"


def test_a_store_is_no_link_to_its_server_once_read(server: Server, local: Path) -> None:
    with served(local.parent) as gone:
        store = open_store(url(gone, local))
        whole = store.read_all("images")
    np.testing.assert_array_equal(store.read_all("images"), whole)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_processes_fetch_each_file_once(server: Server, local: Path, method: str) -> None:
    store, truth = open_store(url(server, local)), open_store(local)
    if method == "fork":
        store.read("images", [0])  # connections of the parent are not those of its children
    with multiprocessing.get_context(method).Pool(3) as pool:
        parts = pool.map(read_images, [store] * 6, chunksize=1)
    for part in parts:
        np.testing.assert_array_equal(part, truth.read_all("images"))
    assert not fetched_more_than_once(server)


def test_a_killed_process_keeps_nobody_waiting(root: Path, local: Path) -> None:
    """Not even where it was killed while it fetched what others want."""
    with (
        served(root) as server,
        running(Line(server.server_address[1], [(30_000, "stall")])) as line,
    ):
        place = f"{line.url}/{local.relative_to(root).as_posix()}"
        script = f"from pi_cache import open_store; open_store({place!r}).read_all('images')"
        process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
        while not line.met:
            assert process.poll() is None
        process.kill()
        process.wait()
        store = open_store(place)
        np.testing.assert_array_equal(
            store.read_all("images"), open_store(local).read_all("images")
        )


def read_images(store: Store) -> Any:
    return store.read_all("images")


def test_threads_fetch_each_file_once(server: Server, local: Path) -> None:
    store = open_store(url(server, local))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: store.read_all("inputs"), range(8)))
    assert not fetched_more_than_once(server)


def test_what_is_old_goes_first(server: Server, each: Path, monkeypatch: Any) -> None:
    truth = open_store(each)
    shards = sorted(truth.manifest.columns[0].shard_file(k) for k in range(truth.manifest.shards))
    largest = max(truth.manifest.files[name].size for name in shards)
    bound = 2 * largest
    monkeypatch.setenv("PI_REMOTE_CACHE_SIZE", str(bound))
    store = open_store(url(server, each))
    size = truth.manifest.layout.shard_samples
    for _ in range(2):
        for k in range(truth.manifest.shards):
            rows = np.arange(k * size, min((k + 1) * size, SAMPLES))
            np.testing.assert_array_equal(store.take("images", rows), truth.read("images", rows))
            assert sum(path.stat().st_size for path in held()) <= bound
        assert server.asked[f"{url(server, each).removeprefix(server.url)[1:]}/{shards[0]}"] >= 1
    assert held("images/"), "the file that was read last is here"


def test_two_readers_keep_one_bound(
    server: Server, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them knows of what the other has fetched."""
    truth = open_store(local).manifest.files
    names = [name for name in truth if name.startswith("data.zarr/images/c.")]
    bound = 3 * max(truth[name].size for name in names)
    monkeypatch.setenv("PI_REMOTE_CACHE_SIZE", str(bound))
    monkeypatch.setattr(diskcache, "COUNTING", 1e9)
    stores = [open_store(url(server, local)) for _ in range(2)]
    for k in range(len(names)):
        stores[k % 2].read("images", [250 * k])
        assert sum(path.stat().st_size for path in held()) <= bound


def test_a_file_that_others_remove_at_once_is_fetched_again(
    server: Server, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where many read through a small cache; one that never stays is no damage."""
    bring, left = DiskCache.bring, [5]

    def brought(self: DiskCache, source: Any, folder: Path, listed: str, *rest: Any) -> bool:
        fetched = bring(self, source, folder, listed, *rest)
        if left[0]:
            left[0] -= 1
            files.remove(folder / listed)
        return fetched

    monkeypatch.setattr(DiskCache, "bring", brought)
    store = open_store(url(server, local))
    np.testing.assert_array_equal(store.read("images", [0]), open_store(local).read("images", [0]))
    left[0] = 1000
    monkeypatch.setattr(reading, "GONE", 7)
    with pytest.raises(StorageFull, match=r"raise \$PI_REMOTE_CACHE_SIZE, read with fewer workers"):
        store.read("images", [SAMPLES - 1])


def test_no_store_of_a_cache_goes_with_what_is_old(
    server: Server, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where somebody has named a folder of stores as the cache of remote ones."""
    other = make_store(tmp_path / "root", make_spec(40))
    for name in ("mine", "0" * 32):
        shutil.copytree(other / "data.zarr", other.parent / name / "data.zarr")
    before = sorted(other.parent.rglob("*"))
    monkeypatch.setenv("PI_REMOTE_CACHE", str(other.parent))
    largest = max(entry.size for entry in open_store(local).manifest.files.values())
    monkeypatch.setenv("PI_REMOTE_CACHE_SIZE", str(largest))
    open_store(url(server, local)).read_all("images")
    assert all(path.exists() for path in before)


def test_a_file_that_went_is_fetched_again(server: Server, each: Path) -> None:
    """Whoever has it open reads on; who opens it later fetches it."""
    store, truth = open_store(url(server, each)), open_store(each)
    whole = truth.read_all("images")
    np.testing.assert_array_equal(store.read_all("images"), whole)
    for path in held("images/"):
        path.unlink()
    np.testing.assert_array_equal(store.read_all("images"), whole)
    other = open_store(url(server, each))
    np.testing.assert_array_equal(other.read_all("images"), whole)
    np.testing.assert_array_equal(store.read_all("images"), whole)
    for rows in (np.arange(5), np.arange(SAMPLES)[::-7]):
        np.testing.assert_array_equal(store.take("images", rows), whole[rows])


def test_a_file_that_decays_here_is_fetched_again(server: Server, local: Path) -> None:
    open_store(url(server, local)).read_all("images")
    for path in held("images/"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 8
        path.unlink()
        path.write_bytes(data)
    store = open_store(url(server, local))
    np.testing.assert_array_equal(store.read_all("images"), open_store(local).read_all("images"))


def test_wrong_bytes_are_never_read(server: Server, local: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / local.name
    shutil.copytree(local, copy)
    shard = copy / "data.zarr" / "images" / "c.0.0.0.0"
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 1
    shard.unlink()
    shard.write_bytes(data)
    with served(copy.parent) as wrong:
        store = open_store(f"{wrong.url}/{copy.name}")
        with pytest.raises(CorruptStore, match=r"http://127.*c\.0\.0\.0\.0.*expected SHA-256"):
            store.read("images", [0])
        assert not held("images/")
        assert store.read("status", [0]).shape == (1,)


def test_another_store_at_the_address_is_no_mix(tmp_path: Path) -> None:
    """The files of two stores never come together; who has opened the first is told."""
    folder = tmp_path / "served" / "store"
    shutil.copytree(make_store(tmp_path / "old", make_spec(40)), folder)
    with served(folder.parent) as server:
        store = open_store(f"{server.url}/store")
        pickled = pickle.dumps(store)
        store.read("images", [0])
        shutil.rmtree(folder)
        shutil.copytree(make_store(tmp_path / "new", make_spec(40, dtype="float32")), folder)
        with pytest.raises(CorruptStore, match="another store lies there than when it was opened"):
            store.read_all("images")
        with pytest.raises(CorruptStore, match="another store lies there than when this one"):
            pickle.loads(pickled)
        again = open_store(f"{server.url}/store")
        truth = make_columns(again.spec)["images"]
        np.testing.assert_array_equal(again.read_all("images"), truth)


def test_no_listed_path_leaves_the_cache(local: Path, tmp_path: Path) -> None:
    """A server decides what a manifest lists, and nothing of where that lies here."""
    for listed in ("data.zarr/../../x", "/etc/x", "spec.json", "data.zarr/a/./b", "data.zarr"):
        document = json.loads((local / "manifest.json").read_bytes())
        document["files"][listed] = {"size": 1, "sha256": "0" * 64}
        folder = tmp_path / "served" / "store"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").write_bytes(sealed(document))
        with (
            served(folder.parent) as server,
            pytest.raises(CorruptStore, match=r"lists only files inside data\.zarr"),
        ):
            open_store(f"{server.url}/store")


def test_a_token_travels_only_where_it_must(
    local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(local.parent, token="s3cret-token") as server:
        place = url(server, local)
        with pytest.raises(AccessRefused, match=r"set \$PI_CACHE_TOKEN"):
            open_store(place)
        given = open_store(place, token="s3cret-token")
        assert len(pickle.loads(pickle.dumps(given)).labels) == SAMPLES
        monkeypatch.setenv("PI_CACHE_TOKEN", "s3cret-token")
        store = open_store(place)
        assert b"s3cret" not in pickle.dumps(store)
        for told in (store, given, given._touch.source):  # type: ignore[attr-defined]
            assert "s3cret" not in repr(told)
        assert len(pickle.loads(pickle.dumps(store)).labels) == SAMPLES
        monkeypatch.delenv("PI_CACHE_TOKEN")
        tokens = tmp_path / "tokens"
        tokens.write_text(f"other.host t1\n127.0.0.1:{server.server_address[1]} s3cret-token\n")
        tokens.chmod(0o644)
        with pytest.raises(AccessRefused, match="chmod 600"):
            open_store(place)
        tokens.chmod(0o600)
        assert open_store(place).samples == SAMPLES
        with pytest.raises(AccessRefused, match="its token may have ended") as caught:
            open_store(place, token="wr0ng")
        assert "wr0ng" not in str(caught.value)


def test_a_server_that_is_gone_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.time, "sleep", lambda seconds: None)
    with pytest.raises(RemoteFailed, match="attempts brought nothing"):
        open_store("http://127.0.0.1:9/stores/abcd")
    assert issubclass(RemoteFailed, OSError) and issubclass(RemoteFailed, PiCacheError)


def test_commands_take_an_address(server: Server, local: Path) -> None:
    done = CliRunner().invoke(cli, ["show", url(server, local)], catch_exceptions=False)
    assert f"pi_cache.open_store('{url(server, local)}')" in done.stdout
    folds = ["folds", url(server, local), "--leave-one-group-out"]
    assert CliRunner().invoke(cli, folds, catch_exceptions=False).exit_code == 0
    with pytest.raises(StoreNotFound, match="pi-cache pull http://127"):
        CliRunner().invoke(cli, ["verify", url(server, local)], catch_exceptions=False)


def test_the_bound_is_a_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PI_REMOTE_CACHE_SIZE", "1.5GB")
    assert default_cache().bound == 1_500_000_000
    monkeypatch.setenv("PI_REMOTE_CACHE_SIZE", "much")
    with pytest.raises(InvalidSpec, match=r"\$PI_REMOTE_CACHE_SIZE: 'much' is no quantity"):
        default_cache()
    found = os.statvfs(tmp_path)
    half = found.f_bavail * found.f_frsize // 2
    assert 0.9 * min(20 * 1024**3, half) < DiskCache(tmp_path).most <= 20 * 1024**3


def test_stores_need_no_remote_library() -> None:
    """Neither reading, nor the command, nor training loads what reaches other machines."""
    script = (
        "import sys, pi_cache, pi_cache.reader, pi_cache.cli\n"
        "print(sorted({'urllib3', 'obstore', 'starlette'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("urllib3", "obstore"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("pi_cache.remote.http", "pi_cache.remote.s3"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for place in ("http://127.0.0.1/stores/x", "s3://bucket/x"):
        with pytest.raises(ImportError, match=r'pip install "pi-cache\[remote\]"'):
            open_store(place)


def test_no_thread_is_left(
    server: Server, local: Path, begun: Callable[[], list[threading.Thread]]
) -> None:
    store = open_store(url(server, local))
    store.read_all("images")
    store.read("inputs", slice(0, 300))
    del store
    named = begun()
    for thread in named:
        thread.join(30)
    assert not any(thread.is_alive() for thread in named)


def test_a_cache_too_small_for_a_file_says_so(
    server: Server, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PI_REMOTE_CACHE_SIZE", "1kB")
    store = open_store(url(server, local))
    with pytest.raises(StorageFull, match=r"takes 1\.0 kB; raise \$PI_REMOTE_CACHE_SIZE"):
        store.read("images", [0])
    assert not held()


def test_few_files_are_open_where_room_is_scarce(
    server: Server, each: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has a file open keeps its room, though it has no name any more."""
    size = open_store(each).manifest.size
    monkeypatch.setenv("PI_REMOTE_CACHE_SIZE", str(size))
    store = open_store(url(server, each))
    np.testing.assert_array_equal(store.read_all("images"), open_store(each).read_all("images"))
    store.take("images", np.arange(SAMPLES))
    assert len(store._open) <= 8 and not store.is_mapped("images")


def test_a_full_disk_closes_what_is_open(
    server: Server, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that went keeps its room while somebody has it open."""
    store, fetched = open_store(url(server, local)), diskcache.fetch

    def full_while_open(*arguments: Any, **options: Any) -> None:
        if len(store._open) >= 3:
            raise files.failure(StorageFull, errno.ENOSPC, "no space")
        fetched(*arguments, **options)

    monkeypatch.setattr(diskcache, "fetch", full_while_open)
    truth = open_store(local)
    for row in range(0, SAMPLES, 250):
        np.testing.assert_array_equal(store.read("images", [row]), truth.read("images", [row]))


def test_a_full_disk_loses_what_is_old(
    server: Server, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says what to do where there is nothing to lose."""
    truth = open_store(local).read_all("images")
    store = open_store(url(server, local))
    store.read_all("inputs")
    before = len(held("inputs/"))
    fetched, calls = diskcache.fetch, []

    def full_once(*arguments: Any, **options: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise files.failure(StorageFull, errno.ENOSPC, "no space")
        fetched(*arguments, **options)

    monkeypatch.setattr(diskcache, "fetch", full_once)
    np.testing.assert_array_equal(store.read("images", [0]), truth[:1])
    assert len(held("inputs/")) < before

    def full(*arguments: Any, **options: Any) -> None:
        raise files.failure(StorageFull, errno.ENOSPC, "no space")

    monkeypatch.setattr(diskcache, "fetch", full)
    with pytest.raises(StorageFull, match=r"put the cache of remote stores elsewhere"):
        store.read("images", [SAMPLES - 1])
