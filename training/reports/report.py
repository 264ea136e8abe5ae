"""A report in a folder: tables in three forms, figures, and one page that has them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pi_cache import files
from pi_cache.errors import InvalidSpec
from training.evaluation.opened import open_run
from training.evaluation.predictions import Predictions, read_predictions
from training.reports.canvas import drawn, font_lines
from training.reports.embedding import Embedding, embed, v_score
from training.reports.experiment import Experiment
from training.reports.figures import (
    Figure,
    confusion_figure,
    embedding_figure,
    reliability_figure,
    robustness_figure,
    similarity_figure,
)
from training.reports.robustness import curves
from training.reports.similarity import Maps, similarity_maps
from training.reports.spread import spread
from training.reports.table import Measured, Table, to_csv, to_latex, to_markdown
from training.reports.tables import missing_lines, warning_lines

FIGURES = ("reliability", "confusion", "robustness", "embedding", "similarity")

Say = Callable[[str], None]


def v_score_table(experiment: Experiment) -> Table:
    """The V-score of each arm, mean ± sd over all runs that kept features of several classes.

    One cluster of one class, as a person may have, would score 1.
    """
    rows = []
    for arm in experiment.arms:
        scores = [
            v_score(kept.features, kept.labels)
            for run in experiment.of(arm).values()
            if (kept := _features(run.folder, experiment.side)) and kept.features is not None
            if len(set(kept.labels.tolist())) > 1
        ]
        rows.append((arm, len(scores), Measured(spread(scores), 1.0, 4)))
    return Table(
        name="v-scores",
        title=f"V-score of pooled features on {experiment.side}",
        columns=("arm", "runs", "V-score"),
        rows=tuple(rows),
        notes=(
            "V-measure of k-means on the features, with as many clusters as classes occur; mean ±"
            " sd over runs that have several classes.",
            *warning_lines(experiment),
        ),
    )


def figures(
    experiment: Experiment,
    wanted: Sequence[str],
    *,
    metrics: Sequence[str] = ("accuracy",),
    root: Path | None = None,
    folds: Path | None = None,
    say: Say = print,
) -> Iterator[Figure]:
    """The figures of these kinds, of FIGURES.

    metrics: of curves. root, folds: a cache, and a file of folds, for similarity, which reads
    samples; None for those of the runs.
    Raises InvalidSpec for a kind that the runs have nothing for.
    """
    unknown = [kind for kind in wanted if kind not in FIGURES]
    if unknown:
        raise InvalidSpec(f"no figure {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    names = next(iter(experiment.runs.values())).evaluation["class_names"]
    for line in font_lines([*experiment.arms, *names]):
        say(line)
    if "reliability" in wanted:
        yield reliability_figure(experiment)
    if "confusion" in wanted:
        yield confusion_figure(experiment)
    if "robustness" in wanted:
        yield from _robustness(experiment, metrics)
    if "embedding" in wanted:
        yield embedding_figure(_embeddings(experiment), names)
    if "similarity" in wanted:
        yield similarity_figure(_maps(experiment, root, folds))


def possible_figures(experiment: Experiment) -> list[str]:
    """The kinds of figures that the folders of runs have all for; similarity is not asked for."""
    robust = ["robustness"] if curves(experiment) else []
    kept = [run for run in experiment.runs.values() if _has_features(run.folder, experiment.side)]
    return ["reliability", "confusion", *robust, *(["embedding"] if kept else [])]


def write_report(
    folder: Path, experiment: Experiment, tables: Sequence[Table], figures: Sequence[Figure]
) -> list[Path]:
    """Write all of it, and `report.md`; returns the files. What an older report left is replaced.

    Raises StorageFailed, ReportsNotInstalled.
    """
    contents: dict[str, bytes] = {}
    for table in tables:
        forms = {"csv": to_csv, "md": to_markdown, "tex": to_latex}
        for suffix, form in forms.items():
            contents[f"{table.name}.{suffix}"] = form(table).encode()
    for figure in figures:
        contents[f"{figure.name}.png"] = drawn(figure.draw, figure.size)
        contents[f"{figure.name}.pdf"] = drawn(figure.draw, figure.size, kind="pdf")
    contents["report.md"] = _page(experiment, tables, figures).encode()
    for name, data in contents.items():
        replace(folder / name, data)
    return [folder / name for name in contents]


def replace(path: Path, data: bytes) -> None:
    """Make a file of a report hold these bytes: it can be made again, so an older one goes."""
    whole = path.absolute()
    if files.exists(whole) and files.read_bytes(whole) != data:
        files.remove(whole)
    files.publish(whole, data, temporary=whole.parent)


def _page(experiment: Experiment, tables: Sequence[Table], figures: Sequence[Figure]) -> str:
    lines = [f"# {len(experiment.runs)} runs measured on {experiment.side}", ""]
    if missing := missing_lines(experiment):
        lines += ["Runs without a result:", "", *(f"- {line}" for line in missing), ""]
    lines += [to_markdown(table) for table in tables]
    for figure in figures:
        lines += [f"### {figure.title}", "", f"![{figure.title}]({figure.name}.png)", ""]
    return "\n".join(lines)


def _robustness(experiment: Experiment, metrics: Sequence[str]) -> Iterator[Figure]:
    found = curves(experiment)
    if not found:
        raise InvalidSpec(
            "no run was measured on corrupted samples; `training evaluate RUN... --corrupt noise"
            " --in-place` does it"
        )
    for kind, by_arm in found.items():
        for metric in metrics:
            yield robustness_figure(experiment, kind, by_arm, metric)


def _embeddings(experiment: Experiment) -> dict[str, Embedding]:
    found = {}
    for place, run in experiment.runs.items():
        kept = _features(run.folder, experiment.side) if place.arm not in found else None
        if kept is not None and kept.features is not None:
            found[place.arm] = embed(kept.features, kept.labels)
    if not found:
        raise InvalidSpec(
            "no run kept its features; `training evaluate RUN... --features --in-place` does it"
        )
    return found


def _maps(experiment: Experiment, root: Path | None, folds: Path | None) -> dict[str, Maps]:
    """Of the first run of each arm, for which its network and its samples are opened."""
    found: dict[str, Maps] = {}
    for place, run in experiment.runs.items():
        if place.arm not in found:
            trained, task = open_run(run.folder, root=root, folds=folds)
            found[place.arm] = similarity_maps(trained, task.sides[experiment.side], task)
    return found


def _has_features(folder: Path, side: str) -> bool:
    return files.exists(folder / f"features-{side}.safetensors")


def _features(folder: Path, side: str) -> Predictions | None:
    """The predictions of labelled samples with their features, None where none were kept."""
    if not _has_features(folder, side):
        return None
    found = read_predictions(folder / f"features-{side}.safetensors")
    return found.only(found.labelled)


def told(experiment: Experiment, tables: Sequence[Table]) -> dict[str, Any]:
    """The report as plain values, for --json."""
    return {
        "side": experiment.side,
        "runs": [str(place) for place in experiment.runs],
        "missing": {str(place): why for place, why in experiment.missing.items()},
        "tables": {table.name: _plain(table) for table in tables},
    }


def _plain(table: Table) -> Mapping[str, Any]:
    rows = [[_value(cell) for cell in row] for row in table.rows]
    return {"title": table.title, "columns": table.columns, "rows": rows, "notes": table.notes}


def _value(cell: Any) -> Any:
    if isinstance(cell, Measured):
        return cell.spread._asdict()
    return getattr(cell, "value", cell)
