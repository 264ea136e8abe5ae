"""The demonstration: scikit-learn's digits by every family of filtrations, and a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pi_cache.reader import open_store
from pipeline.build import BuildReport, build
from pipeline.figures import draw_gallery
from pipeline.progress import Progress
from pipeline.request import resolve
from pipeline.sources import open_source

DEMO: tuple[dict[str, Any], ...] = (
    {},
    {
        "filtration": "cubical",
        "birth_range": (0.0, 1.0),
        "persistence_range": (0.0, 1.0),
    },
    {
        "filtration": "rips",
        "birth_range": (0.0, 0.6),
        "persistence_range": (0.0, 0.4),
        "sigma": 0.02,
    },
)
"""Every family of filtrations once, each in a window that holds its points."""


def build_demo(root: Path) -> Iterator[tuple[str, BuildReport]]:
    """One store after the other, each with the command line that builds it."""
    source = open_source("digits")
    for options in DEMO:
        request = resolve({}, options)
        with Progress() as progress:
            report = build(source, request.diagram, request.image, root=root, progress=progress)
        yield " ".join(["pipeline build-pis digits", *_words(options)]), report


def draw_demo(stores: list[Path], png: Path) -> None:
    """A few digits: the input, then diagram and image of each store."""
    draw_gallery([open_store(path) for path in stores], png)


def _words(options: dict[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        text = ",".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)
        yield f"--{name.replace('_', '-')} {text}"
