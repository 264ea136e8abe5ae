"""Pictures: input, diagram and image side by side; a report as a page. matplotlib, headless.

`canvas` opens a figure and saves it, `panels` draw one thing each, `samples` and `page` put them
together.
"""

from __future__ import annotations

from pipeline.figures.canvas import (
    POINT_COLOUR,
    WINDOW_COLOUR,
    PictureNotDrawn,
    PlotsNotInstalled,
    check_picture,
    font_lines,
    open_figure,
    write,
)
from pipeline.figures.page import draw_report
from pipeline.figures.panels import shown_range
from pipeline.figures.samples import MOST_ROWS, draw_explanation, draw_gallery, names_of

__all__ = [
    "MOST_ROWS",
    "POINT_COLOUR",
    "WINDOW_COLOUR",
    "PictureNotDrawn",
    "PlotsNotInstalled",
    "check_picture",
    "draw_explanation",
    "draw_gallery",
    "draw_report",
    "font_lines",
    "names_of",
    "open_figure",
    "shown_range",
    "write",
]
