"""The signal and the Gramian angular field of each channel of a sample, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pi_cache.reader import Store
from pi_cache.specs import VALUE_RANGE, Status
from pipeline.figures.canvas import WINDOW_COLOUR, write
from pipeline.figures.panels import draw_input, input_label, say_instead
from pipeline.figures.samples import FEW, MOST_ROWS, draw_head, open_rows, rows_below
from pipeline.gramian.fields import decoded
from pipeline.gramian.report import parse_gramian
from pipeline.statistics import USABLE

COLOURS = "RdBu_r"
"""Its white is 0; told apart by the colour-blind."""
UNITS = {"second": "[s]", "sample": "step", "window": "[parts of the window]"}


def draw_explanation(store: Store, sample: int, path: Path) -> None:
    """Signal and field of every channel of one sample, a row each; times rise to right and up."""
    spec = parse_gramian(store)
    count = min(len(store.channels), MOST_ROWS)
    size = 5.6, 2.2 if count <= FEW else 1.8
    with open_rows(path, count, 2, size) as rows:
        for channel, (signal, field) in enumerate(rows):
            draw_input(signal, store, sample, channel)
            if isinstance(spec.range, tuple) and "inputs" in store.columns:
                for end in spec.range:
                    signal.axhline(end, lw=0.8, ls="--", color=WINDOW_COLOUR)
            write(signal.set_ylabel, input_label(store, channel), f"channel {channel}")
            _field(field, store, sample, channel)
        for row in rows[:: rows_below(count)]:
            row[1].set_title(f"{spec.name}, {spec.pixels} x {spec.pixels}")
        draw_head(rows[0, 0], store, sample)


def _field(axes: Any, store: Store, sample: int, channel: int) -> None:
    """The field of a channel in colours from -1 to 1, or why there is none."""
    status = Status(int(store.status[sample]))
    if status not in USABLE:
        say_instead(axes, f"no field: {status.name}")
        return
    field = decoded(store.read("images", [sample])[0][channel], parse_gramian(store))
    note = store.column("images").attributes
    end = note["cell_width"]["time"] * len(field)
    low, high = VALUE_RANGE
    shown = axes.imshow(
        field, origin="lower", extent=(0, end, 0, end), cmap=COLOURS, vmin=low, vmax=high
    )
    unit = UNITS[note["unit"]]
    axes.set(xlabel=f"other time {unit}", ylabel=f"time {unit}")
    axes.figure.colorbar(shown, ax=axes, shrink=0.8)
