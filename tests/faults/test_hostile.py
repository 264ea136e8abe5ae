"""Files that are wrong by chance, and files that were made to do harm."""

from __future__ import annotations

import json
import os
import pickle
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numpy.lib import format as npformat

from tests.faults import scratch
from tests.faults.child import child
from tests.faults.hostile import BOMB, LOOPS, MEMORY, SPECIAL, Files, ask, known_targets
from tests.faults.hostile_sources import saved, zarr_files
from tests.faults.hostile_stores import HOME, SPEC, sealed, store_files, use_cache
from tests.pi_cache.made import make_store


def test_whatever_is_as_it_was_made_is_read() -> None:
    for name, target in known_targets().items():
        word, told, _ = ask(name, target.files())
        assert word == "read", f"{name}: {told}"


def test_mutated_files() -> None:
    ends = LOOPS["hostile files"].rounds(1, LOOPS["hostile files"].ci)
    assert {end.rpartition(" ")[0] for end in ends} == set(known_targets())
    assert {end.rpartition(" ")[2] for end in ends} == {"read", "refused"}


HARM = Path(tempfile.gettempdir(), f"harm of a pickle {os.getpid()}")


class Harm:
    """What an unpickler would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(HARM),)


def npy(header: dict[str, Any], data: bytes = b"") -> bytes:
    """An `.npy` file that claims what it likes."""
    return saved(lambda file: npformat.write_array_header_2_0(file, header)) + data  # type: ignore[arg-type]


def objects() -> Files:
    header = {"descr": "|O", "fortran_order": False, "shape": (3, 2)}
    return {"x.npy": npy(header, pickle.dumps(Harm()))}


def endless() -> Files:
    header = {"descr": "<f4", "fortran_order": False, "shape": (2**60, 20)}
    return {"x.npy": npy(header, b"\0" * 80)}


def npz_bomb() -> Files:
    """Zeros, compressed a thousand times, with a header that tells the truth."""
    head = npy({"descr": "<f4", "fortran_order": False, "shape": (1 << 20, BOMB >> 22)})
    packed = zeros(BOMB, head)[2:-4]
    return {"x.npz": as_zip("data.npy", packed, len(head) + BOMB)}


def as_zip(name: str, packed: bytes, size: int) -> bytes:
    """A zip archive of one member that is deflated already, with a wrong CRC."""
    sizes = struct.pack("<III", 0, len(packed), size)
    common = struct.pack("<HHHHH", 20, 0, 8, 0, 0) + sizes + struct.pack("<HH", len(name), 0)
    local = b"PK\3\4" + common + name.encode() + packed
    entry = b"PK\1\2" + struct.pack("<H", 20) + common + bytes(14) + name.encode()
    ending = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(local), 0)
    return local + entry + b"PK\5\6" + ending


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A grey PNG of these chunks, after a header of that size."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in (header, *chunks, (b"IEND", b"")):
        parts += [struct.pack(">I", len(data)), kind, data]
        parts.append(struct.pack(">I", zlib.crc32(kind + data)))
    return b"".join(parts)


def pictures(bad: bytes) -> Files:
    """A folder with one picture that is read, and this one."""
    rows = zlib.compress(b"".join(b"\0" + os.urandom(4) for _ in range(4)))
    return {"a/0.png": png(4, 4, (b"IDAT", rows)), "a/1.png": bad}


def zeros(count: int, before: bytes = b"") -> bytes:
    """Compressed zeros, as zlib writes them: one compressed block again and again."""
    packer = zlib.compressobj(9)
    start = packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"".join([start, *[block] * (count >> 24), packer.flush()])


def zarr3(**changes: Any) -> Files:
    """A Zarr array whose metadata were changed."""
    files = zarr_files(3)
    document = json.loads(files["x.zarr/zarr.json"]) | changes
    return {**files, "x.zarr/zarr.json": json.dumps(document).encode()}


def zarr2(**changes: Any) -> Files:
    """The same of format 2."""
    files = zarr_files(2)
    document = json.loads(files["x.zarr/.zarray"]) | changes
    return {**files, "x.zarr/.zarray": json.dumps(document).encode()}


def grid(*shape: int) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": shape}}


PICKLED = [{"name": "numcodecs.pickle", "configuration": {}}]
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}

REFUSED: dict[str, tuple[str, Callable[[], Files], str]] = {
    "npy of objects": ("npy", objects, "holds Python objects"),
    "npy without end": ("npy", endless, "it is cut short"),
    "npz bomb": ("npz", npz_bomb, "looks like a bomb"),
    "zarr 3 pickle": ("zarr 3", lambda: zarr3(codecs=[BYTES, *PICKLED]), "codec pickle is not"),
    "zarr 2 pickle": ("zarr 2", lambda: zarr2(filters=[{"id": "pickle"}]), "codec pickle is not"),
    "zarr 2 objects": ("zarr 2", lambda: zarr2(dtype="|O"), "are not read; store numbers"),
    "zarr without end": ("zarr 3", lambda: zarr3(shape=[2**60, 20]), "samples, at most"),
    "zarr of huge samples": (
        "zarr 3",
        lambda: zarr3(shape=[6, 2**40], chunk_grid=grid(6, 2**40), codecs=[BYTES]),
        "cannot be read",
    ),
    "ids of one long line": (
        "npy",
        lambda: {**known_targets()["npy"].files(), "x.ids.txt": b"a\n" * 10**5 + b"b" * 10**5},
        "too many for a column",
    ),
    "path outside": ("manifest", lambda: listing("data.zarr/../../../etc/passwd"), "only f"),
    "absolute path": ("manifest", lambda: listing("/etc/passwd"), "lists only files inside"),
    "nested brackets": (
        "manifest",
        lambda: {**store_files(), f"{HOME}manifest.json": b"[" * 10**6},
        "is not valid JSON",
    ),
}


def listing(name: str) -> Files:
    """A store whose manifest lists one file more, and has the right checksum."""
    files, place = store_files(), f"{HOME}manifest.json"
    document = json.loads(files[place])
    document["files"][name] = {"size": 4, "sha256": "0" * 64}
    return {**files, place: sealed(document)}


@pytest.mark.parametrize("name", REFUSED)
def test_what_was_made_to_do_harm_is_refused(name: str) -> None:
    target, files, message = REFUSED[name]
    word, told, _ = ask(target, files())
    assert word == "refused" and message in told, told
    assert not HARM.exists()


@pytest.mark.parametrize(
    "bad",
    [
        png(50_000, 50_000, (b"IDAT", zeros(1 << 20))),
        png(4, 4, (b"zTXt", b"Comment\0\0" + zeros(BOMB)), (b"IDAT", zeros(1 << 20))),
        png(4, 4, (b"iCCP", b"name\0\0" + zeros(BOMB)), (b"IDAT", zeros(1 << 20))),
        png(4, 4, (b"IDAT", zeros(BOMB))),
    ],
    ids=["pixels", "text", "profile", "rows"],
)
def test_a_picture_that_is_a_bomb_costs_itself_alone(bad: bytes) -> None:
    word, told, seconds = ask("pictures", pictures(bad))
    assert word == "read", told
    assert seconds < 5


@pytest.mark.parametrize("special", SPECIAL)
def test_what_is_no_file_stops_nobody(special: str) -> None:
    """A damaged store is refused or read, and where it can be it is built again."""
    for name in ("manifest.json", "spec.json", "ledger/000001.json", "data.zarr/status/c.0"):
        with scratch() as root:
            place = make_store(root, SPEC) / name
            place.unlink()
            SPECIAL[special](place)
            with child(use_cache, root, memory=MEMORY) as reader:
                ((word, told),) = reader.words()
        assert word in ("read", "refused"), f"{name}: {told}"
