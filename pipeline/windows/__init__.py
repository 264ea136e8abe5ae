"""Windows of recordings: one spec says how they are cut, labelled and scaled."""

from __future__ import annotations

from pipeline.windows.cut import Cut, cut
from pipeline.windows.published import PUBLISHED, Published
from pipeline.windows.scaling import Scaling
from pipeline.windows.series import Series, make_series
from pipeline.windows.spec import HELP, Length, Rule, WindowSpec

__all__ = [
    "HELP",
    "PUBLISHED",
    "Cut",
    "Length",
    "Published",
    "Rule",
    "Scaling",
    "Series",
    "WindowSpec",
    "cut",
    "make_series",
]
