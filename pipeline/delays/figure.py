"""A picture of the curves that a delay and a dimension were chosen from, a row a channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.delays.choice import Choices
from pipeline.delays.embedding import Chosen, Embedding
from pipeline.figures import MOST_ROWS, POINT_COLOUR, WINDOW_COLOUR, open_figure, write

QUANTITIES = {
    "mutual-information": "mutual information [nats]",
    "autocorrelation": "autocorrelation",
    "autocorrelation-zero": "autocorrelation",
    "quarter-period": "power at 4 delays",
    "false-nearest-neighbours": "false neighbours",
}
"""What the curve of a rule is of."""


def draw_embedding(embedding: Embedding, path: Path) -> None:
    """Median curves with their quartiles, and the numbers chosen for the channel and for all."""
    names = embedding.part.channels[:MOST_ROWS]
    columns = (embedding.delay, "delay [samples]"), (embedding.dimension, "dimension")
    with open_figure(path, len(names), 2, (7.2, 1.2 + 1.2 * len(names))) as axes:
        for column, (chosen, label) in enumerate(columns):
            for place in range(len(names)):
                _curve(axes[place, column], chosen, place)
            axes[0, column].set_title(QUANTITIES.get(chosen.rule, chosen.rule or "given"))
            axes[-1, column].set_xlabel(label)
        for place, name in enumerate(names):
            write(axes[place, 0].set_ylabel, name, f"channel {place}")
        if embedding.part.rate is not None:
            _seconds(axes[0, 0], embedding.part.rate)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure = axes[0, 0].figure
        figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)


def _curve(axes: Any, chosen: Chosen, place: int) -> None:
    """One curve; where a library tells none, how many windows chose what."""
    choices = chosen.choices
    if choices is None:
        axes.set_yticks([])
    elif len(choices.tried):
        _band(axes, choices, place)
    else:
        _counts(axes, choices.numbers[:, place])
    median = None if choices is None else choices.summary(place).median
    if median is not None:
        axes.axvline(median, color=WINDOW_COLOUR, lw=1.0, label="chosen, median of the channel")
    if chosen.number is not None:
        axes.axvline(chosen.number, color="black", lw=0.8, ls=":", label="chosen, median of all")


def _band(axes: Any, choices: Choices, place: int) -> None:
    lower, median, upper = choices.band(place)
    axes.fill_between(choices.tried, lower, upper, color=POINT_COLOUR, alpha=0.2, lw=0)
    axes.plot(
        choices.tried, median, color=POINT_COLOUR, lw=1.0, label="median curve, with quartiles"
    )
    axes.set_xlim(choices.tried[0], choices.tried[-1])
    axes.set_ylim(min(0.0, float(np.nanmin(lower, initial=0.0))), None)


def _counts(axes: Any, numbers: np.ndarray) -> None:
    """Windows by the number (n,) chosen of each."""
    values, counts = np.unique(numbers[np.isfinite(numbers)], return_counts=True)
    axes.bar(values, counts, color=POINT_COLOUR, alpha=0.4, label="windows by number chosen")
    axes.set_xlim(0, None)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.get_major_locator().set_params(integer=True)


def _seconds(axes: Any, rate: float) -> None:
    """The delay in seconds, above."""
    above = axes.secondary_xaxis("top", functions=(lambda s: s / rate, lambda s: s * rate))
    above.set_xlabel("delay [s]")
    above.spines["top"].set_visible(True)
