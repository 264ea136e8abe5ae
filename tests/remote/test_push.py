"""A push puts what is not there, once, whoever else pushes; a bucket reads like a folder."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pi_cache.cli import cli
from pi_cache.integrity.verification import inspect
from tests.pi_cache.made import make_spec, make_store
from tests.remote.buckets import (
    BUCKET,
    ROOT,
    Shell,
    ceph,
    make_bucket,
    moto,
    plain,
    shell,
    start,
    surroundings,
)

pytest.importorskip("obstore")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto() as found:
        yield found


@pytest.fixture(scope="module")
def run() -> Iterator[Shell]:
    with shell() as found:
        yield found


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One spec, built twice: the same files, and manifests of other times."""
    one, other = (
        make_store(tmp_path_factory.mktemp("built") / name, make_spec(40)) for name in ("a", "b")
    )
    return one, other


def pulled_whole(
    run: Shell, place: str, key: str, endpoint: str, root: Path, original: Path
) -> None:
    """Pull what was pushed: whole, with the files of the original."""
    status, told, talk = run(["pull", place, key, "--cache", str(root)], endpoint)
    assert status == 0, talk
    path = Path(told.strip())
    assert inspect(path).whole
    for place_of in original.glob("data.zarr/**/*"):
        if place_of.is_file():
            name = place_of.relative_to(original)
            assert (path / name).read_bytes() == place_of.read_bytes(), name


def test_pushed_once_and_read_back(
    run: Shell, stores: tuple[Path, Path], endpoint: str, tmp_path: Path
) -> None:
    target = f"s3://{BUCKET}/한글"
    for store, moved in ((stores[0], True), (stores[0], False), (stores[1], False)):
        status, told, talk = run(["push", str(store), target, "--json"], endpoint)
        assert status == 0, talk
        document = json.loads(told)
        assert document["place"] == f"{target}/{store.name}"
        assert document["found"] is not moved and bool(document["moved_files"]) is moved
    pulled_whole(run, target, stores[0].name[:6], endpoint, tmp_path, stores[0])


def test_a_bucket_is_read_by_forked_and_new_processes(
    run: Shell, stores: tuple[Path, Path], endpoint: str
) -> None:
    """obstore would wait forever in a process that was forked from one that has used it."""
    target = f"s3://{BUCKET}/read"
    assert run(["push", str(stores[0]), target], endpoint)[0] == 0
    done = subprocess.run(
        [sys.executable, "-m", "tests.remote.reads", f"{target}/{stores[0].name}", stores[0]],
        cwd=ROOT,
        env={**os.environ, **surroundings(endpoint)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["sent", "fork", "here", "new"], done.stderr[-2000:]


def test_what_is_broken_off_goes_on(
    run: Shell, stores: tuple[Path, Path], endpoint: str, tmp_path: Path
) -> None:
    """Two push one store at once, and are killed at any instant; in the end it is there, whole."""
    assert_one_store(run, stores, endpoint, tmp_path, rounds=3, target=f"s3://{BUCKET}/race")


def assert_one_store(
    run: Shell,
    stores: tuple[Path, Path],
    endpoint: str,
    tmp_path: Path,
    *,
    rounds: int,
    target: str,
) -> None:
    chosen = random.Random(2)
    for turn in range(rounds):
        place = f"{target}-{turn}"
        pushing = [start(["push", str(store), place, "--jobs", "2"], endpoint) for store in stores]
        if turn % 2:
            _kill_within(pushing[chosen.randrange(2)], chosen.randrange(60))
        ended = [process.communicate(timeout=120) for process in pushing]
        for process, (_, talk) in zip(pushing, ended, strict=True):
            assert process.returncode in (0, -signal.SIGKILL), talk
        status, told, talk = run(["push", str(stores[1]), place, "--json"], endpoint)
        assert status == 0, talk
        if not turn % 2:
            assert json.loads(told)["found"], "one of two that were left alone has finished it"
        pulled_whole(run, place, stores[0].name, endpoint, tmp_path / str(turn), stores[0])


def _kill_within(process: subprocess.Popen[str], rounds: int) -> None:
    """Kill at some instant: after so many looks at what the process is doing."""
    for _ in range(rounds):
        try:
            process.wait(0.01)
            return
        except subprocess.TimeoutExpired:
            continue
    process.kill()


def test_other_bytes_are_an_error(
    run: Shell, stores: tuple[Path, Path], endpoint: str, tmp_path: Path
) -> None:
    """An object of that name with another digest stays, and the store is not finished."""
    target = f"s3://{BUCKET}/other"
    copy = tmp_path / "c" / "stores" / stores[0].name
    shutil.copytree(stores[0], copy)
    shard = copy / "data.zarr" / "images" / "c.0.0.0.0"
    data = shard.read_bytes()
    shard.unlink()
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    status, _, talk = run(["push", str(copy), target], endpoint)
    assert status == 1 and "expected SHA-256" in talk and "c.0.0.0.0" in talk
    status, _, talk = run(["pull", target, stores[0].name, "--cache", str(tmp_path)], endpoint)
    assert status == 1 and "no store at s3://" in talk
    assert run(["push", str(stores[0]), target], endpoint)[0] == 0, "and the whole one can follow"


@pytest.mark.parametrize("refuses", [True, False], ids=["501", "ignored"])
def test_a_server_without_conditions_needs_one_writer(
    run: Shell, stores: tuple[Path, Path], tmp_path: Path, refuses: bool
) -> None:
    with plain(refuses) as server:
        words = ["push", str(stores[0]), f"s3://{BUCKET}/x"]
        status, _, talk = run(words, server.url)
        assert status == 1 and "no conditional writes" in talk and "--single-writer" in talk
        assert not server.objects, "nothing is left there"
        status, _, talk = run([*words, "--single-writer"], server.url)
        assert status == 0, talk
        count = len(server.objects)
        assert run([*words, "--single-writer"], server.url)[0] == 0
        assert len(server.objects) == count
        name = f"{BUCKET}/x/{stores[0].name}/data.zarr/zarr.json"
        server.objects[name] = b"other", {"x-amz-meta-sha256": "0" * 64}
        del server.objects[f"{BUCKET}/x/{stores[0].name}/manifest.json"]
        status, _, talk = run([*words, "--single-writer"], server.url)
        assert status == 1 and "an object is there, SHA-256 0000" in talk


def test_answers_that_are_lost(run: Shell, stores: tuple[Path, Path]) -> None:
    """What was put is there, whatever came back of it."""
    with plain(refuses=True) as server:
        server.failing = 12
        words = ["push", str(stores[0]), f"s3://{BUCKET}/x", "--single-writer"]
        status, _, talk = run(words, server.url)
        assert status == 0 and not server.failing, talk
        assert f"{BUCKET}/x/{stores[0].name}/manifest.json" in server.objects


def test_a_bucket_that_is_not_there(run: Shell, stores: tuple[Path, Path], endpoint: str) -> None:
    status, _, talk = run(["push", str(stores[0]), "s3://nowhere/x"], endpoint)
    assert status == 1 and "there is no bucket nowhere" in talk
    status, _, talk = run(["pull", "s3://nowhere/x", stores[0].name[:8]], endpoint)
    assert status == 1 and "there is no bucket nowhere" in talk


def test_credentials_that_are_refused(run: Shell, stores: tuple[Path, Path]) -> None:
    """A server that nobody reaches, and no secret in what is said of it."""
    status, _, talk = run(["push", str(stores[0]), "s3://lab/x"], "http://127.0.0.1:9")
    assert status == 1 and talk.startswith("pi-cache: s3://lab/x")
    assert "labsecret" not in talk and "Traceback" not in talk


@pytest.mark.slow
def test_ceph_takes_one_store_of_two_writers(
    run: Shell, stores: tuple[Path, Path], tmp_path: Path
) -> None:
    with ceph(tmp_path / "ceph") as endpoint:
        make_bucket(endpoint)
        assert_one_store(run, stores, endpoint, tmp_path, rounds=6, target=f"s3://{BUCKET}/race")


def test_a_folder_becomes_a_cache(stores: tuple[Path, Path], tmp_path: Path) -> None:
    words = ["push", str(stores[0]), str(tmp_path / "there")]
    first = CliRunner().invoke(cli, words, catch_exceptions=False)
    path = Path(first.stdout.strip())
    assert path == tmp_path / "there" / "stores" / stores[0].name and inspect(path).whole
    listed = CliRunner().invoke(cli, ["ls", "--cache", str(tmp_path / "there"), "--json"])
    assert [store["key"] for store in json.loads(listed.stdout)] == [stores[0].name]
    assert "is there" in CliRunner().invoke(cli, words, catch_exceptions=False).stderr


def test_a_service_is_not_pushed_to(stores: tuple[Path, Path]) -> None:
    done = CliRunner().invoke(cli, ["push", str(stores[0]), "https://host/stores"])
    assert done.exit_code == 2 and "a service only reads; pull from it" in done.stderr
