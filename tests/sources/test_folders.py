"""Trees of image files: what is found, in which order, with which label; and what is refused."""

from __future__ import annotations

import os
import pickle
import shutil
import tarfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from pi_cache.errors import SourceError
from pi_cache.specs import Status
from pipeline.sources import open_source, read_samples
from pipeline.sources.folders import CINIC10_CLASSES
from tests.shared import shared_data
from tests.sources.trees import encode, make_tree, pixels, write


def unpack(archive: Path, folder: Path) -> Path:
    """The regular files of an archive below `folder`, read member by member."""
    with tarfile.open(archive, "r|xz") as members:
        for member in members:
            stream = members.extractfile(member) if member.isfile() else None
            if stream is not None:
                write(folder, {member.name: stream.read()})
    return folder


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    archive = shared_data("cifar10_jpeg") / "test_0000-0499.tar.xz"
    return unpack(archive, tmp_path_factory.mktemp("jpegs")) / "cifar10"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    archive = shared_data("tiny_imagenet") / "tiny-imagenet-200_20classes_a.tar.xz"
    return unpack(archive, tmp_path_factory.mktemp("tiny")) / "tiny-imagenet-200"


def test_real_jpegs(jpegs: Path) -> None:
    source = open_source(f"imagefolder:{jpegs / 'test'}")
    assert (len(source), source.shape, source.maximum) == (5000, (32, 32, 3), 255)
    assert source.label_names == CINIC10_CLASSES
    assert source.ids[0] == "airplane/0000.jpg"
    assert np.bincount(source.labels).tolist() == [500] * 10
    samples = read_samples(source[:200])
    assert isinstance(samples.arrays, np.ndarray)
    assert samples.arrays.shape == (200, 32, 32, 3)
    assert not samples.status.any()


def test_a_split_above_the_classes(jpegs: Path) -> None:
    source = open_source(f"imagefolder:{jpegs}")
    assert source.ids[0] == "test/airplane/0000.jpg"
    assert set(source.splits) == {"test"}


def test_real_tiny_imagenet(tiny: Path) -> None:
    source = open_source(f"tiny-imagenet:{tiny}")
    assert source.shape == (64, 64, 3)
    sizes = {name: len(source.part(name)) for name in ("train", "val", "test")}
    assert sizes == {"train": 2000, "val": 1000, "test": 100}
    assert len(source.label_names) == 20
    assert source.label_names[0].startswith("goldfish")
    assert np.bincount(source.part("val").labels).tolist() == [50] * 20
    assert (source.part("test").labels == -1).all()
    assert not read_samples(source[:300]).status.any()  # some are greyscale files
    assert source.citation
    assert source.licence


def test_validation_labels_are_those_of_the_annotations(tiny: Path) -> None:
    source = open_source(f"tiny-imagenet:{tiny}", split="val")
    order = sorted(entry.name for entry in (tiny / "train").iterdir())
    for line in (tiny / "val" / "val_annotations.txt").read_text().splitlines()[:50]:
        name, wnid = line.split("\t")[:2]
        assert source.labels[source.ids.index(f"val/images/{name}")] == order.index(wnid)


def test_a_lost_validation_image_is_not_passed_over(tiny: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny, tmp_path / "tiny")
    next((copy / "val" / "images").iterdir()).unlink()
    with pytest.raises(SourceError, match="1 annotated images are missing"):
        open_source(f"tiny-imagenet:{copy}")
    (copy / "val" / "val_annotations.txt").unlink()
    with pytest.raises(SourceError, match=r"val_annotations.txt: missing or empty"):
        open_source(f"tiny-imagenet:{copy}")


def test_an_unannotated_image_has_no_label_and_a_note(tiny: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny, tmp_path / "tiny")
    annotations = copy / "val" / "val_annotations.txt"
    lines = annotations.read_text().splitlines(keepends=True)
    annotations.write_text("".join(lines[1:]))
    source = open_source(f"tiny-imagenet:{copy}")
    assert (source.part("val").labels == -1).sum() == 1
    assert any("1 validation images have no label" in note for note in source.notes)


def test_cinic10(tmp_path: Path) -> None:
    folders = [
        f"{split}/{name}" for split in ("train", "valid", "test") for name in CINIC10_CLASSES
    ]
    source = open_source(f"cinic10:{make_tree(tmp_path, tuple(folders), 1)}")
    assert len(source) == 30
    assert list(dict.fromkeys(source.splits)) == ["train", "val", "test"]
    assert source.part("val").ids[3] == "valid/cat/0.png"
    assert source.part("val").labels.tolist() == list(range(10))


def test_cinic10_refuses_another_tree(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"expected train, valid and test .* use imagefolder"):
        open_source(f"cinic10:{make_tree(tmp_path)}")


def test_pixels_are_those_of_the_files(tmp_path: Path) -> None:
    source = open_source(f"imagefolder:{make_tree(tmp_path)}")
    samples = read_samples(source)
    assert np.array_equal(samples.arrays, np.stack([pixels(seed) for seed in range(6)]))
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_grey(tmp_path: Path) -> None:
    grey = {f"c/{k}.png": encode(pixels(k)[:, :, 0]) for k in range(2)}
    source = open_source(f"imagefolder:{write(tmp_path, grey)}", mode="grey")
    assert (source.shape, source.channels) == ((6, 5, 1), ("grey",))
    assert np.array_equal(read_samples(source).arrays[1][..., 0], pixels(1)[:, :, 0])
    with pytest.raises(SourceError, match="mode must be one of rgb, grey, got 'gray'"):
        open_source(f"imagefolder:{tmp_path}", mode="gray")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    source = open_source(f"imagefolder:{make_tree(tmp_path, ('train', 'car'))}")
    assert source.label_names == ("car", "train")
    assert set(source.splits) == {""}


def test_splits_beside_another_folder_are_not_read_as_classes(tmp_path: Path) -> None:
    make_tree(tmp_path, ("train/cat", "train/dog", "val/cat", "extra"))
    with pytest.raises(SourceError, match=r"train holds folders.*extra.*move"):
        open_source(f"imagefolder:{tmp_path}")


def test_images_without_folders_have_no_labels(tmp_path: Path) -> None:
    source = open_source(f"imagefolder:{make_tree(tmp_path, ('.',))}")
    assert source.labels.tolist() == [-1] * 3


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    make_tree(tmp_path)
    other = {"cat/notes.txt": b"", "cat/.DS_Store": b"", ".cache/a.png": b"", "cat/x.gif": b""}
    write(tmp_path, {**other, "cat/0.jpg": encode(pixels(9), "jpg")})
    notes = "; ".join(open_source(f"imagefolder:{tmp_path}").notes)
    assert "2 hidden files or folders left out: .cache, cat/.DS_Store" in notes
    assert "1 .gif" in notes
    assert "1 .txt" in notes
    assert "1 names exist with several suffixes, such as cat/0" in notes


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_korean_names_stay_as_they_are_on_disk(tmp_path: Path, form: str) -> None:
    folder, label = (
        unicodedata.normalize(form, "데이터 모음"),
        unicodedata.normalize(form, "고양이"),
    )
    source = open_source(f"imagefolder:{make_tree(tmp_path / folder, (label, 'dog'))}")
    assert source.label_names == ("dog", label)
    assert source.ids[-1] == f"{label}/2.png"
    assert len(source.fingerprint()) == 64
    assert not read_samples(pickle.loads(pickle.dumps(source))).status.any()


def test_bad_files_among_good_ones_keep_their_status(tmp_path: Path) -> None:
    make_tree(tmp_path)
    whole = encode(pixels(20))
    write(
        tmp_path,
        {
            "cat/a.png": b"",
            "cat/b.png": whole[: len(whole) // 2],
            "cat/c.png": encode(pixels(21, (7, 7))),
            "cat/d.png": encode(np.full((6, 5, 3), 9, np.uint8)),
        },
    )
    source = open_source(f"imagefolder:{tmp_path}")
    samples = read_samples(source)
    assert samples.status.tolist() == [
        *(Status.OK, Status.OK, Status.OK),
        *(Status.EMPTY, Status.UNDECODABLE, Status.WRONG_SHAPE, Status.CONSTANT),
        *(Status.OK, Status.OK, Status.OK),
    ]
    assert samples.problems[4].startswith("cannot be decoded")
    assert "expected 6 x 5" in samples.problems[5]


def test_the_first_readable_image_gives_the_shape(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / "cat" / "0.png").write_bytes(b"broken")
    source = open_source(f"imagefolder:{tmp_path}")
    assert source.shape == (6, 5, 3)
    assert read_samples(source).status[0] == Status.UNDECODABLE


def test_slices_equal_the_whole_and_are_small(tmp_path: Path) -> None:
    source = open_source(f"imagefolder:{make_tree(tmp_path, count=200)}")
    whole = read_samples(source).arrays
    for start, stop in ((0, 1), (150, 250), (399, 400)):
        part = pickle.loads(pickle.dumps(source[start:stop]))
        assert np.array_equal(read_samples(part).arrays, whole[start:stop])
        assert part.ids == source.ids[start:stop]
    assert len(pickle.dumps(source[:1])) < 2000


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    first = open_source(f"imagefolder:{make_tree(tmp_path / 'a')}")
    moved = open_source(f"imagefolder:{make_tree(tmp_path / 'b')}")
    before = first.fingerprint()
    assert moved.fingerprint() == before
    file = tmp_path / "b" / "dog" / "1.png"
    data = bytearray(file.read_bytes())
    data[-9] ^= 1
    file.write_bytes(bytes(data))
    assert moved.fingerprint() != before
    (tmp_path / "a" / "dog").rename(tmp_path / "a" / "fox")
    renamed = open_source(f"imagefolder:{tmp_path / 'a'}")
    assert renamed.fingerprint() != before


def test_files_that_cannot_be_read_are_listed_together(tmp_path: Path) -> None:
    source = open_source(f"imagefolder:{make_tree(tmp_path)}")
    for name in ("cat/1.png", "dog/2.png"):
        (tmp_path / name).unlink()
    with pytest.raises(SourceError, match=r"2 of 6 files cannot be read: cat/1.png .*dog/2.png"):
        source.fingerprint()
    with pytest.raises(SourceError, match=r"cat/1.png: could be read before and now cannot"):
        read_samples(source)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / "cat").chmod(0)
    try:
        with pytest.raises(SourceError, match="cat: cannot be listed"):
            open_source(f"imagefolder:{tmp_path}")
    finally:
        (tmp_path / "cat").chmod(0o755)


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat")
    with pytest.raises(SourceError, match="remove the loop"):
        open_source(f"imagefolder:{tmp_path}")


def test_a_linked_class_folder_is_followed(tmp_path: Path) -> None:
    make_tree(tmp_path / "disk2", ("cat",))
    make_tree(tmp_path / "data", ("dog",))
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "disk2" / "cat")
    assert len(open_source(f"imagefolder:{tmp_path / 'data'}")) == 6


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({}, "no image files"),
        ({"cat/a.txt": b""}, r"no image files .* 1 .txt"),
        ({"cat/a.png": b"", "cat/b.png": b"no"}, "none of 2 images can be decoded; .* cat/a.png"),
        ({"cat/a.png": b"", "b.png": b""}, "1 images beside 1 class folders"),
    ],
)
def test_trees_that_are_none(tmp_path: Path, files: dict[str, bytes], match: str) -> None:
    with pytest.raises(SourceError, match=match):
        open_source(f"imagefolder:{write(tmp_path, files)}")


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    make_tree(tmp_path)
    data = (tmp_path / "cat" / "0.png").read_bytes()
    with open(os.fsencode(tmp_path) + b"/cat/\xff.png", "wb") as file:  # noqa: PTH123 - bytes
        file.write(data)
    with pytest.raises(SourceError, match=r"1 file names are not UTF-8, such as 'cat/\\udcff.png'"):
        open_source(f"imagefolder:{tmp_path}")


@pytest.mark.parametrize("kind", ["imagefolder", "cinic10", "tiny-imagenet"])
def test_no_folder(tmp_path: Path, kind: str) -> None:
    with pytest.raises(SourceError, match="no such folder"):
        open_source(f"{kind}:{tmp_path / 'none'}")
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(SourceError, match="unpack an archive first"):
        open_source(f"{kind}:{tmp_path / 'a.tar'}")
