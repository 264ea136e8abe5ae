"""Data sources by the words of the command line: `digits`, or `KIND:PATH`.

Importing this imports no decoder and no numerical library but NumPy; opening a source does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pi_cache.errors import UnknownSource
from pi_cache.nearest import nearest
from pi_cache.specs import VARIANT
from pipeline.sources.base import Reader, Samples, Source, read_samples
from pipeline.sources.kinds import KINDS, Kind

__all__ = [
    "KINDS",
    "Kind",
    "Reader",
    "Samples",
    "Source",
    "describe_sources",
    "open_source",
    "read_samples",
]


def open_source(text: str, *, split: str | None = None, **options: Any) -> Source:
    """The source of `digits` or `KIND:PATH`; with `split`, that part of it.

    options: those of the kind, see KINDS, and `variant` of any kind of images or signals: its
    samples are transformed, see `pipeline.sources.variants`. Raises SourceError for an unknown
    kind, an option that the kind has not, or data that cannot be read.
    """
    name, _, path = text.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        raise UnknownSource(_unknown(text))
    if bool(path) != bool(kind.path):
        raise UnknownSource(f"source {text!r} is written {written(name)}; layout: {kind.layout}")
    variant = options.pop(VARIANT, None)
    wrong = sorted(set(options) - set(kind.options))
    if wrong:
        known = ", ".join(("split", *kind.options))
        raise UnknownSource(f"{name} has no option {', '.join(wrong)}; it has {known}")
    # Absolute, since a worker may run in another folder.
    source = kind.open(str(Path(path).expanduser().absolute()) if path else "", **options)
    source = replace(source, options=source.options or options)  # a kind may settle more
    if variant is not None:
        from pipeline.sources.variants import variant_of

        source = variant_of(source, variant)
    return source if split is None else replace(source.part(split), split=split)


def describe_sources(name: str | None = None) -> list[dict[str, str]]:
    """What is known of each kind of source, or of one, in words; empty where nothing is known.

    Raises SourceError for an unknown kind.
    """
    if name is not None and name not in KINDS:
        raise UnknownSource(_unknown(name))
    return [
        {
            "name": word,
            "summary": kind.line,
            "source": written(word),
            "layout": kind.layout,
            "labels": kind.labels,
            "splits": kind.splits,
            "options": ", ".join(kind.options),
            "citation": kind.citation,
            "licence": kind.licence,
            **kind.facts,
        }
        for word, kind in KINDS.items()
        if name in (None, word)
    ]


def written(name: str, path: str = "") -> str:
    """How a source of this kind is written, such as `array:FILE`, or with the path given."""
    usual = KINDS[name].path if name in KINDS else ""
    return f"{name}:{path or usual}" if usual else name


def _unknown(text: str) -> str:
    """The message for words that are no source: the nearest kind, or what a path looks like."""
    name, colon, path = text.partition(":")
    near = nearest(name, KINDS)
    if Path(text).expanduser().exists():
        hint = f", but a path: write {_guess(Path(text).expanduser())}:{text}"
    elif near:
        hint = f"; did you mean {near}{colon}{path}?"
    else:
        hint = ""
    return f"{text!r} is no source{hint} (sources: {', '.join(map(written, KINDS))})"


def _guess(path: Path) -> str:
    """The kind that a path looks like."""
    names = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else [path.name]
    for name in names:
        if name.endswith((".npy", ".npz")) or name in ("zarr.json", ".zarray"):
            return "array"
        if name.endswith(".ts"):
            return "ucr"
        if name == "wnids.txt":
            return "tiny-imagenet"
        if name.startswith(("data_batch_", "cifar-10-")):
            return "cifar10"
        if name.startswith(("fine_label_names", "cifar-100-")):
            return "cifar100"
    return "imagefolder"
