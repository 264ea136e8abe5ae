"""Input, diagram and image of single samples side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.reader import Store
from pi_cache.specs import Status
from pipeline.figures.canvas import drawable, open_figure, write
from pipeline.figures.panels import draw_diagram, draw_image, draw_input, input_label
from pipeline.reports.explain import explain_sample, label_name
from pipeline.reports.suggestion import some_samples
from pipeline.reports.windows import UNKNOWN, window_facts

MOST_ROWS = 48
"""Channels in one picture; matplotlib draws no picture of more than 65,536 pixels a side."""
LONGEST_TITLE = 28
MOST_BELOW = 14
"""Rows below each other; more go beside them, so that a picture fits a page."""
FEW = 6
"""Rows of a picture that are as high as they like; those of more are lower."""


def draw_explanation(store: Store, sample: int, path: Path) -> None:
    """Input, diagram and image of every channel of one sample, a row each."""
    facts = explain_sample(store, sample)["channels"][:MOST_ROWS]
    size = 6.9, 2.1 if len(facts) <= FEW else 1.7
    with open_rows(path, len(facts), 3, size) as rows:
        for channel, (fact, row) in enumerate(zip(facts, rows, strict=True)):
            draw_input(row[0], store, sample, channel)
            draw_diagram(row[1], store, sample, channel)
            draw_image(row[2], store, sample, channel)
            names = input_label(store, channel), fact["name"], f"channel {channel}"
            write(row[0].set_ylabel, *names)
            outside = f", {fact['outside']} outside" if fact["outside"] else ""
            family = fact["name"].rpartition("/")[2]  # H0 or H1, of one input
            inside = fact["drawn"] - fact["outside"]
            row[1].set_title(f"{family}: {inside} of {fact['drawn']} points in window{outside}")
        for row in rows[:: rows_below(len(rows))]:
            row[2].set_title("persistence image")
        draw_head(rows[0, 0], store, sample)


def rows_below(rows: int) -> int:
    """How many of so many rows of panels are drawn below each other."""
    return -(-rows // -(-rows // MOST_BELOW))


@contextmanager
def open_rows(
    path: Path, rows: int, columns: int, size: tuple[float, float]
) -> Iterator[np.ndarray]:
    """Panels (rows, columns) in blocks of `rows_below` rows; saved to the path at the end.

    size: width and height of a row, in inches.
    """
    below = rows_below(rows)
    blocks = -(-rows // below)
    width, height = size
    whole = width * blocks, height * below + 0.3
    with open_figure(path, below, columns * blocks, whole) as axes:
        grid = np.concatenate(np.split(axes, blocks, axis=1))  # (rows of all blocks, columns)
        for unused in grid[rows:].flat:
            unused.remove()
        yield grid[:rows]


def names_of(store: Store, sample: int | None = None) -> list[str]:
    """The names that a picture of a store has: of a sample, else of all subjects and classes."""
    if sample is None:
        groups = [] if store.groups is None else sorted({str(name) for name in store.groups})
        return [*store.channels, *store.label_names, *groups]
    group = [] if store.groups is None else [str(store.groups[sample])]
    return [*store.channels, label_name(store, sample), *group, str(store.ids[sample])]


def draw_gallery(stores: Sequence[Store], path: Path, samples: int = 3) -> None:
    """A few samples, a row each: the input, then diagram and image of each store.

    The stores are of one source. Of several channels, the last is shown (such as H1).
    """
    chosen = _telling(stores, samples)
    columns = 1 + 2 * len(stores)
    with open_figure(path, samples, columns, (1.7 * columns, 1.75 * samples)) as axes:
        for row, sample in zip(axes, chosen, strict=False):
            draw_input(row[0], stores[0], sample, len(stores[0].channels) - 1)
            _set_title(row[0], stores[0], sample)
            for k, store in enumerate(stores):
                channel = len(store.channels) - 1
                draw_diagram(row[1 + 2 * k], store, sample, channel, marker=10)
                draw_image(row[2 + 2 * k], store, sample, channel)
        for k, store in enumerate(stores):
            family = store.spec.diagram.filtration
            write(axes[0, 1 + 2 * k].set_title, f"{family} {store.channels[-1]}", family)
            axes[0, 2 + 2 * k].set_title("persistence image")
        for place in axes[:-1].flat:
            place.set_xlabel("")
        for place in axes[:, 2:].flat:
            place.set_ylabel("")


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


def draw_head(axes: Any, store: Store, sample: int) -> None:
    """Whose window a picture shows, over all of it; the title of the sample where it is none."""
    if len(store.channels) > MOST_ROWS:
        axes.figure.supxlabel(f"the first {MOST_ROWS} of {len(store.channels)} channels")
    facts = window_facts(store, sample)
    if facts is None:
        _set_title(axes, store, sample)
        return
    status = Status(int(store.status[sample])).name
    who = f"subject {facts['subject'] or UNKNOWN}"
    what = label_name(store, sample) or "no activity"
    note = "" if status == Status.OK.name else f" ({status})"
    number = f"sample {sample % len(store)}"
    start = f"from {facts['start'] / facts['recorded_rate']:.6g} s"
    first = drawable(
        *(", ".join(parts) + note for parts in ((who, what), (who, number), (number,)))
    )
    unnamed = start if number in first else f"{number}, {start}"
    second = drawable(f"{facts['recording']} {start}", unnamed)
    write(axes.figure.suptitle, f"{first}\n{second}")


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
    write(axes.set_title, name + note, number + note, number)
