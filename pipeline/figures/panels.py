"""One panel each: what was filtered, its diagram, its image; axes in the units of the values."""

from __future__ import annotations

from typing import Any

import numpy as np

from pi_cache.axes import cell_width, lower_edges
from pi_cache.reader import Store
from pi_cache.sampling.windows import Window
from pi_cache.specs import ImageSpec, Status
from pipeline.figures.canvas import COLOURS, OUTSIDE_COLOUR, POINT_COLOUR, WINDOW_COLOUR, write
from pipeline.images import in_window, select
from pipeline.reports.units import filtered_unit, input_names, input_of, input_units, with_unit
from pipeline.reports.windows import holds_windows
from pipeline.statistics import USABLE


def draw_input(axes: Any, store: Store, sample: int, channel: int) -> None:
    """What the diagram of a channel was made of: a plane of an image, a signal, a cloud, or the
    distances of its points."""
    if "inputs" not in store.columns:
        say_instead(axes, "inputs not stored")
        return
    raw = store.read("inputs", [sample])[0].astype(np.float64)
    if store.spec.source.sample == "cloud":
        axes.scatter(raw[:, 0], raw[:, 1 % raw.shape[1]], s=2, color=POINT_COLOUR)
        axes.set_aspect("equal")
        return
    distances = store.spec.source.sample == "distances"
    plane = raw if distances else raw[..., input_of(store, channel)]
    if store.spec.source.sample == "signal":
        _signal(axes, store, sample, plane)
        return
    maximum = store.column("inputs").attributes.get("maximum")
    low, high = (0, maximum) if maximum else (None, None)
    axes.imshow(plane, cmap="gray", vmin=low, vmax=high)
    axes.set(xticks=[], yticks=[])


def _signal(axes: Any, store: Store, sample: int, values: np.ndarray) -> None:
    """Values (T,) over seconds from the start of the window; over steps where no rate is known."""
    if holds_windows(store):
        rate = Window.parse(str(store.ids[sample])).rate
        axes.plot(np.arange(len(values)) / rate, values, lw=0.8, color=POINT_COLOUR)
        axes.set_xlabel("time [s]")
    else:
        axes.plot(values, lw=0.8, color=POINT_COLOUR)
        axes.set_xlabel("time step")


def input_label(store: Store, channel: int) -> str:
    """What the values of a channel are called: that of the signal with its unit, else its own."""
    if store.spec.source.sample != "signal":
        return store.channels[channel]
    k = input_of(store, channel)
    return with_unit(input_names(store)[k], input_units(store)[k])


def label_axes(axes: Any, store: Store, channel: int | None = None) -> None:
    """Birth and persistence in the unit of what was filtered; of all channels if they have one."""
    units = input_units(store)
    if channel is not None:
        units = [units[input_of(store, channel)]]
    same = units[0] if len(set(units)) == 1 and store.spec.source.sample == "signal" else ""
    unit = filtered_unit(same, store.spec.diagram.scale)
    write(axes.set_xlabel, with_unit("birth", unit), "birth")
    write(axes.set_ylabel, with_unit("persistence", unit), "persistence")


def say_instead(axes: Any, text: str) -> None:
    """A panel with nothing but a text."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])


def draw_diagram(axes: Any, store: Store, sample: int, channel: int, marker: int = 8) -> None:
    """Points over birth and persistence with the window of the image; crosses lie outside it."""
    spec = store.spec.image
    points = store.diagram(sample, channel)
    birth, persistence, _ = select(points, np.array([0, len(points)]), spec)
    inside = in_window(birth, persistence, spec)
    axes.scatter(birth[inside], persistence[inside], s=marker, color=POINT_COLOUR, lw=0, alpha=0.7)
    axes.scatter(
        birth[~inside], persistence[~inside], s=marker, color=OUTSIDE_COLOUR, marker="x", lw=0.8
    )
    draw_window(axes, spec)
    label_axes(axes, store, channel)


def draw_image(axes: Any, store: Store, sample: int, channel: int) -> None:
    """The image of a sample, or why there is none."""
    status = Status(int(store.status[sample]))
    if status not in USABLE:
        say_instead(axes, f"no image: {status.name}")
        return
    image = store.read("images", [sample])[0][channel].astype(np.float64)
    draw_pixels(axes, image, store.spec.image)
    label_axes(axes, store, channel)


def draw_pixels(axes: Any, image: np.ndarray, spec: ImageSpec) -> None:
    """An image with its axes in field units, persistence upwards whatever the row order."""
    shown = image[::-1] if spec.row_order == "descending" else image
    extent = (*shown_range(spec, "birth"), *shown_range(spec, "persistence"))
    axes.imshow(shown, origin="lower", extent=extent, aspect="auto", cmap=COLOURS)
    axes.set(xlabel="birth", ylabel="persistence")


def shown_range(spec: ImageSpec, axis: str) -> tuple[float, float]:
    """Where the pixels of a picture begin and end so that each is centred on its cell.

    The range of a regular grid. Cells of a legacy one are narrower than their distance: pixels are
    as wide as that distance, and the gaps between the cells are not seen.
    """
    edges, width = lower_edges(spec, axis), cell_width(spec, axis)
    step = float(edges[1] - edges[0]) if len(edges) > 1 else width
    first, last = float(edges[0]) + width / 2, float(edges[-1]) + width / 2
    return first - step / 2, last + step / 2


def draw_window(axes: Any, spec: ImageSpec) -> None:
    """The window as a frame, with a little room around it and around the points."""
    (left, right), (low, high) = spec.birth_range, spec.persistence_range
    axes.plot(
        [left, right, right, left, left], [low, low, high, high, low], lw=0.8, color=WINDOW_COLOUR
    )
    axes.margins(0.06)
