"""Folders of runs as repeating leaves them, with predictions that are drawn and not learned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.evaluation import metrics
from training.evaluation.evaluate import Evaluation, write_evaluation
from training.evaluation.predictions import Predictions

CLASSES = ("걷기", "sit", "a_b & 50%", "run")
ARMS = {"student": 0.6, "kd": 1.0, "tgd": 1.2}
FOLDS = {"S1": 40, "S2": 60, "S10": 120}
SEEDS = (0, 1, 2)


def make_run(
    out: Path,
    arm: str,
    fold: str,
    seed: int,
    *,
    strength: float,
    samples: int,
    digest: str | None = None,
    robust: bool = False,
) -> Path:
    """A run that was measured. strength: how far logits lean to the label."""
    truth = np.random.default_rng(samples)
    labels = truth.integers(0, len(CLASSES), samples)
    rng = np.random.default_rng([seed, samples, len(arm), sum(map(ord, arm))])
    features = rng.normal(size=(samples, 6))
    features[:, :4] += 2 * strength * np.eye(4)[labels]
    logits = rng.normal(size=(samples, 4)) + 2 * strength * np.eye(4)[labels]
    found = Predictions(
        logits=logits.astype(np.float32),
        labels=labels,
        index=np.arange(samples),
        ids=np.array([f"{fold}/{k}" for k in range(samples)], dtype=object),
        class_names=CLASSES,
        features=features.astype(np.float32),
        record={},
    )
    measured = metrics.summary(found.logits, found.labels)
    levels = [
        {"kind": "noise", "level": k, "amount": 0.03 * k, "seed": 0, **measured}
        | {"accuracy": measured["accuracy"] * (1 - k / 10)}
        for k in range(4 if robust else 0)
    ]
    record = {"side": "test", "fold": fold, "digest": digest or fold, "not_corrupted": []}
    folder = out / arm / fold / f"seed-{seed}"
    folder.mkdir(parents=True)
    result = {"epochs": 3, "seconds": 10.0 + seed, "samples_per_second": 1000.0}
    (folder / "result.json").write_text(json.dumps(result))
    write_evaluation(
        folder, Evaluation(predictions=found, metrics=measured, levels=levels, record=record)
    )
    if robust:
        write_evaluation(folder, Evaluation(predictions=found, metrics=measured, record=record))
    return folder


def make_experiment(
    out: Path,
    *,
    arms: Mapping[str, float] = ARMS,
    folds: Mapping[str, int] = FOLDS,
    seeds: Sequence[int] = SEEDS,
    **options: Any,
) -> Path:
    """Every arm in every fold with every seed."""
    for arm, strength in arms.items():
        for fold, samples in folds.items():
            for seed in seeds:
                make_run(out, arm, fold, seed, strength=strength, samples=samples, **options)
    return out
