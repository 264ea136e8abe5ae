"""The figures of an experiment, each drawn on a matplotlib figure: a panel an arm, or a line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from training.augment.corruptions import AMOUNTS
from training.evaluation.printed import NAMES, PERCENT
from training.reports.canvas import COLOURS, CYCLE, DASHES, MARKERS, drawable, names_of, write
from training.reports.embedding import Embedding
from training.reports.experiment import Experiment
from training.reports.robustness import Points, at_level, seeds_of
from training.reports.similarity import Maps
from training.reports.spread import spread
from training.reports.tables import measured

PANEL = 2.4
"""Inches of a panel's side."""
ACROSS = 4
"""Panels side by side, at most."""
MOST_NAMES = 20
"""Classes whose names fit beside a panel, and whose counts fit in its cells up to half of it."""
LONGEST_NAME = 22
"""Letters of a class name that fit beside a panel."""
FEW = 30
"""Samples of a bin whose accuracy says little: it is drawn pale."""
PALETTES = {10: "tab10", 20: "tab20"}
"""Colours of so many classes at most, beyond those of CYCLE; tab20 has them light and dark."""
MOST_LINES = 8
"""Lines of a figure, beyond which it is taller."""


class Figure(NamedTuple):
    """name: of its file. size: in inches. draw: puts it on a figure. title: what it shows."""

    name: str
    title: str
    size: tuple[float, float]
    draw: Callable[[Any], None]


def reliability_figure(experiment: Experiment) -> Figure:
    """Accuracy by confidence in 15 bins, all runs of an arm together, with the ECE of each run."""
    arms = _measured_arms(experiment)

    def draw(figure: Any) -> None:
        for axes, arm in zip(_panels(figure, len(arms)), arms, strict=True):
            bins = pooled_bins(experiment, arm)
            lower, width = bins[:, 0], bins[:, 1] - bins[:, 0]
            gap = {"facecolor": "none", "edgecolor": CYCLE[1], "hatch": "////", "linewidth": 0.6}
            away = bins[:, 4] - bins[:, 3]
            for few in (False, True):
                of = np.flatnonzero((bins[:, 2] < FEW) == few)
                at = {"width": width[of], "align": "edge", "alpha": 0.3 if few else None}
                axes.bar(lower[of], bins[of, 3], color=CYCLE[5], edgecolor="white", **at)
                axes.bar(lower[of], away[of], bottom=bins[of, 3], **gap, **at)
            axes.plot([0, 1], [0, 1], color="black", linewidth=0.7, linestyle="--")
            error = measured("ece", spread(experiment.values(arm, "ece").values())).text()
            write(axes.set_title, f"{drawable(arm, _number(arms, arm))}: ECE {error} %")
            axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy", aspect=1)

    title = (
        "Reliability: accuracy (blue), and its gap to the mean confidence (hatched); pale where a"
        f" bin has fewer than {FEW} samples"
    )
    return Figure("reliability", title, _size(len(arms)), draw)


def pooled_bins(experiment: Experiment, arm: str) -> Any:
    """(B, 5) lower, upper, samples, accuracy and confidence of bins of all runs of an arm."""
    found: dict[tuple[float, float], list[float]] = {}
    for run in experiment.of(arm).values():
        for each in run.evaluation["reliability"]:
            sums = found.setdefault((each["lower"], each["upper"]), [0.0, 0.0, 0.0])
            sums[0] += each["samples"]
            sums[1] += each["samples"] * each["accuracy"]
            sums[2] += each["samples"] * each["confidence"]
    return np.array([[*e, n, right / n, sure / n] for e, (n, right, sure) in sorted(found.items())])


def confusion_figure(experiment: Experiment) -> Figure:
    """Shares of each class's samples by prediction, all runs of an arm together."""
    arms = _measured_arms(experiment)
    classes = len(next(iter(experiment.runs.values())).evaluation["class_names"])
    scale = max(1.0, min(classes, MOST_NAMES) / 8)

    def draw(figure: Any) -> None:
        for axes, arm in zip(_panels(figure, len(arms)), arms, strict=True):
            runs = list(experiment.of(arm).values())
            counts = np.sum([run.evaluation["confusion"] for run in runs], axis=0)
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            image = axes.imshow(100 * shares, cmap=COLOURS, vmin=0, vmax=100)
            if classes <= MOST_NAMES // 2:
                _cell_texts(axes, shares)
            _class_ticks(axes, runs[0].evaluation["class_names"])
            write(axes.set_title, drawable(arm, _number(arms, arm)))
            axes.set(xlabel="predicted", ylabel="label")
            if not axes.get_subplotspec().is_first_col():  # they stand at the first one
                axes.set(yticklabels=[], ylabel="")
        if classes > MOST_NAMES // 2:
            figure.colorbar(image, ax=figure.axes, label="% of a label's samples", shrink=0.6)

    title = "Confusion: percent of each label's samples, all runs of an arm"
    return Figure("confusion", title, _size(len(arms), scale), draw)


def robustness_figure(
    experiment: Experiment, kind: str, by_arm: Mapping[str, Points], metric: str
) -> Figure:
    """A metric by level of a corruption: mean over seeds, and a band of a deviation."""
    lines = len(by_arm)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        factor = 100 if metric in PERCENT else 1
        limits = (0.0, 100.0) if metric in PERCENT else (0.0, np.inf)
        for number, (arm, points) in enumerate(by_arm.items()):
            levels = sorted(points)
            found = [at_level(experiment, arm, points, level, metric) for level in levels]
            amounts = [amount for _, amount in levels]
            means = np.array([factor * (np.nan if e.mean is None else e.mean) for e in found])
            bands = np.array([factor * (each.deviation or 0.0) for each in found])
            colour = CYCLE[number % len(CYCLE)]
            line = {"marker": MARKERS[number % len(MARKERS)], "markersize": 3, "linewidth": 1}
            line["linestyle"] = DASHES[number // len(CYCLE) % len(DASHES)]
            edges = np.clip((means - bands, means + bands), *limits)
            label = f"{drawable(arm, str(number))} ({seeds_of(found)})"
            axes.plot(amounts, means, color=colour, label=label, **line)
            band = {"color": colour, "alpha": min(0.15, 1 / lines), "linewidth": 0}
            axes.fill_between(amounts, *edges, **band)
        amount = AMOUNTS.get(kind, "amount")
        axes.set(xlabel=f"{kind}: {amount}", ylabel=NAMES.get(metric, metric))
        figure.legend(loc="outside right upper", fontsize=7, frameon=False)

    title = f"{NAMES.get(metric, metric)} under {kind}: mean and a deviation over seeds"
    size = (6.0, 3.2 if lines <= MOST_LINES else 4.4)
    return Figure(f"robustness-{kind}-{metric.replace('_', '-')}", title, size, draw)


def embedding_figure(embeddings: Mapping[str, Embedding], class_names: Sequence[str]) -> Figure:
    """t-SNE of pooled features, one run of each arm, with the V-score of that run."""
    arms = list(embeddings)
    shown = names_of(class_names)

    def draw(figure: Any) -> None:
        colours = _class_colours(len(class_names))
        for axes, arm in zip(_panels(figure, len(arms)), arms, strict=True):
            found = embeddings[arm]
            for label in np.unique(found.labels).tolist():
                where = found.points[found.labels == label]
                axes.scatter(*where.T, s=5, color=colours[label], label=shown[label], linewidths=0)
            write(axes.set_title, f"{drawable(arm, _number(arms, arm))}: V {found.v_score:.3f}")
            axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
            axes.spines[:].set(visible=True, linewidth=0.4, color=CYCLE[7])
        if len(class_names) <= MOST_NAMES:
            _class_legend(figure, shown, colours)

    perplexity = next(iter(embeddings.values())).perplexity
    title = (
        f"t-SNE of pooled features of the first run of each arm (perplexity {perplexity:g}), and"
        " the V-score of k-means on that run's features"
    )
    return Figure("embedding", title, _size(len(arms), extra=0.9), draw)


def similarity_figure(maps: Mapping[str, Maps]) -> Figure:
    """Similarity maps of a batch sorted by class: a row an arm, a column a stage."""
    arms = list(maps)
    across = max(len(each.stages) for each in maps.values())

    def draw(figure: Any) -> None:
        grid = figure.subplots(len(arms), across, squeeze=False)
        for row, arm in zip(grid, arms, strict=True):
            cuts = np.flatnonzero(np.diff(maps[arm].labels)) + 0.5
            for axes in row:
                axes.set_axis_off()
            for axes, (stage, values) in zip(row, maps[arm].stages.items(), strict=False):
                axes.imshow(values, cmap=COLOURS)
                for cut in cuts:
                    axes.axhline(cut, color="white", linewidth=0.3)
                    axes.axvline(cut, color="white", linewidth=0.3)
                write(axes.set_title, f"{drawable(arm, _number(arms, arm))}, {stage}")

    size = (PANEL * across * 0.8, PANEL * len(arms) * 0.85)
    count = len(next(iter(maps.values())).labels)
    title = (
        f"Similarity of {count} samples sorted by class, first run of each arm, rows of unit"
        " length; colours go from the lowest value of each map (dark) to its highest; lines part"
        " classes"
    )
    return Figure("similarity", title, size, draw)


def _measured_arms(experiment: Experiment) -> list[str]:
    return list(dict.fromkeys(place.arm for place in experiment.runs))


def _number(arms: Sequence[str], arm: str) -> str:
    return str(arms.index(arm))


def _panels(figure: Any, count: int) -> Iterator[Any]:
    """So many axes in rows of at most `ACROSS`; what is left of the last row stays empty."""
    across = _across(count)
    grid = figure.subplots(math.ceil(count / across), across, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.set_axis_off()
    yield from grid[:count]


def _across(count: int) -> int:
    """Panels of a row, so that rows are about equally long."""
    return math.ceil(count / math.ceil(count / ACROSS))


def _size(count: int, scale: float = 1.0, extra: float = 0.0) -> tuple[float, float]:
    across = _across(count)
    return scale * PANEL * across + extra, scale * PANEL * math.ceil(count / across)


def _cell_texts(axes: Any, shares: Any) -> None:
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share < 0.6 else "black"
        text = f"{100 * share:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=5.5, color=colour)


def _class_ticks(axes: Any, class_names: Sequence[str]) -> None:
    """Names along both axes; where some are long, numbers along x and short names along y."""
    if len(class_names) > MOST_NAMES:
        return
    names = names_of(class_names)
    numbers = [str(number) for number in range(len(names))]
    if max(map(len, names)) <= LONGEST_NAME:
        labels = {"xaxis": names, "yaxis": names}
    else:
        short = [f"{k} {cut(name)}" for k, name in zip(numbers, names, strict=True)]
        labels = {"xaxis": numbers, "yaxis": short}
    turned = {"xaxis": 90, "yaxis": 0}
    for name, texts in labels.items():
        axis = getattr(axes, name)
        axis.set_ticks(range(len(texts)), labels=texts, rotation=turned[name])
        for label in axis.get_ticklabels():
            label.set_parse_math(False)
            label.set_fontsize(6)


def cut(name: str) -> str:
    """A name that fits beside a panel; the number before it says which one it is."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _class_colours(count: int) -> list[Any]:
    if count <= len(CYCLE):
        return list(CYCLE[:count])
    from matplotlib import colormaps

    for most, name in PALETTES.items():
        if count <= most:
            return [colormaps[name](k) for k in range(count)]
    return [colormaps["turbo"](k / (count - 1)) for k in range(count)]


def _class_legend(figure: Any, names: Sequence[str], colours: Sequence[Any]) -> None:
    from matplotlib.lines import Line2D

    dots = [Line2D([], [], marker="o", linestyle="", markersize=3, color=c) for c in colours]
    legend = figure.legend(dots, names, loc="outside right center", fontsize=6, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
