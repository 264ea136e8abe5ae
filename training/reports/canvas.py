"""Where a figure is drawn and how it becomes bytes: style, fonts, formats. matplotlib, headless.

The same runs give the same bytes. Names whose letters no installed font has are drawn as numbers.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from training.reports.paired import ReportsNotInstalled

COLOURS = "viridis"
FONTS = ("DejaVu Sans", "Noto Sans CJK KR", "NanumGothic", "Malgun Gothic", "AppleGothic")
"""Those that are installed are asked for each letter, in this order."""
CYCLE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Told apart by the colour-blind: Okabe and Ito, 2008."""
MARKERS = "osD^vPX*<"
"""One more than colours, so that lines of one colour have other markers."""
DASHES = ("-", "--", ":")
"""Of lines whose colour is taken already."""
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "pi-cache",
}
FORMATS: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}
"""Kinds of file, with what of their metadata would change the bytes from run to run."""


def drawn(draw: Callable[[Any], None], size: tuple[float, float], *, kind: str = "png") -> bytes:
    """The file of what `draw` puts on an empty figure of a size in inches.

    Raises ReportsNotInstalled.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ReportsNotInstalled(f'{error}; pip install "pi-cache[report]"') from None
    out = io.BytesIO()
    with rc_context({**STYLE, "font.family": installed_fonts()}):
        figure = Figure(figsize=size)
        FigureCanvasAgg(figure)
        draw(figure)
        figure.savefig(out, format=kind, metadata=FORMATS[kind])
    return out.getvalue()


def write(place: Callable[..., Any], *texts: str, **options: Any) -> None:
    """Put the first text that the fonts have in a place: as it is, not taken for a formula."""
    place(drawable(*texts), parse_math=False, **options)


def names_of(names: Sequence[str]) -> list[str]:
    """Names as a figure has them: the number for one whose letters no font has."""
    return [drawable(name, str(k)) for k, name in enumerate(names)]


def drawable(*texts: str) -> str:
    """The first text that the fonts have every letter of, else the last."""
    return next(filter(_has_glyphs, texts), texts[-1])


def font_lines(names: Iterable[str]) -> list[str]:
    """A line where figures have numbers for names, as no font has their letters."""
    unknown = [name for name in names if not _has_glyphs(name)]
    if not unknown:
        return []
    return [
        f"no installed font has the letters of {unknown[0]}, so figures have numbers for such"
        f" names; install one of {', '.join(FONTS[1:])}"
    ]


def installed_fonts() -> list[str]:
    """The fonts of `FONTS` that are installed; matplotlib grumbles about the others."""
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return [name for name in FONTS if name in installed]


def _has_glyphs(text: str) -> bool:
    from matplotlib.font_manager import findfont, get_font

    fonts = [get_font(findfont(name)) for name in installed_fonts()]
    letters = text.replace("\n", "")
    return all(any(font.get_char_index(ord(letter)) for font in fonts) for letter in letters)
