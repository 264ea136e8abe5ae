"""A pull ends with an equal store or with an error, whatever the line does, and goes on."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pi_cache import open_store
from pi_cache.cli import cli
from pi_cache.errors import (
    AccessRefused,
    AlreadyPublished,
    CorruptStore,
    InvalidSpec,
    PiCacheError,
    StorageFull,
    StoreNotFound,
    UnfinishedStore,
)
from pi_cache.integrity.verification import inspect
from pi_cache.keeping.space import set_budget
from pi_cache.ledger import existing_manifest
from pi_cache.remote.pulling import Transfer, pull
from pi_cache.remote.transport import FolderTransport, store_transport
from tests.pi_cache.made import begin_store, make_spec, make_store
from tests.remote.lab import Line, Server, running, scattered, served, source
from tests.remote.made import make_large

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("original") / "한글", make_spec(40))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_large(tmp_path_factory.mktemp("large"), 12_000_000)


def pull_from(url: str, root: Path, key: str = "", **options: object) -> Transfer:
    place = f"{url}/stores/{key}".rstrip("/")
    return pull(source(place), place, root, **options)  # type: ignore[arg-type]


def assert_equal(path: Path, original: Path) -> None:
    """Whole, and the very bytes of the original in every file that is listed."""
    assert inspect(path).whole
    manifest = existing_manifest(original)
    assert manifest is not None
    for name in ("manifest.json", *manifest.files):
        assert (path / name).read_bytes() == (original / name).read_bytes(), name


def test_a_pulled_store_is_the_original(original: Path, tmp_path: Path) -> None:
    with served(original.parents[1]) as server:
        done = pull_from(server.url, tmp_path, original.name)
        assert_equal(Path(done.place), original)
        assert done.moved_files == done.files and not done.found
        asked = server.asked.total()
        again = pull_from(server.url, tmp_path, original.name)
        assert again.found and again.moved_files == 0
        assert server.asked.total() == asked + 1, "the manifest alone"


def test_only_what_is_lost_is_fetched(original: Path, tmp_path: Path) -> None:
    with served(original.parents[1]) as server:
        path = Path(pull_from(server.url, tmp_path, original.name).place)
        shard = path / "data.zarr" / "images" / "c.1.0.0.0"
        shard.unlink()
        done = pull_from(server.url, tmp_path, original.name)
        assert (done.moved_files, done.moved_bytes) == (1, shard.stat().st_size)
        assert_equal(path, original)


def test_a_damaged_file_of_a_broken_pull_goes_to_quarantine(original: Path, tmp_path: Path) -> None:
    with served(original.parents[1]) as server:
        path = Path(pull_from(server.url, tmp_path, original.name).place)
        (path / "manifest.json").unlink()
        shard = path / "data.zarr" / "images" / "c.1.0.0.0"
        damaged = bytes([shard.read_bytes()[0] ^ 1]) + shard.read_bytes()[1:]
        shard.unlink()
        shard.write_bytes(damaged)
        assert pull_from(server.url, tmp_path, original.name).moved_files == 1
        assert_equal(path, original)
        assert len(list((path / "quarantine").iterdir())) == 1


def test_a_folder_is_pulled_by_the_start_of_a_key(original: Path, tmp_path: Path) -> None:
    found, shown = store_transport(str(original.parents[1]), original.name[:8])
    assert_equal(Path(pull(found, shown, tmp_path).place), original)
    with pytest.raises(StoreNotFound, match="no store 'ffff'"):
        store_transport(str(original.parents[1]), "ffff")


def test_no_store_is_an_error(original: Path, tmp_path: Path) -> None:
    with served(original.parents[1]) as server:
        with pytest.raises(StoreNotFound, match=r"no store at http://127.*/stores/ab"):
            pull_from(server.url, tmp_path, "ab")
        assert not (tmp_path / "stores").exists()


@pytest.mark.parametrize(
    ("listing", "kind", "message"),
    [
        (None, StoreNotFound, "nothing there says which stores there are"),
        (b"[" * 100_000, InvalidSpec, "is no catalogue of stores; give the whole key"),
        (b'{"stores": [null]}', InvalidSpec, "is no catalogue of stores; give the whole key"),
    ],
    ids=["absent", "deep", "null"],
)
def test_a_server_that_lists_no_stores(
    tmp_path: Path, listing: bytes | None, kind: type[Exception], message: str
) -> None:
    (tmp_path / "v1").mkdir()
    if listing is not None:
        (tmp_path / "v1" / "stores").write_bytes(listing)
    with served(tmp_path) as server, pytest.raises(kind, match=message):
        store_transport(server.url, "abcd")


def test_another_store_of_the_key_stays(original: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    begun = begin_store(other, make_spec(40))
    path = Path(pull(FolderTransport(original), "x", tmp_path).place)
    manifest = (path / "manifest.json").read_bytes()
    shutil.copytree(original, tmp_path / "changed" / original.name)
    changed = tmp_path / "changed" / original.name
    _change_statuses(changed)
    with pytest.raises(AlreadyPublished, match="with other files"):
        pull(FolderTransport(changed), str(changed), tmp_path)
    assert (path / "manifest.json").read_bytes() == manifest
    assert begun.path.name == original.name


def _change_statuses(path: Path) -> None:
    """Another finished store of the same key, such as one of another library's last bits."""
    from dataclasses import replace

    from pi_cache.manifest import FileEntry, StoreManifest, files_digest

    manifest = StoreManifest.from_bytes((path / "manifest.json").read_bytes())
    name = sorted(manifest.files)[0]
    files = {**manifest.files, name: FileEntry(1, "0" * 64)}
    changed = replace(manifest, files=files, digest=files_digest(files))
    (path / "manifest.json").unlink()
    (path / "manifest.json").write_bytes(changed.to_bytes())


def test_a_build_of_another_layout_stays(original: Path, tmp_path: Path) -> None:
    from pi_cache.layout import Layout

    begun = begin_store(tmp_path, make_spec(40), Layout(shard_samples=16, chunk_samples=4))
    before = sorted(begun.path.rglob("*"))
    with pytest.raises(AlreadyPublished, match="begun here with another layout"):
        pull(FolderTransport(original), "x", tmp_path)
    assert sorted(begun.path.rglob("*")) == before


def test_a_pull_finishes_what_a_build_has_begun(original: Path, tmp_path: Path) -> None:
    begun = begin_store(tmp_path, make_spec(40))
    done = pull(FolderTransport(original), "x", tmp_path)
    assert 0 < done.moved_files < done.files
    assert_equal(begun.path, original)


def test_space_is_checked_first(original: Path, tmp_path: Path) -> None:
    set_budget(tmp_path, 1000)
    with served(original.parents[1]) as server:
        with pytest.raises(StorageFull, match="the budget of this root is"):
            pull_from(server.url, tmp_path, original.name)
        assert server.asked.total() == 1 and not (tmp_path / "stores").exists()
        assert_equal(
            Path(pull_from(server.url, tmp_path, original.name, check_room=False).place), original
        )


@pytest.mark.parametrize("wrong", ["flipped", "shorter", "longer", "absent"])
def test_a_server_with_wrong_bytes_gives_no_store(
    original: Path, tmp_path: Path, wrong: str
) -> None:
    copy = tmp_path / "copy" / "stores" / original.name
    shutil.copytree(original, copy)
    shard = copy / "data.zarr" / "inputs" / "c.2.0.0.0"
    data = shard.read_bytes()
    shard.unlink()
    changed = {
        "flipped": data[:100] + bytes([data[100] ^ 4]) + data[101:],
        "shorter": data[:-1],
        "longer": data + b"x",
    }
    if wrong in changed:
        shard.write_bytes(changed[wrong])
    kind = StoreNotFound if wrong == "absent" else CorruptStore
    with (
        served(copy.parents[1]) as server,
        pytest.raises(kind, match=r"inputs/c\.2\.0\.0\.0"),
    ):
        pull_from(server.url, tmp_path, original.name)
    with pytest.raises(UnfinishedStore, match="begun and not finished"):
        open_store(original.name, root=tmp_path)
    asked = server.asked[f"stores/{original.name}/data.zarr/inputs/c.2.0.0.0"]
    assert asked == (1 if wrong == "absent" else 3), "wrong bytes are fetched twice anew"


def test_a_refused_token_is_an_error(original: Path, tmp_path: Path) -> None:
    with served(original.parents[1], token="right") as server:
        place = f"{server.url}/stores/{original.name}"
        with pytest.raises(AccessRefused, match="refuses this access") as caught:
            pull(source(place, "wrong-secret"), place, tmp_path)
        assert "wrong-secret" not in str(caught.value)
        assert server.asked.total() == 1, "it is not tried again"
        pull(source(place, "right"), place, tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_faults_on_the_line(large: Path, tmp_path: Path, seed: int) -> None:
    """Cut, stalled and flipped twelve times: equal, or an error, and then another pull goes on."""
    with served(large.parents[1]) as server:
        assert_pulled_over_faults(server, large, tmp_path, scattered(12, 12_000_000, seed))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_faults_in_200_megabytes(tmp_path: Path) -> None:
    large = make_large(tmp_path / "original", 200_000_000, 8 << 20)
    with served(large.parents[1]) as server:
        faults = scattered(50, 200_000_000, 11)
        pulls, met = assert_pulled_over_faults(server, large, tmp_path / "pulled", faults)
    print(f"{pulls} pulls, {met}")
    assert met == 50


def assert_pulled_over_faults(
    server: Server, original: Path, root: Path, faults: list[tuple[int, str]]
) -> tuple[int, int]:
    """Pull until it is done; how often that was, and how many faults were met."""
    with running(Line(server.server_address[1], faults)) as line:
        for pulls in range(1, 20):
            try:
                path = Path(pull_from(line.url, root, original.name).place)
            except PiCacheError:
                for store in (root / "stores").glob("*"):
                    assert not (store / "manifest.json").exists()
                continue
            assert_equal(path, original)
            return pulls, sum(line.met.values())
    raise AssertionError("no pull of many was whole")


def test_killed_pulls_go_on(large: Path, tmp_path: Path) -> None:
    """kill -9 at any instant: no store, or the whole one; what was there is not fetched again."""
    chosen = random.Random(5)
    name = f"{large.name}/data.zarr/images/"
    with served(large.parents[1]) as server:
        words = [f"{server.url}/stores/{large.name}", "--cache", str(tmp_path), "--jobs", "2"]
        command = [sys.executable, "-m", "pi_cache.cli", "pull", *words]
        for _ in range(3):
            before = server.asked.total()
            wanted = before + chosen.randrange(1, 12)
            process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
            while process.poll() is None and server.asked.total() < wanted:
                pass
            process.send_signal(signal.SIGKILL)
            process.wait()
            manifest = existing_manifest(tmp_path / "stores" / large.name)
            if manifest is not None:
                assert inspect(tmp_path / "stores" / large.name).whole
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert_equal(Path(done.stdout.strip()), large)
        shards = {path: n for path, n in server.asked.items() if name in path}
        assert max(shards.values()) <= 4 and min(shards.values()) == 1


def test_the_command(original: Path, tmp_path: Path) -> None:
    words = ["pull", str(original.parents[1]), original.name[:6], "--cache", str(tmp_path)]
    first = CliRunner().invoke(cli, [*words, "--json"], catch_exceptions=False)
    told = json.loads(first.stdout)
    assert told["key"] == original.name and told["moved_bytes"] == told["bytes"] > 0
    assert "pulled" in first.stderr
    again = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert again.stdout.strip() == told["place"] and "is there" in again.stderr


def test_misuse_of_the_command(tmp_path: Path) -> None:
    for place, message in [
        ("ftp://host/x", "an address begins with one of"),
        ("http://me:secret@host/x", "a name or password in an address"),
        ("https://host", "name a store"),
    ]:
        done = CliRunner().invoke(cli, ["pull", place, "--cache", str(tmp_path)])
        assert done.exit_code == 2 and message in done.stderr
        assert "secret" not in done.output
