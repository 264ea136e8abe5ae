"""Pictures: input, diagram and image side by side; coverage of the window. matplotlib, headless.

The same store gives the same bytes. Axes are in field units; colours are perceptually uniform and
told apart by the colour-blind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.errors import PiCacheError
from pi_cache.reader import Store
from pi_cache.specs import ImageSpec, Status
from pipeline.images import in_window, select
from pipeline.report import coverage, drawn_points, explain_sample, label_name

COLOURS = "magma"
POINT_COLOUR, WINDOW_COLOUR, OUTSIDE_COLOUR = "#00609c", "#c1272d", "#8a8a8a"
LOOKED_AT = 500
"""Samples among which those for a picture are chosen."""
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


@contextmanager
def _figure(path: Path, rows: int, columns: int, size: tuple[float, float]) -> Iterator[Any]:
    """Axes of a grid; saved to the path at the end."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotsNotInstalled(f'{error}; pip install "pi-cache[plots]"') from None
    with rc_context(STYLE):
        figure = Figure(figsize=size)
        FigureCanvasAgg(figure)
        yield figure.subplots(rows, columns, squeeze=False)
        figure.savefig(path, metadata={"Software": None} if path.suffix == ".png" else None)


def draw_explanation(store: Store, sample: int, path: Path) -> None:
    """Input, diagram and image of every channel of one sample, a row each."""
    facts = explain_sample(store, sample)["channels"]
    with _figure(path, len(facts), 3, (6.6, 2.1 * len(facts))) as axes:
        for channel, row in enumerate(axes):
            _input(row[0], store, sample, channel)
            _diagram(row[1], store, sample, channel)
            _image(row[2], store, sample, channel)
            fact = facts[channel]
            row[0].set_ylabel(fact["name"])
            row[1].set_title(
                f"{fact['drawn'] - fact['outside']} of {fact['drawn']} points in window"
            )
        axes[0, 0].set_title(_title(store, sample))
        axes[0, 2].set_title("persistence image")


def draw_gallery(stores: Sequence[Store], path: Path, samples: int = 3) -> None:
    """A few samples, a row each: the input, then diagram and image of each store.

    The stores are of one source. Of several channels, the last is shown (such as H1).
    """
    chosen = _telling(stores, samples)
    columns = 1 + 2 * len(stores)
    with _figure(path, samples, columns, (1.7 * columns, 1.75 * samples)) as axes:
        for row, sample in zip(axes, chosen, strict=False):
            _input(row[0], stores[0], sample, 0)
            row[0].set_title(_title(stores[0], sample))
            for k, store in enumerate(stores):
                channel = len(store.channels) - 1
                _diagram(row[1 + 2 * k], store, sample, channel, marker=10)
                _image(row[2 + 2 * k], store, sample, channel)
        for k, store in enumerate(stores):
            axes[0, 1 + 2 * k].set_title(f"{store.spec.diagram.filtration} {store.channels[-1]}")
            axes[0, 2 + 2 * k].set_title("persistence image")
        for place in axes[:-1].flat:
            place.set_xlabel("")
        for place in axes[:, 2:].flat:
            place.set_ylabel("")


def draw_report(store: Store, path: Path) -> None:
    """Where the points lie beside the window, how bright the images are, and statuses."""
    facts, spec = coverage(store), store.spec.image
    usable = np.flatnonzero(np.asarray(store.status) == Status.OK)[:LOOKED_AT]
    birth, persistence = drawn_points(store, usable)
    images = store.read("images", usable).astype(np.float64)
    with _figure(path, 1, 3, (9.0, 2.8)) as axes:
        scatter, mean, status = axes[0]
        scatter.scatter(birth, persistence, s=1, alpha=0.3, color=POINT_COLOUR, rasterized=True)
        _window(scatter, spec)
        inside = facts["points_inside"]
        scatter.set(xlabel="birth", ylabel="persistence")
        scatter.set_title("no points" if inside is None else f"{inside:.0%} of points in window")
        if len(images):
            _pixels(mean, images.mean(axis=(0, 1)), spec)
        mean.set_title(f"mean of {len(images)} samples, all channels")
        names, counts = list(facts["status"]), list(facts["status"].values())
        status.barh(names, counts, color=POINT_COLOUR)
        for place, count in enumerate(counts):
            status.text(count, place, f" {count}", va="center")
        status.set_title("samples by status")
        status.margins(x=0.2)


def _input(axes: Any, store: Store, sample: int, channel: int) -> None:
    """The raw sample where the store has it: an image, the signal's channel, or a cloud."""
    if "inputs" not in store.columns:
        axes.text(0.5, 0.5, "inputs not stored", ha="center", va="center")
        axes.set_axis_off()
        return
    raw = store.read("inputs", [sample])[0].astype(np.float64)
    if store.spec.source.sample == "image":
        maximum = float(store.column("inputs").attributes.get("maximum", 0)) or raw.max() or 1.0
        shown = np.clip(raw / maximum, 0, 1)
        axes.imshow(shown if shown.shape[-1] == 3 else shown[..., 0], cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
    elif store.spec.source.sample == "signal":
        each = len(store.spec.diagram.homology)
        axes.plot(raw[:, (channel // each) % raw.shape[1]], lw=0.8, color=POINT_COLOUR)
        axes.set_xlabel("sample")
    else:
        axes.scatter(raw[:, 0], raw[:, 1 % raw.shape[1]], s=2, color=POINT_COLOUR)
        axes.set_aspect("equal")


def _diagram(axes: Any, store: Store, sample: int, channel: int, marker: int = 8) -> None:
    """Finite points over birth and persistence, with the window of the image."""
    spec = store.spec.image
    points = store.diagram(sample, channel)
    birth, persistence, _ = select(points, np.array([0, len(points)]), spec)
    inside = in_window(birth, persistence, spec)
    for chosen, colour in ((inside, POINT_COLOUR), (~inside, OUTSIDE_COLOUR)):
        axes.scatter(birth[chosen], persistence[chosen], s=marker, color=colour, lw=0, alpha=0.7)
    _window(axes, spec)
    axes.set(xlabel="birth", ylabel="persistence")


def _image(axes: Any, store: Store, sample: int, channel: int) -> None:
    image = store.read("images", [sample])[0][channel].astype(np.float64)
    _pixels(axes, image, store.spec.image)


def _pixels(axes: Any, image: np.ndarray, spec: ImageSpec) -> None:
    """An image with its axes in field units, persistence upwards whatever the row order."""
    shown = image[::-1] if spec.row_order == "descending" else image
    extent = (*spec.birth_range, *spec.persistence_range)
    axes.imshow(shown, origin="lower", extent=extent, aspect="auto", cmap=COLOURS)
    axes.set(xlabel="birth", ylabel="persistence")


def _window(axes: Any, spec: ImageSpec) -> None:
    """The window as a frame, with a little room around it and around the points."""
    (left, right), (low, high) = spec.birth_range, spec.persistence_range
    axes.plot(
        [left, right, right, left, left], [low, low, high, high, low], lw=0.8, color=WINDOW_COLOUR
    )
    axes.margins(0.06)


def _telling(stores: Sequence[Store], count: int) -> list[int]:
    """Usable samples of different labels, those with the most points to show first; sorted."""
    usable = np.flatnonzero(np.asarray(stores[0].status) == Status.OK)[:LOOKED_AT]
    fewest = np.full(len(usable), np.iinfo(np.int64).max)
    for store in stores:
        _, ends = store.diagrams(usable)
        fewest = np.minimum(fewest, ends[:, -1] - ends[:, -2])
    ordered = usable[np.argsort(-fewest, kind="stable")]
    _, first = np.unique(np.asarray(stores[0].labels)[ordered], return_index=True)
    different = ordered[np.sort(first)][:count].tolist()
    others = [sample for sample in ordered.tolist() if sample not in different]
    return sorted([*different, *others][:count])


def _title(store: Store, sample: int) -> str:
    """The id of a sample with its label."""
    name = label_name(store, sample)
    return f"{store.ids[sample]} ({name})" if name else str(store.ids[sample])
