"""Pictures: input, diagram and image side by side; coverage of the window. matplotlib, headless.

The same store gives the same bytes. Axes are in field units; colours are perceptually uniform and
told apart by the colour-blind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.axes import cell_width, lower_edges
from pi_cache.errors import PiCacheError
from pi_cache.reader import Store
from pi_cache.specs import ImageSpec, Status
from pipeline.images import in_window, select
from pipeline.report import coverage, drawn_points, explain_sample, label_name, some_samples
from pipeline.shard import USABLE

COLOURS = "magma"
POINT_COLOUR, WINDOW_COLOUR, OUTSIDE_COLOUR = "#00609c", "#c1272d", "#8a8a8a"
FONTS = ("DejaVu Sans", "Noto Sans CJK KR", "NanumGothic", "Malgun Gothic", "AppleGothic")
"""Those that are installed are asked for each letter, in this order."""
FORMATS: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}
"""Kinds of file, with what of their metadata would change the bytes from run to run."""
MOST_ROWS = 48
"""Channels in one picture; matplotlib draws no picture of more than 65,536 pixels a side."""
LONGEST_TITLE = 28
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
def _figure(path: Path, rows: int, columns: int, size: tuple[float, float]) -> Iterator[Any]:
    """Axes of a grid; saved to the path at the end."""
    check_picture(path)
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    suffix = path.suffix.lower()
    with rc_context({**STYLE, "font.family": _fonts()}):
        figure = Figure(figsize=size)
        FigureCanvasAgg(figure)
        yield figure.subplots(rows, columns, squeeze=False)
        try:
            figure.savefig(path, format=suffix[1:], metadata=FORMATS[suffix])
        except OSError as error:
            raise PictureNotDrawn(f"{path} cannot be written: {error.strerror or error}") from None


def draw_explanation(store: Store, sample: int, path: Path) -> None:
    """Input, diagram and image of every channel of one sample, a row each."""
    facts = explain_sample(store, sample)["channels"][:MOST_ROWS]
    with _figure(path, len(facts), 3, (6.6, 2.1 * len(facts))) as axes:
        for channel, row in enumerate(axes):
            _input(row[0], store, sample, channel)
            _diagram(row[1], store, sample, channel)
            _image(row[2], store, sample, channel)
            fact = facts[channel]
            _write(row[0].set_ylabel, fact["name"], f"channel {channel}")
            row[1].set_title(
                f"{fact['drawn'] - fact['outside']} of {fact['drawn']} points in window"
            )
        _set_title(axes[0, 0], store, sample)
        axes[0, 2].set_title("persistence image")


def draw_gallery(stores: Sequence[Store], path: Path, samples: int = 3) -> None:
    """A few samples, a row each: the input, then diagram and image of each store.

    The stores are of one source. Of several channels, the last is shown (such as H1).
    """
    chosen = _telling(stores, samples)
    columns = 1 + 2 * len(stores)
    with _figure(path, samples, columns, (1.7 * columns, 1.75 * samples)) as axes:
        for row, sample in zip(axes, chosen, strict=False):
            _input(row[0], stores[0], sample, len(stores[0].channels) - 1)
            _set_title(row[0], stores[0], sample)
            for k, store in enumerate(stores):
                channel = len(store.channels) - 1
                _diagram(row[1 + 2 * k], store, sample, channel, marker=10)
                _image(row[2 + 2 * k], store, sample, channel)
        for k, store in enumerate(stores):
            family = store.spec.diagram.filtration
            _write(axes[0, 1 + 2 * k].set_title, f"{family} {store.channels[-1]}", family)
            axes[0, 2 + 2 * k].set_title("persistence image")
        for place in axes[:-1].flat:
            place.set_xlabel("")
        for place in axes[:, 2:].flat:
            place.set_ylabel("")


def draw_report(store: Store, path: Path) -> None:
    """Where the points lie beside the window, how bright the images are, and statuses."""
    facts, spec = coverage(store), store.spec.image
    samples = some_samples(store)
    birth, persistence = drawn_points(store, samples)
    images = store.read("images", samples).astype(np.float64)
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
        status.barh(names, counts, height=0.6, color=POINT_COLOUR)
        for place, count in enumerate(counts):
            status.text(count, place, f" {count}", va="center")
        status.set_title("samples by status")
        status.margins(x=0.2)


def _input(axes: Any, store: Store, sample: int, channel: int) -> None:
    """What the diagram of a channel was made of: a plane of an image, a signal, a cloud, or the
    distances of its points."""
    if "inputs" not in store.columns:
        _say_instead(axes, "inputs not stored")
        return
    raw = store.read("inputs", [sample])[0].astype(np.float64)
    if store.spec.source.sample == "cloud":
        axes.scatter(raw[:, 0], raw[:, 1 % raw.shape[1]], s=2, color=POINT_COLOUR)
        axes.set_aspect("equal")
        return
    distances = store.spec.source.sample == "distances"
    plane = raw if distances else raw[..., plane_of(store, channel)]
    if store.spec.source.sample == "signal":
        axes.plot(plane, lw=0.8, color=POINT_COLOUR)
        axes.set_xlabel("time step")
        return
    maximum = store.column("inputs").attributes.get("maximum")
    low, high = (0, maximum) if maximum else (None, None)
    axes.imshow(plane, cmap="gray", vmin=low, vmax=high)
    axes.set(xticks=[], yticks=[])


def plane_of(store: Store, channel: int) -> int:
    """The channel of the input that a channel of the images was made of.

    Channels count the dimensions of homology, then the input's channels, then the scans.
    """
    return channel // len(store.spec.diagram.homology) % store.spec.source.channels


def _say_instead(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])


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
    status = Status(int(store.status[sample]))
    if status not in USABLE:
        _say_instead(axes, f"no image: {status.name}")
        return
    image = store.read("images", [sample])[0][channel].astype(np.float64)
    _pixels(axes, image, store.spec.image)


def _pixels(axes: Any, image: np.ndarray, spec: ImageSpec) -> None:
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


def _window(axes: Any, spec: ImageSpec) -> None:
    """The window as a frame, with a little room around it and around the points."""
    (left, right), (low, high) = spec.birth_range, spec.persistence_range
    axes.plot(
        [left, right, right, left, left], [low, low, high, high, low], lw=0.8, color=WINDOW_COLOUR
    )
    axes.margins(0.06)


def _telling(stores: Sequence[Store], count: int) -> list[int]:
    """Usable samples of different labels, those with the most points to show first; sorted."""
    usable = some_samples(stores[0])
    fewest = np.full(len(usable), np.iinfo(np.int64).max)
    for store in stores:
        _, ends = store.diagrams(usable)
        fewest = np.minimum(fewest, ends[:, -1] - ends[:, -2])
    ordered = usable[np.argsort(-fewest, kind="stable")]
    _, first = np.unique(np.asarray(stores[0].labels)[ordered], return_index=True)
    different = ordered[np.sort(first)][:count].tolist()
    others = [sample for sample in ordered.tolist() if sample not in different]
    return sorted([*different, *others][:count])


def _set_title(axes: Any, store: Store, sample: int) -> None:
    """The id of a sample with its label; its number for an id that no font has the letters of."""
    label, status = label_name(store, sample), Status(int(store.status[sample]))
    noted = [label] if label else []
    if status != Status.OK:
        noted.append(status.name)
    name = str(store.ids[sample])
    name = name if len(name) <= LONGEST_TITLE else f"\u2026{name[1 - LONGEST_TITLE :]}"
    number = f"sample {sample % len(store)}"
    note = f" ({', '.join(noted)})" if noted else ""
    _write(axes.set_title, name + note, number + note, number)


def _write(place: Callable[..., Any], *texts: str) -> None:
    """Put the first text that the fonts have in a place: as it is, not taken for a formula."""
    place(next(filter(_has_glyphs, texts), texts[-1]), parse_math=False)


def _fonts() -> list[str]:
    """The fonts of `FONTS` that are installed; matplotlib grumbles about the others."""
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return [name for name in FONTS if name in installed]


def _has_glyphs(text: str) -> bool:
    """Whether the fonts have every letter; matplotlib draws boxes, and warns, where not."""
    from matplotlib.font_manager import findfont, get_font

    fonts = [get_font(findfont(name)) for name in _fonts()]
    return all(any(font.get_char_index(ord(letter)) for font in fonts) for letter in text)
