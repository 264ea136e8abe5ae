"""CIFAR from both releases, laid out with exact CIFAR-10 pixels where they are at hand."""

from __future__ import annotations

import functools
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pi_cache.errors import SourceError
from pipeline.sources import cifar
from pipeline.sources.base import read_samples
from pipeline.sources.cifar import open_cifar10, open_cifar100
from tests.shared import shared_data

NAMES = cifar.CIFAR10.known_names
FEW = 20
"""Records of a made batch: the release's 10,000 are patched to this where a test needs no more."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases of the same layout with 20 records a file."""
    for name in ("CIFAR10", "CIFAR100"):
        release = getattr(cifar, name)
        batches = tuple((stem, split, FEW) for stem, split, _ in release.batches)
        monkeypatch.setattr(cifar, name, cifar.replace(release, batches=batches))


def made_images(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images (count, 32, 32, 3) and labels."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 32, 32, 3), np.uint8), rng.integers(0, 10, count)


def planes(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), 3072)


def write_binary(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    folder.mkdir()
    each = len(images) // 6
    records = np.concatenate([labels[:, None].astype(np.uint8), planes(images)], axis=1)
    for k, (stem, _, _) in enumerate(cifar.CIFAR10.batches):
        (folder / f"{stem}.bin").write_bytes(records[k * each : (k + 1) * each].tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return folder


def python_two(content: object) -> bytes:
    """A pickle with numpy's names as the released files spell them."""
    return pickle.dumps(content, protocol=2).replace(b"numpy._core.", b"numpy.core.")


def write_python(folder: Path, images: np.ndarray, labels: np.ndarray, dump: Any) -> Path:
    folder.mkdir()
    each = len(images) // 6
    for k, (stem, _, _) in enumerate(cifar.CIFAR10.batches):
        rows = slice(k * each, (k + 1) * each)
        batch = {
            b"batch_label": b"batch",
            b"labels": labels[rows].tolist(),
            b"data": planes(images[rows]),
            b"filenames": [b"a.png"] * each,
        }
        (folder / stem).write_bytes(dump(batch))
    (folder / "batches.meta").write_bytes(dump({b"label_names": [n.encode() for n in NAMES]}))
    return folder


def test_binary_and_python_releases_are_the_same_source(tmp_path: Path, small: None) -> None:
    images, labels = made_images(6 * FEW)
    binary = open_cifar10(write_binary(tmp_path / "bin", images, labels))
    new = functools.partial(pickle.dumps, protocol=4)
    for name, dump in (("two", python_two), ("four", new)):
        python = open_cifar10(write_python(tmp_path / name, images, labels, dump))
        assert python.fingerprint() == binary.fingerprint()
        np.testing.assert_array_equal(read_samples(python).arrays, images)
        np.testing.assert_array_equal(python.reader.read(25), images[25])
    np.testing.assert_array_equal(read_samples(binary).arrays, images)
    np.testing.assert_array_equal(binary.labels, labels)
    assert binary.label_names == NAMES
    assert binary.ids[0] == "train-00000"
    assert binary.ids[5 * FEW] == "test-00000"
    assert list(binary.splits) == ["train"] * 5 * FEW + ["test"] * FEW


def as_released(images: np.ndarray, labels: np.ndarray) -> bytes:
    """The bytes that Python 2 and the numpy of 2009 wrote: byte strings, numbers for flags."""
    data = planes(images).tobytes()
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + 2 * b"J\xff\xff\xff\xff"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        + (b"(K\x01K" + bytes([len(images)]) + b"M\x00\x0c\x86" + dtype + b"K\x00tb\x89")
        + (b"T" + len(data).to_bytes(4, "little") + data + b"tb")
    )
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels" + listed + b"u."


def test_batches_as_python_two_wrote_them(tmp_path: Path, small: None) -> None:
    images, labels = made_images(6 * FEW)
    for k, (stem, _, _) in enumerate(cifar.CIFAR10.batches):
        rows = slice(k * FEW, (k + 1) * FEW)
        (tmp_path / stem).write_bytes(as_released(images[rows], labels[rows]))
    source = open_cifar10(tmp_path)
    np.testing.assert_array_equal(read_samples(source).arrays, images)
    np.testing.assert_array_equal(source.labels, labels)


def test_slices_read_their_own_images_and_pickle_small(tmp_path: Path, small: None) -> None:
    images, labels = made_images(6 * FEW)
    for folder in (
        write_binary(tmp_path / "bin", images, labels),
        write_python(tmp_path / "py", images, labels, python_two),
    ):
        source = open_cifar10(folder)
        source.reader.read(0)
        part = source[FEW - 3 : 2 * FEW + 2]  # across three files
        assert len(pickle.dumps(part.reader)) < 3000
        again = pickle.loads(pickle.dumps(part.reader))
        np.testing.assert_array_equal(again.read_together(), images[FEW - 3 : 2 * FEW + 2])
        np.testing.assert_array_equal(again.read(4), images[FEW + 1])
        assert part.fingerprint() != source.fingerprint()
        assert source[0 : 6 * FEW].fingerprint() == source.fingerprint()


def test_a_parent_folder_will_do_and_a_changed_byte_is_seen(tmp_path: Path, small: None) -> None:
    images, labels = made_images(6 * FEW)
    folder = write_binary(tmp_path / "cifar-10-batches-bin", images, labels)
    before = open_cifar10(tmp_path).fingerprint()
    content = bytearray((folder / "test_batch.bin").read_bytes())
    content[-1] ^= 1
    (folder / "test_batch.bin").write_bytes(content)
    assert open_cifar10(tmp_path).fingerprint() != before


def test_names_are_known_for_cifar10_and_checked(tmp_path: Path, small: None) -> None:
    folder = write_binary(tmp_path / "bin", *made_images(6 * FEW))
    (folder / "batches.meta.txt").unlink()
    assert open_cifar10(folder).label_names == NAMES
    (folder / "batches.meta.txt").write_text("cat\ndog\n")
    with pytest.raises(SourceError, match=r"meta\.txt has 2 label names, expected 10"):
        open_cifar10(folder)


def test_cifar100_has_fine_or_coarse_labels(tmp_path: Path, small: None) -> None:
    images, _ = made_images(2 * FEW)
    coarse, fine = np.arange(2 * FEW) % 20, np.arange(2 * FEW) + 60
    records = np.column_stack([coarse, fine, planes(images)]).astype(np.uint8)
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    (folder / "train.bin").write_bytes(records[:FEW].tobytes())
    (folder / "test.bin").write_bytes(records[FEW:].tobytes())
    source = open_cifar100(tmp_path)
    np.testing.assert_array_equal(source.labels, fine)
    np.testing.assert_array_equal(source.reader.read_together(), images)
    assert source.label_names == ()
    assert "coarse" in source.notes[0]
    other = open_cifar100(tmp_path, labels="coarse")
    np.testing.assert_array_equal(other.labels, coarse)
    assert other.fingerprint() != source.fingerprint()
    with pytest.raises(SourceError, match="must be fine or coarse, got 'both'"):
        open_cifar100(tmp_path, labels="both")


def test_cifar100_python_files(tmp_path: Path, small: None) -> None:
    images, labels = made_images(2 * FEW)
    for stem, rows in (("train", slice(0, FEW)), ("test", slice(FEW, None))):
        batch = {
            b"data": planes(images[rows]),
            b"fine_labels": (labels[rows] + 90).tolist(),
            b"coarse_labels": labels[rows].tolist(),
        }
        (tmp_path / stem).write_bytes(python_two(batch))
    names = [f"class {k}".encode() for k in range(100)]
    (tmp_path / "meta").write_bytes(python_two({b"fine_label_names": names}))
    source = open_cifar100(tmp_path)
    np.testing.assert_array_equal(source.labels, labels + 90)
    assert source.label_names[7] == "class 7"


def test_the_released_sizes_are_expected(tmp_path: Path) -> None:
    for stem, _, count in cifar.CIFAR10.batches:
        with (tmp_path / f"{stem}.bin").open("wb") as file:
            file.truncate(count * 3073)  # sparse: all black airplanes
    source = open_cifar10(tmp_path)
    assert len(source) == 60_000
    assert not source[59_990:60_000].reader.read_together().any()
    with (tmp_path / "data_batch_3.bin").open("r+b") as file:
        file.truncate(20_000_000)
    with pytest.raises(SourceError, match=r"data_batch_3\.bin has 20000000 bytes, expected 307300"):
        open_cifar10(tmp_path)
    with pytest.raises(SourceError, match="has 20000000 bytes"):
        source.reader.read(25_000)
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(SourceError, match=r"data_batch_3\.bin cannot be read"):
        open_cifar10(tmp_path)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="pipeline fetch cifar10"):
        open_cifar10(tmp_path)
    archive = tmp_path / "cifar-10-binary.tar.gz"
    archive.write_bytes(b"")
    with pytest.raises(SourceError, match=r"is a file, expected a folder; unpack"):
        open_cifar10(archive)


def test_a_label_out_of_range_is_refused(tmp_path: Path, small: None) -> None:
    images, labels = made_images(6 * FEW)
    labels[FEW + 3] = 77
    for folder in (
        write_binary(tmp_path / "bin", images, labels),
        write_python(tmp_path / "py", images, labels, python_two),
    ):
        with pytest.raises(SourceError, match=r"data_batch_2.* has label 77 at record 3"):
            open_cifar10(folder)


class _Calls:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


HOSTILE = {
    "print": (_Calls(print, "pwned"), r"refused to unpickle (__builtin__|builtins)\.print"),
    "eval": (_Calls(eval, "1"), r"refused to unpickle (__builtin__|builtins)\.eval"),
    "mkdir": (_Calls(Path.mkdir, Path("x")), "refused to unpickle"),
    "objects": (np.array([print], dtype=object), "refused to unpickle"),
    "floats": (np.zeros(3), "refused to unpickle an array of b?'f8'"),
    "huge": (_Calls(np.ndarray, (1 << 44,)), "is no Python batch"),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_hostile_batches_are_refused(
    tmp_path: Path, small: None, case: str, protocol: int, capsys: pytest.CaptureFixture[str]
) -> None:
    value, message = HOSTILE[case]
    folder = write_python(tmp_path / "py", *made_images(6 * FEW), python_two)
    hostile = pickle.dumps({b"data": value, b"pad": b"x" * 61_500}, protocol=protocol)
    (folder / "data_batch_1").write_bytes(hostile)
    with pytest.raises(SourceError, match=message):
        open_cifar10(folder)
    assert "pwned" not in capsys.readouterr().out


@pytest.mark.parametrize("seed", range(60))
def test_damaged_batches_raise_or_read(tmp_path: Path, small: None, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images, labels = made_images(6 * FEW)
    folder = write_python(tmp_path / "py", images, labels, python_two)
    content = bytearray((folder / "data_batch_1").read_bytes())
    ends = [at for _, _, at in pickletools.genops(bytes(content)) if at is not None]
    content[int(rng.choice(ends))] = int(rng.integers(256))
    (folder / "data_batch_1").write_bytes(content)
    try:
        source = open_cifar10(folder)
        assert source.reader.read_together().shape == images.shape
    except SourceError as error:
        assert "data_batch_1" in str(error)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (b"labels", [0] * (FEW - 1), "holds a list of 19 as its labels"),
        (b"labels", ["0"] * FEW, "expected a list of 20 whole numbers"),
        (b"labels", [10**30] * FEW, "has label 2147483648 at record 0"),
        (b"data", np.zeros((FEW, 3071), np.uint8), r"an array of shape \(20, 3071\) as its data"),
        (b"data", b"text", "holds a bytes as its data"),
    ],
)
def test_wrong_content_is_described(
    tmp_path: Path, small: None, key: bytes, value: object, message: str
) -> None:
    images, labels = made_images(6 * FEW)
    folder = write_python(tmp_path / "py", images, labels, python_two)
    batch = {b"data": planes(images[:FEW]), b"labels": labels[:FEW].tolist(), b"pad": b"x" * 61_500}
    (folder / "data_batch_1").write_bytes(python_two({**batch, key: value}))
    with pytest.raises(SourceError, match=message):
        open_cifar10(folder).reader.read_together()


def test_exact_cifar10_pixels_survive(tmp_path: Path, small: None) -> None:
    picture = shared_data("cifar10_lossless") / "cifar10_batch_0.png"
    with Image.open(picture, formats=["PNG"]) as opened:
        images = np.asarray(opened).reshape(1000, 32, 32, 3)[: 6 * FEW]
    source = open_cifar10(write_binary(tmp_path / "bin", images, np.zeros(6 * FEW, int)))
    np.testing.assert_array_equal(read_samples(source).arrays, images)
