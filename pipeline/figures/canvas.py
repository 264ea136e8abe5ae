"""Where a picture is drawn and how it becomes a file: style, fonts, formats. matplotlib, headless.

The same store gives the same bytes. Colours are perceptually uniform and told apart by the
colour-blind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pi_cache.errors import PiCacheError

COLOURS = "magma"
POINT_COLOUR, WINDOW_COLOUR, OUTSIDE_COLOUR = "#00609c", "#c1272d", "#e08e0b"
FONTS = ("DejaVu Sans", "Noto Sans CJK KR", "NanumGothic", "Malgun Gothic", "AppleGothic")
"""Those that are installed are asked for each letter, in this order."""
FORMATS: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}
"""Kinds of file, with what of their metadata would change the bytes from run to run."""
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "pi-cache",
}


class PlotsNotInstalled(PiCacheError, ImportError):
    """matplotlib is missing."""


class PictureNotDrawn(PiCacheError, OSError):
    """A picture that cannot be written where it should go, or not in that format."""


def check_picture(path: Path) -> None:
    """Raise where no picture of that name could be drawn: PictureNotDrawn, PlotsNotInstalled."""
    if path.suffix.lower() not in FORMATS:
        known = ", ".join(name[1:] for name in FORMATS)
        raise PictureNotDrawn(f"{path}: a picture is one of {known}; name it so, such as a.png")
    if not path.parent.is_dir():
        raise PictureNotDrawn(f"{path}: there is no folder {path.parent}; make it first")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise PlotsNotInstalled(f'{error}; pip install "pi-cache[plots]"') from None


@contextmanager
def open_page(path: Path, size: tuple[float, float]) -> Iterator[Any]:
    """An empty figure of a size in inches; saved to the path at the end."""
    check_picture(path)
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    suffix = path.suffix.lower()
    with rc_context({**STYLE, "font.family": installed_fonts()}):
        figure = Figure(figsize=size)
        FigureCanvasAgg(figure)
        yield figure
        try:
            figure.savefig(path, format=suffix[1:], metadata=FORMATS[suffix])
        except OSError as error:
            raise PictureNotDrawn(f"{path} cannot be written: {error.strerror or error}") from None


@contextmanager
def open_figure(path: Path, rows: int, columns: int, size: tuple[float, float]) -> Iterator[Any]:
    """Axes of a grid (rows, columns); saved to the path at the end."""
    with open_page(path, size) as figure:
        yield figure.subplots(rows, columns, squeeze=False)


def write(place: Callable[..., Any], *texts: str, **options: Any) -> None:
    """Put the first text that the fonts have in a place: as it is, not taken for a formula."""
    place(drawable(*texts), parse_math=False, **options)


def write_ticks(axis: Any, names: Sequence[str], size: float, **options: Any) -> None:
    """Names along an axis at 0, 1, ...; the number for one whose letters no font has."""
    labels = [drawable(name, str(k)) for k, name in enumerate(names)]
    axis.set_ticks(range(len(names)), labels=labels, fontsize=size, **options)
    for label in axis.get_ticklabels():
        label.set_parse_math(False)


def drawable(*texts: str) -> str:
    """The first text that the fonts have every letter of, else the last."""
    return next(filter(_has_glyphs, texts), texts[-1])


def font_lines(names: Iterable[str]) -> list[str]:
    """A line where a picture has numbers for names, as no font has their letters."""
    unknown = [name for name in names if not _has_glyphs(name)]
    if not unknown:
        return []
    return [
        f"no installed font has the letters of {unknown[0]}, so the picture has numbers for such"
        f" names; install one of {', '.join(FONTS[1:])}"
    ]


def installed_fonts() -> list[str]:
    """The fonts of `FONTS` that are installed; matplotlib grumbles about the others."""
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return [name for name in FONTS if name in installed]


def _has_glyphs(text: str) -> bool:
    """Whether the fonts have every letter; matplotlib draws boxes, and warns, where not."""
    from matplotlib.font_manager import findfont, get_font

    fonts = [get_font(findfont(name)) for name in installed_fonts()]
    letters = text.replace("\n", "")
    return all(any(font.get_char_index(ord(letter)) for font in fonts) for letter in letters)
