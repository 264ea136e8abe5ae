"""The layout of TGD: `train_PIr/CLASS/NAME` and `train_PIc/CLASS/NAME` beside `train/CLASS/NAME`.

Of a file of columns the release has the name of that of rows, which is the name of the original.
`train.csv` and `test.csv` list each name with its label, under a header.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from pi_cache.errors import SourceError
from pipeline.legacy.tables import Values, read_values
from pipeline.legacy.trees import Tree, beside, read_tree
from pipeline.sources.base import Source
from pipeline.sources.folders import SPLITS, Row, Scan, class_rows, find_root, make_source, some

TGD = re.compile(r"(?P<split>[a-z]+)_PI(?P<scan>[rc]?)", re.IGNORECASE)
"""Folders of images in the TGD release: `train_PIr` of rows, `train_PIc` of columns, and `train_PI`
as its notebook names them."""
SCANS = {"r": "rows", "c": "columns", "": ""}


def tgd_folders(path: str) -> dict[str, dict[str, str]]:
    """Folders of images of a TGD root: by split, train first, then by scan ("" for none said)."""
    root = Path(path).expanduser()
    found: dict[str, dict[str, str]] = {}
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        named = TGD.fullmatch(folder.name)
        if named and named["split"].lower() in SPLITS and folder.is_dir():
            scan = SCANS[named["scan"].lower()]
            found.setdefault(named["split"], {})[scan] = folder.name
    order = list(dict.fromkeys(SPLITS.values()))
    return dict(sorted(found.items(), key=lambda item: order.index(SPLITS[item[0].lower()])))


def open_tgd(path: str) -> tuple[Tree, str]:
    """All images of a TGD root, and the scan that its folders tell: rows, columns, both or "".

    Ids are `train/CLASS/NAME`, as those of the originals beside. Raises SourceError.
    """
    folders = tgd_folders(path)
    scans = sorted({scan for found in folders.values() for scan in found}, reverse=True)
    lacking = [
        f"{split}: {s or '?'}" for split in folders for s in scans if s not in folders[split]
    ]
    if lacking or scans not in (["rows", "columns"], ["rows"], ["columns"], [""]):
        listed = ", ".join(name for found in folders.values() for name in found.values())
        raise SourceError(
            f"{path}: the folders {listed} do not go together (missing {some(lacking) or '-'});"
            " each split needs one of rows and one of columns; or name --rows and --columns"
        )
    trees = [_tgd_tree(path, {split: found[scan] for split, found in folders.items()})
             for scan in scans]  # fmt: skip
    if len(trees) == 2:
        return beside(*trees), "both"
    return trees[0], scans[0]


def _tgd_tree(path: str, folders: dict[str, str]) -> Tree:
    scan = Scan(find_root(path))
    rows: list[Row] = []
    ids: list[str] = []
    for split, folder in folders.items():
        found = list(class_rows(scan, folder, SPLITS[split.lower()]))
        rows += found
        ids += [split + row.name[len(folder) :] for row in found]
    return replace(read_tree(scan, rows), ids=ids)


def open_originals(path: str, mode: str = "rgb") -> Source:
    """The original images beside those of a TGD root. Raises SourceError."""
    scan = Scan(find_root(path))
    rows = [
        row
        for split in tgd_folders(path)
        if (scan.root / split).is_dir()
        for row in class_rows(scan, split, SPLITS[split.lower()])
    ]
    return make_source("imagefolder", scan, rows, mode=mode)


def tgd_labels(path: str, tree: Tree) -> dict[str, Values]:
    """Labels by id, from `train.csv` and `test.csv` of a TGD root, where each split has one.

    Raises SourceError where a class folder says another one.
    """
    root = Path(path).expanduser()
    tables = {split: root / f"{split}.csv" for split in tgd_folders(path)}
    if not all(place.is_file() for place in tables.values()):
        return {}
    merged: dict[str, str] = {}
    for split, place in tables.items():
        table = read_values([str(place)])
        assert isinstance(table, dict)
        merged |= {f"{split}/{name.removeprefix('/')}": word for name, word in table.items()}
    for name, row in zip(tree.ids, tree.rows, strict=True):
        if row.category and merged.get(name, row.category) != row.category:
            raise SourceError(
                f"{name} lies in the folder {row.category}, and {root} has a CSV file that says"
                f" {merged[name]}; which is right? Mend the other, or name one with --labels"
            )
    return {"labels": merged}
