"""Tiny ImageNet as released: labels of the validation images lie in a file of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pi_cache.errors import SourceError
from pipeline.sources.base import Source
from pipeline.sources.folders import Row, Scan, find_root, make_source, some

ANNOTATIONS = "val/val_annotations.txt"


def open_tiny_imagenet(path: str, *, mode: str = "rgb") -> Source:
    """Images (64, 64, 3) of train, val and test; the test images have no labels.

    Labels number the sorted WordNet ids of the folders of `train`, so a copy with fewer classes
    numbers its own. Boxes are not read. Raises SourceError, also when an annotated file is missing.
    """
    scan = Scan(find_root(path))
    folders, _ = scan.listing()
    if "train" not in folders:
        raise SourceError(
            f"{path}: has no folder train; give the folder that holds train, val and wnids.txt"
        )
    classes = [folder.rpartition("/")[2] for folder in scan.listing("train")[0]]
    rows = [
        Row(name, wnid, "train") for wnid in classes for name in scan.images(f"train/{wnid}/images")
    ]
    if "val" in folders:
        rows += _validation(scan, set(classes))
    if "test" in folders:
        rows += [Row(name, "", "test") for name in scan.images("test")]
    words = _table(scan.root / "words.txt")
    return make_source(
        "tiny-imagenet",
        scan,
        rows,
        mode=mode,
        classes=classes,
        label_names=tuple(words.get(wnid, wnid) for wnid in classes),
        notes=_strangers(rows),
    )


def _strangers(rows: list[Row]) -> tuple[str, ...]:
    count = sum(row.split == "val" and not row.category for row in rows)
    note = f"{count} validation images have no label: not annotated, or of no class of train"
    return (note,) if count else ()


def _validation(scan: Scan, classes: set[str]) -> Iterator[Row]:
    """Rows of the validation images, without a class where it is not one of `train`."""
    annotated = _table(scan.root / ANNOTATIONS)
    if not annotated:
        raise SourceError(f"{scan.root / ANNOTATIONS}: missing or empty; unpack the archive again")
    names = scan.images("val")
    lost = sorted(set(annotated) - {name.rpartition("/")[2] for name in names})
    if lost:
        raise SourceError(
            f"{scan.root}/val: {len(lost)} annotated images are missing, such as {some(lost)};"
            " unpack the archive again, or remove their lines"
        )
    for name in names:
        wnid = annotated.get(name.rpartition("/")[2], "")
        yield Row(name, wnid if wnid in classes else "", "val")


def _table(file: Path) -> dict[str, str]:
    """First and second column of a file of tab-separated lines; empty when there is none."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SourceError(f"{file}: expected UTF-8 text ({error})") from error
    lines = [line.split("\t") for line in text.splitlines() if line]
    short = [number for number, line in enumerate(lines, 1) if len(line) < 2]
    if short:
        raise SourceError(
            f"{file}: line {short[0]} has no tab, expected a name, a tab and what it stands for"
        )
    return {line[0]: line[1] for line in lines}
