"""Exports: read back without this project, the same bytes each time, stopped and gone on with."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pi_cache import export as exporting
from pi_cache import files
from pi_cache.cli import cli
from pi_cache.errors import AlreadyPublished, InvalidSpec, StorageFailed, StorageFull
from pi_cache.export import Exported, export, select
from pi_cache.export_npy import npy_files
from pi_cache.export_webdataset import default_shard, tar_files
from pi_cache.keeping.space import Room
from pi_cache.reader import Store, open_store
from tests.pi_cache.made import Failing, make_spec, make_store
from tests.pi_cache.people import make_people


@pytest.fixture(scope="module", params=["float16", "uint8"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """20 samples with Korean names, about a third of them OK."""
    return open_store(make_store(tmp_path_factory.mktemp("내보내기"), make_spec(20, request.param)))


def ok(store: Store) -> np.ndarray:
    return np.flatnonzero(store.status == 0)


def to_npy(store: Store, folder: Path, **how: object) -> Exported:
    selected = select(store, **how)  # type: ignore[arg-type]
    return export(selected, folder, "npy", npy_files(selected))


def to_tar(store: Store, folder: Path, samples: int = 3, *, inputs: bool = False) -> Exported:
    selected = select(store, inputs=inputs)
    contents = tar_files(selected, samples)
    return export(selected, folder, "webdataset", contents, settings={"shard_samples": samples})


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def load(path: Path) -> np.ndarray:
    found: np.ndarray = np.load(path, allow_pickle=False)
    return found


# --- NumPy ---------------------------------------------------------------------------------------


def test_numpy_reads_what_is_stored(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "BLOCK", 500)  # two samples
    done = to_npy(store, tmp_path / "나가기", inputs=True)
    folder, numbers = tmp_path / "나가기", ok(store)
    assert done.samples == len(numbers) and not done.found and done.kept == 0
    for name in ("images", "inputs"):
        found = load(folder / f"{name}.npy")
        assert found.dtype == store.column(name).dtype
        np.testing.assert_array_equal(found, store.read(name, numbers))
    assert load(folder / "labels.npy").tolist() == store.labels[numbers].tolist()
    assert load(folder / "samples.npy").tolist() == numbers.tolist()
    for name in ("ids", "groups", "splits"):
        lines = (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        assert lines == getattr(store, name)[numbers].tolist()


def test_spec_json_says_what_the_rows_are(store: Store, tmp_path: Path) -> None:
    done = to_npy(store, tmp_path)
    document = json.loads((tmp_path / "spec.json").read_bytes())
    assert document["key"] == document["spec"]["key"] == store.key
    assert document["left_out"] == dict(done.left_out)
    assert sum(document["left_out"].values()) + document["samples"] == len(store)
    assert document["images"]["lower_cell_edges"]["birth"] == store.axis("birth").tolist()
    assert document["label_names"] == list(store.label_names)
    for name, listed in document["files"].items():
        data = (tmp_path / name).read_bytes()
        digest = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        assert listed == digest
    assert done.bytes == sum(listed["bytes"] for listed in document["files"].values())


def test_one_split(store: Store, tmp_path: Path) -> None:
    to_npy(store, tmp_path, split="test")
    assert set((tmp_path / "splits.txt").read_text().split()) == {"test"}
    with pytest.raises(InvalidSpec, match="no split 'dev' in this store; it has test, train"):
        select(store, split="dev")


def test_an_id_of_two_lines_is_no_line(tmp_path: Path) -> None:
    store = make_people(tmp_path / "c", ["one", "two\nlines", "three"])
    with pytest.raises(InvalidSpec, match=r"ids.txt has a line a sample, and 'two\\nlines'"):
        to_npy(store, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    to_tar(store, tmp_path / "x")
    names = [one["id"] for _, one in samples(tmp_path / "x")]
    assert names == ["one", "two\nlines", "three"]


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x1c", "\x85", "\u2028"])
def test_an_id_that_ends_a_line_is_no_line(end: str, tmp_path: Path) -> None:
    """What `str.splitlines`, by which the list is read, takes for an end."""
    store = make_people(tmp_path / "c", ["one", f"two{end}", "three"])
    with pytest.raises(InvalidSpec, match=r"ids.txt has a line a sample, and 'two"):
        to_npy(store, tmp_path / "x")


def test_nothing_to_export(tmp_path: Path) -> None:
    store = make_people(tmp_path, ["a", "b"], status=[2, 4])
    with pytest.raises(InvalidSpec, match="none of 2 samples is OK"):
        select(store)


# --- Tar -----------------------------------------------------------------------------------------


def samples(folder: Path) -> Iterator[tuple[dict[str, np.ndarray], dict[str, object]]]:
    """Arrays and JSON of each sample, in order, as WebDataset groups members by their number."""
    for path in sorted(folder.glob("*.tar")):
        grouped: dict[str, dict[str, bytes]] = {}
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                grouped.setdefault(key, {})[suffix] = tar.extractfile(member).read()  # type: ignore[union-attr]
        for key, parts in grouped.items():
            who = json.loads(parts.pop("json"))
            assert int(key) == who["sample"]
            arrays = {
                name.removesuffix("npy").rstrip("."): np.load(io.BytesIO(data), allow_pickle=False)
                for name, data in parts.items()
            }
            yield arrays, who


def test_tar_programs_read_what_is_stored(store: Store, tmp_path: Path) -> None:
    done = to_tar(store, tmp_path, inputs=True)
    numbers = ok(store)
    assert done.files == -(-len(numbers) // 3)
    found = list(samples(tmp_path))
    assert [who["sample"] for _, who in found] == numbers.tolist()
    for number, (arrays, who) in zip(numbers.tolist(), found, strict=True):
        np.testing.assert_array_equal(arrays[""], store.read("images", [number])[0])
        np.testing.assert_array_equal(arrays["inputs"], store.read("inputs", [number])[0])
        assert who["id"] == store.ids[number] and who["label"] == store.labels[number]
        assert who["label_name"] == store.label_names[who["label"]]
        assert who["group"] == store.groups[number] and who["split"] == store.splits[number]


def test_bytes_depend_on_the_samples_only(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for form, write in {"npy": to_npy, "tar": to_tar}.items():
        write(store, tmp_path / form)
        monkeypatch.setattr(exporting, "BLOCK", 300)
        write(store, tmp_path / f"{form} again")
        assert content(tmp_path / form) == content(tmp_path / f"{form} again")


def test_a_tar_is_of_about_a_size(store: Store) -> None:
    selected = select(store)
    assert default_shard(selected) > 10_000  # of images of 6 x 6
    size = sum(file.size for file in tar_files(selected, 4))
    assert size % tarfile.RECORDSIZE == 0


# --- Stopped, refused, found ---------------------------------------------------------------------


@pytest.mark.parametrize("write", [to_npy, to_tar], ids=["npy", "tar"])
def test_an_export_that_was_stopped_goes_on(
    write: object, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, tmp_path / "whole")  # type: ignore[operator]
    for nth in (1, 3, 5, 7):
        folder = tmp_path / str(nth)
        with monkeypatch.context() as patched:
            patched.setattr(files, "system", Failing("fsync", nth, errno.ENOSPC))
            with pytest.raises(StorageFull, match="fsync failed"):
                write(store, folder)  # type: ignore[operator]
        assert not (folder / "spec.json").exists()
        assert not [path for path in folder.iterdir() if "." not in path.name.strip(".")]
        done = write(store, folder)  # type: ignore[operator]
        assert not done.found and content(folder) == content(tmp_path / "whole")
        again = write(store, folder)  # type: ignore[operator]
        assert again.found and again.kept == again.files


def test_another_folder_is_left_as_it_is(store: Store, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(AlreadyPublished, match=r"is not empty, it holds mine.txt"):
        to_npy(store, tmp_path)
    assert content(tmp_path) == {"mine.txt": b"mine"}


def test_a_file_whose_name_has_a_number_is_no_leftover(store: Store, tmp_path: Path) -> None:
    """It would be swept away, as what a killed writer left is."""
    (tmp_path / "scan.2024.png").write_text("mine")
    os.utime(tmp_path / "scan.2024.png", (0, 0))
    with pytest.raises(AlreadyPublished, match=r"is not empty, it holds scan.2024.png"):
        to_npy(store, tmp_path)
    assert content(tmp_path) == {"scan.2024.png": b"mine"}


def test_what_killed_writers_left_goes_at_the_end(store: Store, tmp_path: Path) -> None:
    """It lies in a folder of the user, beside the files, and may be as large as they are."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host, token = socket.gethostname(), "0123456789abcdef"
    (tmp_path / f"{host}.{dead.pid}.{token}").write_bytes(b"part")
    running = tmp_path / f"{host}.{os.getpid()}.{token}"
    running.write_bytes(b"of a writer that runs")
    to_npy(store, tmp_path)
    assert running.exists() and len(list(tmp_path.glob(f"*.{token}"))) == 1


def test_another_export_is_left_as_it_is(store: Store, tmp_path: Path) -> None:
    to_tar(store, tmp_path)
    before = content(tmp_path)
    with pytest.raises(AlreadyPublished, match="shard_samples 3 there, 4 asked for"):
        to_tar(store, tmp_path, 4)
    with pytest.raises(AlreadyPublished, match="form 'webdataset' there, 'npy' asked for"):
        to_npy(store, tmp_path)
    assert content(tmp_path) == before


def test_a_file_that_was_changed_is_noticed(store: Store, tmp_path: Path) -> None:
    to_npy(store, tmp_path)
    path = tmp_path / "images.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(AlreadyPublished, match=r"not those that its spec.json lists"):
        to_npy(store, tmp_path)
    path.write_bytes(data[:-1])
    with pytest.raises(AlreadyPublished, match="is not what this export writes"):
        to_npy(store, tmp_path)


def test_space_is_looked_at_before_anything_is_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(free_bytes=4000, free_files=None, block=4096, budget=None, used=None)
    monkeypatch.setattr(exporting, "room_of", lambda folder: room)
    with pytest.raises(StorageFull, match="too little room for this export"):
        to_npy(store, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    selected = select(store)
    export(selected, tmp_path / "x", "npy", npy_files(selected), check_space=False)
    assert to_npy(store, tmp_path / "x").found, "what is there needs no room"


def test_a_failure_while_reading_leaves_nothing(tmp_path: Path) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"some"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        files.publish_blocks(tmp_path / "x", blocks, temporary=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_blocks_are_written_anew_where_a_call_fails(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, parts = tmp_path / "sub" / "x", (b"one", bytearray(b"two"), memoryview(b"three"))
    path.parent.mkdir()
    monkeypatch.setattr(files, "system", Failing(call, 1, errno.EIO))
    if call == "link":
        with pytest.raises(StorageFailed, match="link failed"):
            files.publish_blocks(path, lambda: iter(parts), temporary=tmp_path)
    size, sha256 = files.publish_blocks(path, lambda: iter(parts), temporary=tmp_path)
    assert path.read_bytes() == b"onetwothree"
    assert (size, sha256) == (11, hashlib.sha256(b"onetwothree").hexdigest())
    with pytest.raises(AlreadyPublished, match="exists with other bytes"):
        files.publish_blocks(path, lambda: iter((b"other",)), temporary=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["sub"]


# --- Command -------------------------------------------------------------------------------------


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, ["export", *map(str, words)])


def test_the_command(store: Store, tmp_path: Path) -> None:
    found = run(store.path, "--npy", tmp_path / "n", "--json")
    document = json.loads(found.stdout)
    assert document["samples"] == len(ok(store)) and not document["found"]
    assert "left out:" in found.stderr and "numpy.load(" in found.stderr
    again = run(store.path, "--npy", tmp_path / "n")
    assert again.exit_code == 0 and "its digests hold" in again.stderr
    assert again.stdout.splitlines()[1].split() == ["form", "npy"]
    tar = run(store.path, "--webdataset", tmp_path / "w", "--shard-samples", 2)
    assert tar.exit_code == 0 and "shard-{000000..00000" in tar.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --npy DIR or --webdataset DIR"),
        (["--npy", "a", "--webdataset", "b"], "give --npy DIR or --webdataset DIR"),
        (["--npy", "a", "--shard-samples", "3"], "--shard-samples goes with --webdataset"),
    ],
)
def test_misuse(words: list[str], message: str, store: Store) -> None:
    found = run(store.path, *words)
    assert found.exit_code == 2 and message in found.stderr
