"""A trained network measured on a side of its task, clean and corrupted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache import files
from pi_cache.errors import AlreadyPublished, InvalidSpec, UnsupportedFormat
from training.augment.corruptions import MISSING, SAMPLE_OF, Corruption, Levels
from training.evaluation.calibration import BINS, reliability
from training.evaluation.metrics import class_scores, confusion, summary
from training.evaluation.opened import selection_of, unlike_training
from training.evaluation.predict import check_reads_inputs, predict
from training.evaluation.predictions import Predictions, write_predictions
from training.joined import JoinedDataset
from training.tasks import Task
from training.trained import Trained

FORMAT = 1
SAME = ("select", "view", "stores", "fold", "digest")
"""In what evaluations of one folder must agree: by what its epoch was chosen, and its samples."""
NEAR = 0.01
"""Share by which another machine may differ in NLL; other weights differ by more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """What was measured on one side.

    metrics: see `metrics.summary`. levels: of corruptions, the clean samples first, each with its
    kind, level, amount and the same metrics. record: network, side and samples.
    """

    predictions: Predictions
    metrics: Mapping[str, float]
    levels: Sequence[Mapping[str, Any]] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All of it but single predictions, as plain values."""
        logits, labels = labelled(self.predictions)
        counts = confusion(logits, labels)
        return {
            "format_version": FORMAT,
            **self.record,
            "samples": len(self.predictions),
            "unlabelled": len(self.predictions) - len(labels),
            "metrics": dict(self.metrics),
            "calibration": {"bins": BINS, "binning": "equal-width", "norm": "l1"},
            "class_names": list(self.predictions.class_names),
            "classes": _class_rows(counts),
            "confusion": counts.tolist(),
            "reliability": reliability(logits, labels).to_rows(),
            "levels": [dict(level) for level in self.levels],
        }


def evaluate(
    trained: Trained,
    side: str,
    task: Task,
    *,
    corruptions: Sequence[Corruption] = (),
    features: bool = False,
    seed: int = 0,
) -> Evaluation:
    """What a network is worth on a side of a task, `test`, `validation` or `train`.

    corruptions: measured one after the other, beside the clean samples. features: predictions keep
    what the linear end reads. seed: of what corruptions draw.
    Raises InvalidSpec for a side that is not there, and as `predict`.
    """
    samples = side_of(task, side)
    for corruption in corruptions:
        check_reads_inputs(trained, corruption.kind)
    clean = predict(trained, samples, task, features=features)
    levels = _measured(trained, samples, task, corruptions, seed, clean)
    unlike = unlike_training(trained, task, side)
    return Evaluation(
        predictions=clean,
        metrics=summary(*labelled(clean)),
        levels=levels,
        record={
            "side": side,
            "fold": task.record.get("fold"),
            "stores": task.record.get("stores"),
            "digest": clean.record["digest"],
            "view": str(trained.view),
            "select": selection_of(trained),
            "not_corrupted": [n for n in trained.view.names if n != "inputs"] if levels else [],
            **({"unlike_training": unlike} if unlike else {}),
        },
    )


def write_evaluation(folder: Path, evaluation: Evaluation) -> list[Path]:
    """Write what was measured on a SIDE in a folder, and return the files.

    evaluation-SIDE.json and predictions-SIDE.safetensors; robustness-SIDE-KIND.json of each
    corruption, features-SIDE.safetensors of kept features. Beside one of the latter two, an
    evaluation that is there already stays: another machine may differ in its last digits.
    Raises AlreadyPublished where there are others, or one of another network, store or samples.
    """
    side, clean = evaluation.record["side"], evaluation.predictions
    documents = {
        f"robustness-{side}-{kind}.json": {
            "format_version": FORMAT,
            **evaluation.record,
            "levels": [level for level in evaluation.levels if level["kind"] == kind],
        }
        for kind in dict.fromkeys(level["kind"] for level in evaluation.levels)
    }
    tables = {} if clean.features is None else {f"features-{side}.safetensors": clean}
    name = f"evaluation-{side}.json"
    if not (documents or tables) or not files.exists(folder / name):
        documents[name] = {**evaluation.to_dict(), "levels": []}
        tables[f"predictions-{side}.safetensors"] = replace(clean, features=None)
    else:
        _check_goes_with(folder / name, evaluation)
    try:
        for name, each in tables.items():
            write_predictions(folder / name, each)
        for name, document in documents.items():
            _write_json(folder / name, document)
    except AlreadyPublished as error:
        raise AlreadyPublished(
            f"{error}: another evaluation is in this folder, of other levels, samples or weights;"
            " write to another folder with --out, or move that file away",
            error.paths,
        ) from error
    return [folder / name for name in (*documents, *tables)]


def _check_goes_with(path: Path, evaluation: Evaluation) -> None:
    """Raise AlreadyPublished unless the evaluation that is there is of the same thing."""
    there = read_evaluation(path)
    other = [
        f"{name} is {there.get(name)!r:.80} there and {evaluation.record.get(name)!r:.80} here"
        for name in SAME
        if there.get(name) != evaluation.record.get(name)
    ]
    before, now = there["metrics"]["nll"], evaluation.metrics["nll"]
    if not math.isclose(before, now, rel_tol=NEAR, abs_tol=NEAR / 100):
        other.append(f"NLL is {before:.4g} there and {now:.4g} here")
    if other:
        raise AlreadyPublished(
            f"{path} is of another network or of other samples: {'; '.join(other)}; write to"
            " another folder with --out",
            (path,),
        )


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=1)
    files.publish(path.absolute(), text.encode(), temporary=path.absolute().parent)


def read_evaluation(path: Path) -> dict[str, Any]:
    """A document that `write_evaluation` wrote. Raises FileNotFoundError, UnsupportedFormat."""
    try:
        document: dict[str, Any] = json.loads(files.read_bytes(path))
        version = document["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise UnsupportedFormat(f"{path} is no evaluation ({error!r:.80})") from error
    if version != FORMAT:
        raise UnsupportedFormat(f"{path}: format {version!r}, this release reads {FORMAT}")
    return document


def side_of(task: Task, side: str) -> JoinedDataset:
    """The samples of a side. Raises InvalidSpec that names those there are."""
    if side not in task.sides:
        raise InvalidSpec(f"no side {side!r} here; there are {', '.join(task.sides)}")
    return task.sides[side]


def labelled(predictions: Predictions) -> tuple[Any, Any]:
    """Logits and labels of the samples that have a label. Raises InvalidSpec where none has."""
    known = predictions.labelled
    if not known.any():
        raise InvalidSpec(
            f"none of {len(predictions)} samples has a label, so nothing can be measured; predict"
            " them with pseudo-labels instead"
        )
    return predictions.logits[known], predictions.labels[known]


def levels_of(levels: Levels, task: Task, numbers: Sequence[int] | None = None) -> list[Corruption]:
    """The corruptions of a task's raw samples: level 0, then those named, 1 for the first, or all.

    Raises InvalidSpec where there are no raw samples, or not that many levels of theirs.
    """
    samples = next(iter(task.sides.values()))
    if "inputs" not in samples.parts:
        raise InvalidSpec(f"{levels.kind} changes raw samples, and no store here holds inputs")
    return levels.corruptions(SAMPLE_OF[len(samples.parts["inputs"].shape) + 1], numbers)


def _measured(
    trained: Trained,
    samples: JoinedDataset,
    task: Task,
    corruptions: Sequence[Corruption],
    seed: int,
    clean: Predictions,
) -> list[dict[str, Any]]:
    """The metrics of each corruption. Raises InvalidSpec where level 0 is not the clean result."""
    rows = []
    for corruption in corruptions:
        found = predict(trained, samples, task, corrupt=corruption, seed=seed)
        if corruption.neutral and not np.array_equal(found.logits, clean.logits):
            raise InvalidSpec(
                f"{corruption.kind} of level 0 changes predictions; robustness would be measured"
                " from a wrong start: report this"
            )
        sample = SAMPLE_OF[len(samples.parts["inputs"].shape) + 1]
        rows.append({**described(corruption, sample, seed), **summary(*labelled(found))})
    return rows


def described(corruption: Corruption, sample: str, seed: int) -> dict[str, Any]:
    """What a row of metrics says of its corruption of an `image` or a `signal`."""
    said = {
        "kind": corruption.kind,
        "level": corruption.level,
        "amount": corruption.amount_for(sample),
        "seed": seed,
    }
    return {**said, "fill": corruption.fill} if corruption.kind == MISSING else said


def _class_rows(counts: Any) -> list[dict[str, Any]]:
    scores = class_scores(counts)
    columns = [column.tolist() for column in scores]
    return [dict(zip(scores._fields, row, strict=True)) for row in zip(*columns, strict=True)]
