"""What lies at the paths that were named, as a source of images with all that is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.errors import InvalidSpec, SourceError
from pipeline.legacy.arrange import TURNS, Changed, Turn
from pipeline.legacy.stacks import Stack, fold_files, open_stack
from pipeline.legacy.tables import Values, columns_of, read_values
from pipeline.legacy.tgd import open_tgd, tgd_folders, tgd_labels
from pipeline.legacy.trees import Tree, beside, open_tree
from pipeline.sources.base import Source

COLOURS = {1: ("grey",), 3: ("red", "green", "blue")}
SCANNED = {"rows": ("rows",), "columns": ("columns",), "both": ("rows", "columns")}


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where images lie, and what is said of how.

    paths: a folder of pictures, of arrays or of folds, a TGD root, or array files. rows, columns:
    folders of pictures instead, by scan. labels, ids, groups, splits, label_names: files, see
    `read_values`. key: the array of a `.mat` or `.npz`. shape, channels: see `parse_axes`.
    channel_names: in the order of the files. turn, order: what is done to every image.
    """

    paths: tuple[str, ...] = ()
    rows: str | None = None
    columns: str | None = None
    labels: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    key: str | None = None
    shape: tuple[int, int, int] | None = None
    channels: str | None = None
    channel_names: tuple[str, ...] = ()
    turn: str = "none"
    order: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.paths) == bool(self.rows or self.columns):
            raise InvalidSpec("give the PATH of images, or --rows and --columns, and not both")
        if self.turn not in TURNS:
            raise InvalidSpec(f"turn must be one of {', '.join(TURNS)}, got {self.turn!r}")


@dataclass(frozen=True, kw_only=True)
class Found:
    """Images that can be imported: `source` gives them (H, W, C), a sample each.

    scan: what the folders tell of the diagrams, "" for nothing. named: channels got names by hand.
    """

    source: Source
    format: str
    scan: str = ""
    named: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def pixels(self) -> int:
        """Pixels along each axis."""
        return int(self.source.shape[0] or 0)

    @property
    def channels(self) -> int:
        """Images a sample."""
        return len(self.source.channels)


def find(where: Where) -> Found:
    """The images at a place. Raises SourceError."""
    stated = {
        name: read_values(getattr(where, name))
        for name in ("labels", "ids", "groups", "splits", "label_names")
        if getattr(where, name)
    }
    location = ", ".join(str(Path(p).expanduser().absolute()) for p in _places(where))
    stack = _stack(where)
    if stack is not None:
        return _found_stack(stack, where, stated, location)
    tree, scan = _tree(where)
    return _found_tree(tree, where, stated, scan, location)


def _places(where: Where) -> list[str]:
    return [*where.paths, *(path for path in (where.rows, where.columns) if path)]


def _stack(where: Where) -> Stack | None:
    """The arrays that were named, None where a folder of single images was."""
    paths = [Path(path).expanduser() for path in where.paths]
    for path in paths:
        if not path.exists():
            raise SourceError(f"{path}: no such file or folder")
    files = [path for path in paths if not path.is_dir()]
    if len(paths) == 1 and not files:
        files = fold_files(paths[0])
        if not files:
            return None
    elif len(files) < len(paths):
        raise SourceError("several paths: expected files of arrays; import folders one by one")
    if not files:
        return None
    return open_stack(files, key=where.key, shape=where.shape, channels=where.channels)


def _tree(where: Where) -> tuple[Tree, str]:
    """The single images that were named, and the scan that their folders tell."""
    how: dict[str, Any] = {"key": where.key, "shape": where.shape, "channels": where.channels}
    scans = {"rows": where.rows, "columns": where.columns}
    named = {scan: open_tree(path, **how) for scan, path in scans.items() if path}
    if len(named) == 2:
        return beside(named["rows"], named["columns"]), "both"
    if named:
        return next(iter(named.values())), next(iter(named))
    if tgd_folders(where.paths[0]):
        return open_tgd(where.paths[0])
    return open_tree(where.paths[0], **how), ""


def _found_tree(
    tree: Tree, where: Where, stated: dict[str, Values], scan: str, location: str
) -> Found:
    classes = sorted({row.category for row in tree.rows} - {""})
    tables = tgd_labels(where.paths[0], tree) if where.paths and tgd_folders(where.paths[0]) else {}
    known: dict[str, Any] = {"ids": tree.ids}
    if classes and "labels" not in {**tables, **stated}:
        known |= {"labels": [row.category for row in tree.rows], "label_names": classes}
    if any(row.split for row in tree.rows):
        known["splits"] = [row.split for row in tree.rows]
    notes = (*tree.notes, *tree.scan.notes())
    stated = {**tables, **stated}
    return _found(tree, len(tree.ids), where, known, stated, location, scan, notes)


def _found_stack(stack: Stack, where: Where, stated: dict[str, Values], location: str) -> Found:
    return _found(stack, stack.count, where, stack.known, stated, location, "", stack.notes)


def _found(
    images: Tree | Stack, count: int, where: Where, known: dict[str, Any],
    stated: dict[str, Values], location: str, scan: str, notes: Sequence[str],
) -> Found:  # fmt: skip
    columns = columns_of(stated, known, count, location)
    names = _channel_names(where, images, scan)
    turn = Turn(turn=where.turn, order=_order(where.order, len(names)))
    reader = images.reader if turn == Turn() else Changed(images.reader, turn)
    source = Source(
        kind="imported",
        location=location,
        sample="image",
        shape=images.shape,
        channels=names,
        dtype=np.dtype(images.dtype),
        maximum=None,
        ids=columns.ids,
        labels=columns.labels,
        label_names=columns.label_names,
        groups=columns.groups,
        splits=columns.splits,
        reader=reader,
    )
    return Found(
        source=source,
        format=images.format,
        scan=scan,
        named=bool(where.channel_names),
        notes=tuple(notes),
    )


def _channel_names(where: Where, images: Tree | Stack, scan: str) -> tuple[str, ...]:
    """The names given, or the colours or numbers of each scan."""
    count = images.shape[2]
    if where.channel_names:
        if len(where.channel_names) != count:
            raise InvalidSpec(
                f"the images have {count} channels, got {len(where.channel_names)} names for them"
            )
        return where.channel_names
    scans = SCANNED.get(scan, ("",))
    each = count // len(scans)
    picture = images.format in ("png-tree", "jpeg-tree")
    names = COLOURS[each] if picture else tuple(f"channel{k}" for k in range(each))
    return tuple(f"{scan}/{name}" if scan else name for scan in scans for name in names)


def _order(order: tuple[int, ...], count: int) -> tuple[int, ...]:
    if order and sorted(order) != list(range(count)):
        raise InvalidSpec(f"the channel order must name each of 0..{count - 1} once, got {order}")
    return order
