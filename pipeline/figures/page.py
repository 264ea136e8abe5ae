"""A report as one page: window and points, statuses, channels, windows by subject and class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.errors import InvalidSpec
from pi_cache.reader import Store
from pipeline.figures.canvas import (
    COLOURS,
    OUTSIDE_COLOUR,
    POINT_COLOUR,
    open_page,
    write_ticks,
)
from pipeline.figures.panels import draw_pixels, draw_window, label_axes
from pipeline.reports.coverage import coverage
from pipeline.reports.suggestion import drawn_points, some_samples
from pipeline.reports.units import percent

WIDTH = 9.0
"""Of a page, in inches."""
ROW = 0.17
"""Height of a channel or subject in a chart, in inches."""
SUMMARY = 2.8
LONGEST_CLASS = 22
"""Letters of the name of a class."""
OVERLAID, FAINTEST = 3000, 0.02
"""So many points are opaque in sum, so that where they crowd is seen; none is fainter than that."""
FEWEST_BARS = 4
"""Bars of statuses for which there is room, so that one is not as high as the chart."""
MOST_CHANNELS, MOST_SUBJECTS, MOST_CLASSES = 128, 64, 40
"""In one chart; the text has them all."""


def draw_report(store: Store, path: Path) -> None:
    """Where the points lie beside the window, how bright the images are, and statuses; below, the
    share of each channel in the window, and the windows by subject and class."""
    facts = coverage(store)
    if store.spec.gramian is not None:
        raise InvalidSpec(
            f"store {store.key[:12]} holds Gramian angular fields, and has no window to be drawn;"
            f" pipeline explain {store.key[:12]} 0 --png draws one"
        )
    channels = (facts["channels"] or [])[:MOST_CHANNELS]
    windows = facts["windows"]
    charts = [SUMMARY]
    if len(channels) > 1:
        charts.append(0.9 + ROW * len(channels))
    if windows is not None:
        charts.append(1.9 + ROW * 1.2 * min(len(windows["subjects"]), MOST_SUBJECTS))
    with open_page(path, (WIDTH, sum(charts))) as figure:
        recipe = f", recipe {store.spec.recipe}" if store.spec.recipe else ""
        figure.suptitle(f"store {store.key[:12]}: {store.spec.source.kind}{recipe}")
        parts = figure.subfigures(len(charts), 1, height_ratios=charts, squeeze=False)[:, 0]
        _summary(parts[0], store, facts)
        if len(channels) > 1:
            _channels(parts[1], channels, len(store.channels))
        if windows is not None:
            _windows(parts[-1], windows)


def _summary(figure: Any, store: Store, facts: Mapping[str, Any]) -> None:
    spec = store.spec.image
    samples = some_samples(store)
    birth, persistence = drawn_points(store, samples)
    images = store.read("images", samples).astype(np.float64)
    scatter, mean, status = figure.subplots(1, 3)
    alpha = min(0.3, max(OVERLAID / max(len(birth), 1), FAINTEST))
    scatter.scatter(birth, persistence, s=1, alpha=alpha, color=POINT_COLOUR, rasterized=True)
    draw_window(scatter, spec)
    inside = facts["points_inside"]
    label_axes(scatter, store)
    scatter.set_title("no points" if inside is None else f"{percent(inside)} of points in window")
    if len(images):
        draw_pixels(mean, images.mean(axis=(0, 1)), spec)
        label_axes(mean, store)
    mean.set_title(f"mean of {len(images)} samples, all channels")
    names, counts = list(facts["status"]), list(facts["status"].values())
    status.barh(names, counts, height=0.6, color=POINT_COLOUR)
    for place, count in enumerate(counts):
        status.text(count, place, f" {count:,}", va="center")
    status.set_title("samples by status")
    status.margins(x=0.25)
    status.set_ylim(max(len(names), FEWEST_BARS) - 0.5, -0.5)
    status.locator_params(axis="x", nbins=4, integer=True)


def _channels(figure: Any, channels: Sequence[Mapping[str, Any]], count: int) -> None:
    """Shares of points and of persistence inside the window, and of the birth axis without any.

    count: of all channels of the store.
    """
    panels = figure.subplots(1, 3, sharey=True)
    places = np.arange(len(channels))
    for axes, key, title, colour in zip(
        panels,
        ("points_inside", "persistence_inside", "birth_empty"),
        ("points in window", "persistence in window", "birth axis without a point"),
        (POINT_COLOUR, POINT_COLOUR, OUTSIDE_COLOUR),
        strict=True,
    ):
        values = [fact[key] for fact in channels]
        axes.barh(places, [value or 0 for value in values], height=0.7, color=colour)
        for place, value in enumerate(values):
            text = "no points" if value is None else percent(value)
            axes.text(value or 0, place, f" {text}", va="center", fontsize=6)
        axes.set_title(title)
        axes.set(xlim=(0, 1.18), xticks=[0, 0.5, 1], xticklabels=["0", "50 %", "100 %"])
    panels[0].set(ylim=(len(channels) - 0.5, -0.5))
    write_ticks(panels[0].yaxis, [str(fact["name"]) for fact in channels], 6)
    if count > len(channels):
        panels[0].set_ylabel(f"the first {len(channels)} of {count} channels")


def _windows(figure: Any, facts: Mapping[str, Any]) -> None:
    """Windows by subject (row) and class (column), as colour and number."""
    subjects = facts["subjects"][:MOST_SUBJECTS]
    codes = [_called(facts["codes"][name], name) for name in facts["classes"]][:MOST_CLASSES]
    counts = np.array(facts["counts"]).reshape(len(facts["subjects"]), -1)
    total, whole = counts.sum(), counts.shape
    counts = counts[: len(subjects), : len(codes)].astype(np.float64)  # (subjects, classes)
    axes = figure.subplots(1, 1)
    shown = np.ma.masked_equal(counts, 0)
    picture = axes.imshow(shown, cmap=COLOURS, vmin=0, aspect="auto")
    limit = counts.max(initial=0) / 2
    for (row, column), count in np.ndenumerate(counts):
        colour = "#ffffff" if 0 < count < limit else "#000000"
        text = f"{count:.0f}" if count else "-"
        axes.text(column, row, text, ha="center", va="center", fontsize=5.5, color=colour)
    write_ticks(axes.yaxis, [str(name) for name in subjects], 6)
    write_ticks(axes.xaxis, codes, 6, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_title(
        f"windows by subject and class: {total:,} with the status OK,"
        f" {facts['recordings']:,} recordings"
    )
    if counts.shape != whole:
        axes.set_ylabel(f"the first {len(subjects)} of {whole[0]} subjects")
        axes.set_xlabel(f"the first {len(codes)} of {whole[1]} classes")
    figure.colorbar(picture, ax=axes, pad=0.01, aspect=12)


def _called(code: str, name: str) -> str:
    """A class as a column is called: its name, behind the code that files have for it."""
    text = name if code == name or code.isdigit() else f"{code} {name}"
    return text if len(text) <= LONGEST_CLASS else f"{text[: LONGEST_CLASS - 1]}\u2026"
