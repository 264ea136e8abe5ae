"""Arrays: however they are kept, the same samples; whatever is doubtful is asked, never guessed."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pi_cache.errors import SourceError
from pipeline.sources import Source, open_source, read_samples
from pipeline.sources.arrays import from_arrays

RNG = np.random.default_rng(7)
IMAGES = RNG.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(12) % 4


def store(folder: Path, suffix: str, array: np.ndarray, **columns: np.ndarray) -> str:
    """The array as a file of this kind with its columns; the words that open it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"x.{suffix.removeprefix('packed.').removeprefix('fortran.')}"
    if suffix.endswith("npz"):
        save = np.savez_compressed if suffix.startswith("packed") else np.savez
        save(path, images=array, **columns)
        return f"array:{path}"
    if suffix == "zarr":
        import zarr

        zarr.create_array(store=str(path), data=array, chunks=(5, *array.shape[1:]))
    else:
        np.save(path, np.asfortranarray(array) if suffix.startswith("fortran") else array)
    for name, column in columns.items():
        np.save(folder / f"x.{name}.npy", column)
    return f"array:{path}"


KEPT = ("npy", "fortran.npy", "npz", "packed.npz", "zarr")


@pytest.mark.parametrize("suffix", KEPT)
def test_every_way_to_keep_an_array_gives_the_same_samples(tmp_path: Path, suffix: str) -> None:
    source = open_source(store(tmp_path, suffix, IMAGES, labels=LABELS))
    assert np.array_equal(read_samples(source).arrays, IMAGES)
    assert (source.shape, source.maximum, source.dtype) == ((6, 5, 3), 255, np.uint8)
    assert source.channels == ("red", "green", "blue")
    assert source.labels.tolist() == LABELS.tolist()
    assert source.ids[11] == "000011"
    assert source.fingerprint() == from_arrays(IMAGES, labels=LABELS).fingerprint()


@pytest.mark.parametrize("suffix", KEPT)
def test_slices_equal_the_whole_and_are_small(tmp_path: Path, suffix: str) -> None:
    array = RNG.random((300, 40, 2))
    source = open_source(store(tmp_path, suffix, array), sample="signal")
    for start, stop in ((0, 1), (4, 260), (299, 300)):
        part = pickle.loads(pickle.dumps(source[start:stop]))
        assert np.array_equal(read_samples(part).arrays, array[start:stop])
        assert np.array_equal(read_samples(part[0:1]).arrays, array[start : start + 1])
        assert np.array_equal(part.reader.read(0), array[start])
    assert len(pickle.dumps(source[100:110])) < 3000


def test_in_memory_slices_carry_their_own_rows() -> None:
    source = from_arrays(RNG.random((1000, 100)))
    assert len(pickle.dumps(source[5:6])) < 3000


@pytest.mark.parametrize("dtype", [">f4", ">i2", "<f8", "<u2", "<f2"])
@pytest.mark.parametrize("suffix", KEPT)
def test_byte_order_and_type(tmp_path: Path, suffix: str, dtype: str) -> None:
    array = (RNG.random((7, 30)) * 100).astype(dtype)
    if suffix == "zarr" and dtype[0] == ">":
        pytest.skip("Zarr 3 has the byte order in a codec")
    source = open_source(store(tmp_path, suffix, array), sample="signal")
    samples = read_samples(source)
    assert isinstance(samples.arrays, np.ndarray)
    assert samples.arrays.dtype == source.dtype == array.dtype.newbyteorder("=")
    assert samples.arrays.flags.c_contiguous
    assert np.array_equal(samples.arrays[..., 0], array)
    assert source.maximum is None


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    prints = [
        open_source(store(tmp_path / "a", "npy", IMAGES, labels=LABELS)).fingerprint(),
        open_source(store(tmp_path / "b", "npz", IMAGES, labels=LABELS)).fingerprint(),
    ]
    assert prints[0] == prints[1]
    other = IMAGES.copy()
    other[-1, -1, -1, -1] ^= 1
    shuffled = LABELS[::-1].copy()
    changed = [
        from_arrays(other, labels=LABELS),
        from_arrays(IMAGES, labels=shuffled),
        from_arrays(IMAGES, labels=LABELS, groups=["a"] * 12),
        from_arrays(IMAGES, labels=LABELS, maximum=1),
        from_arrays(IMAGES.astype(np.uint16), labels=LABELS, sample="image", maximum=255),
        from_arrays(IMAGES[:11], labels=LABELS[:11]),
    ]
    assert len({prints[0], *(source.fingerprint() for source in changed)}) == 7


def test_the_axis_of_one_channel_may_be_left_out() -> None:
    grey = IMAGES[..., 0]
    assert from_arrays(grey).shape == (6, 5, 1)
    assert from_arrays(grey).fingerprint() == from_arrays(grey[..., None]).fingerprint()
    assert from_arrays(RNG.random((4, 20))).channels == ("signal",)


@pytest.mark.parametrize(
    ("shape", "dtype", "options", "expected"),
    [
        ((4, 20), "f8", {}, ("signal", (20, 1), None)),
        ((4, 8, 9), "u1", {}, ("image", (8, 9, 1), 255)),
        ((4, 8, 9, 2), "f4", {}, ("image", (8, 9, 2), None)),
        ((4, 20, 3), "f8", {"sample": "signal"}, ("signal", (20, 3), None)),
        ((4, 20, 3), "f8", {"sample": "cloud"}, ("cloud", (20, 3), None)),
        ((4, 20, 3), "f8", {"sample": "image"}, ("image", (20, 3, 1), None)),
        ((4, 8, 9), "u2", {"sample": "image", "maximum": "65535"}, ("image", (8, 9, 1), 65535)),
        ((4, 8, 9), "u1", {"maximum": "none"}, ("image", (8, 9, 1), None)),
        ((4, 20), "u1", {"sample": "signal"}, ("signal", (20, 1), None)),
        ((4, 8, 9, 12), "u1", {"sample": "image"}, ("image", (8, 9, 12), 255)),
    ],
)
def test_kinds_of_sample(
    shape: tuple[int, ...], dtype: str, options: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    source = from_arrays(np.ones(shape, dtype), **options)
    assert (source.sample, source.shape, source.maximum) == expected
    assert len(source.channels) == (1 if source.sample == "cloud" else source.shape[-1])


@pytest.mark.parametrize(
    ("shape", "dtype", "options", "match"),
    [
        ((4, 20, 3), "f8", {}, "Say sample=image, sample=signal or sample=cloud"),
        ((4, 28, 3), "u1", {}, "Say sample=image"),
        ((4, 8, 9), "u2", {}, "Say sample=image"),
        ((4, 3072), "u1", {}, "flattened images"),
        ((4, 3, 32, 32), "u1", {}, r"channels last with .transpose\(0, 2, 3, 1\)"),
        ((4, 8, 8, 16), "f4", {}, "images of 16 channels"),
        ((4,), "f8", {}, "expected images"),
        ((4, 2, 2, 2, 2), "f8", {}, "expected images"),
        ((0, 20), "f8", {}, "no values"),
        ((4, 0), "f8", {}, "no values"),
        ((4, 20), "f8", {"sample": "cloud"}, "sample must be signal, got 'cloud'"),
        ((4, 20), "f8", {"sample": "sound"}, "sample must be signal, got 'sound'"),
        ((4, 20), "f8", {"maximum": "much"}, "positive number or none, got 'much'"),
        ((4, 20), "f8", {"maximum": -1}, "positive number or none, got -1"),
        ((4, 20), "f8", {"channels": ["x", "y"]}, "1 channels, got 2 names"),
        ((4, 20), "?", {}, r"values of bool, .* \.astype\('uint8'\)"),
        ((4, 20), "c16", {}, "complex128, .* two channels"),
        ((4, 20), "O", {}, "pad rows of different lengths"),
        ((4, 20), "U3", {}, "expected whole or real numbers"),
    ],
)
def test_what_is_asked_or_refused(
    shape: tuple[int, ...], dtype: str, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(SourceError, match=match):
        from_arrays(np.ones(shape, dtype), **options)


def test_columns_as_text_files(tmp_path: Path) -> None:
    words = store(tmp_path, "npy", IMAGES)
    animals = ["고양이", "dog", "dog", "고양이"] * 3
    (tmp_path / "x.labels.txt").write_text("\n".join(animals), encoding="utf-8")
    (tmp_path / "x.groups.txt").write_text("\n".join("abcabcabcabc"), encoding="utf-8")
    (tmp_path / "x.splits.txt").write_text("\n".join(["train"] * 8 + ["test"] * 4))
    source = open_source(words)
    assert source.label_names == ("dog", "고양이")
    assert source.labels[:3].tolist() == [1, 0, 0]
    assert source.groups == list("abcabcabcabc")
    assert open_source(words, split="test").ids == ["000008", "000009", "000010", "000011"]
    numbers = tmp_path / "other.txt"
    numbers.write_text("\n".join("012301230123"))
    assert open_source(words, labels=str(numbers)).labels[:4].tolist() == [0, 1, 2, 3]


def test_label_names_and_ids(tmp_path: Path) -> None:
    names = np.array(["a", "b", "c", "d"])
    ids = np.array([f"s{k}".encode() for k in range(12)])
    words = store(tmp_path, "npz", IMAGES, labels=LABELS, label_names=names, ids=ids)
    source = open_source(words)
    assert source.label_names == ("a", "b", "c", "d")
    assert source.ids[3] == "s3"


def test_words_take_their_numbers_from_the_label_names() -> None:
    source = from_arrays(IMAGES[:3], labels=["cat", "", "dog"], label_names=["dog", "cat"])
    assert source.labels.tolist() == [1, -1, 0]
    assert source.label_names == ("dog", "cat")
    sorted_names = from_arrays(IMAGES[:3], labels=["dog", "", "cat"])
    assert sorted_names.labels.tolist() == [1, -1, 0]
    with pytest.raises(SourceError, match="'bird' that are not among its label_names dog, cat"):
        from_arrays(IMAGES[:2], labels=["cat", "bird"], label_names=["dog", "cat"])


def test_a_text_file_of_a_windows_editor(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES[:2])
    (tmp_path / "x.labels.txt").write_bytes(b"\xef\xbb\xbf3\r\n4\r\n")
    assert open_source(f"array:{tmp_path / 'x.npy'}").labels.tolist() == [3, 4]
    np.save(tmp_path / "x.labels.npy", np.array([7, 8]))
    with pytest.raises(SourceError, match=r"two files of labels: .*\.npy, .*\.txt; keep one"):
        open_source(f"array:{tmp_path / 'x.npy'}")


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"labels": np.arange(13)}, "13 labels for 12 samples; give one value a sample"),
        ({"labels": np.arange(13), "ids": ["a"]}, "13 labels for 12 samples; 1 ids for 12"),
        ({"labels": np.eye(12)}, r"labels of shape \(12, 12\), expected \(12,\) \(one-hot"),
        ({"labels": np.full(12, 0.5)}, "labels of float64, expected whole numbers"),
        ({"labels": np.full(12, np.nan)}, "labels of float64, expected whole numbers"),
        ({"labels": np.full(12, -2)}, "labels from -2 to -2, expected -1"),
        ({"labels": np.full(12, 2), "label_names": ["a", "b"]}, "labels from 2 to 2, expected"),
        ({"labels": np.array([None] * 12)}, "labels of object"),
        ({"ids": ["a"] * 12}, "duplicate ids, such as"),
        ({"ids": np.arange(12) / 2}, "ids of float64 and .*astype"),
        ({"ids": np.array([b"\xff%d" % k for k in range(12)])}, "ids that are not UTF-8"),
        ({"splits": ["train"]}, "1 splits for 12 samples"),
    ],
)
def test_columns_that_do_not_fit(columns: dict[str, Any], match: str) -> None:
    with pytest.raises(SourceError, match=match):
        from_arrays(IMAGES, **columns)


def saved(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


OBJECTS = np.array([np.zeros(2), np.zeros(3)], dtype=object)
GOOD = saved(IMAGES)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (GOOD[:-1], r"x.npy has 1079 bytes of values, expected 1080 .* cut short; copy"),
        (GOOD[:20], "no NumPy array"),
        (b"", "no NumPy array"),
        (GOOD + GOOD, "something follows the array"),
        (b"PK\x03\x04" + bytes(100), "no NumPy array"),
        (saved(OBJECTS, allow_pickle=True), "Python objects .* never read"),
        (saved(np.zeros(2, dtype=[("a", "f4")])), "expected whole or real|no NumPy array"),
        (saved(np.float64(3)), r"shape \(\)"),
    ],
)
def test_npy_files_that_are_refused(tmp_path: Path, data: bytes, match: str) -> None:
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(SourceError, match=match):
        open_source(f"array:{tmp_path / 'x.npy'}")


def test_a_header_that_claims_terabytes_allocates_nothing(tmp_path: Path) -> None:
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**6)}
    np.lib.format.write_array_header_1_0(stream, header)
    (tmp_path / "x.npy").write_bytes(stream.getvalue() + bytes(64))
    with pytest.raises(SourceError, match="64 bytes of values, expected 8000000000000000"):
        open_source(f"array:{tmp_path / 'x.npy'}")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", stream.getvalue() + bytes(64))
    with pytest.raises(SourceError, match="expected 8000000000000000"):
        open_source(f"array:{tmp_path / 'x.npz'}")


def test_npz_files_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=IMAGES, b=IMAGES, labels=LABELS)
    with pytest.raises(SourceError, match="holds a, b beside labels, expected one array"):
        open_source(f"array:{path}")
    np.savez(path, a=IMAGES, labels=OBJECTS)
    with pytest.raises(SourceError, match=r"\[labels\] holds Python objects"):
        open_source(f"array:{path}")
    np.savez(path, a=IMAGES)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match="is no readable"):
        open_source(f"array:{path}")


def test_a_compressed_member_with_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    words = store(tmp_path, "packed.npz", IMAGES)
    path = tmp_path / "x.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(SourceError, match="cannot be read"):
        read_samples(open_source(words))


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    for suffix in ("npy", "packed.npz"):
        source = open_source(store(tmp_path, suffix, IMAGES))
        path = Path(source.location)
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(SourceError, match="changed after it was opened"):
            read_samples(source)
        path.unlink()
        with pytest.raises(SourceError, match="cannot be read"):
            read_samples(source)


def test_other_paths(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        open_source(f"array:{tmp_path / 'none.npy'}")
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(SourceError, match=r"expected a \.npy or \.npz file, or the folder"):
        open_source(f"array:{tmp_path / 'x.csv'}")
    with pytest.raises(SourceError, match=r"expected a \.npy or \.npz file, or the folder"):
        open_source(f"array:{tmp_path}")
    (tmp_path / "x.npy").write_bytes(GOOD)
    (tmp_path / "x.ids.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(SourceError, match=r"x.ids.txt: expected UTF-8 text"):
        open_source(f"array:{tmp_path / 'x.npy'}")


def test_a_korean_path(tmp_path: Path) -> None:
    source: Source = open_source(store(tmp_path / "데이터 모음", "npy", IMAGES, labels=LABELS))
    assert np.array_equal(read_samples(source[3:5]).arrays, IMAGES[3:5])
