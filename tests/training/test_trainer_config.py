"""Settings of a run and its learning rates: round trips, refusals, the schedules of papers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given
from hypothesis import strategies as st

from pi_cache.errors import InvalidSpec
from training.trainer.config import OPTIMIZERS, PRECISIONS, SELECTIONS, TrainConfig
from training.trainer.schedules import parse_schedule, rate

pytestmark = pytest.mark.torch

SCHEDULES = ("constant", "cosine", "steps:0.2@40,80", "steps:0.2@20%,40%", "values:1@0,0.1@3")


@given(
    st.fixed_dictionaries(
        {
            "epochs": st.integers(1, 1000),
            "learning_rate": st.floats(1e-6, 10),
            "optimizer": st.sampled_from(OPTIMIZERS),
            "precision": st.sampled_from(tuple(PRECISIONS)),
            "select": st.sampled_from(SELECTIONS),
            "schedule": st.sampled_from(SCHEDULES),
            "betas": st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
            "clip": st.none() | st.floats(1e-3, 1e3),
            "save_steps": st.none() | st.integers(1, 99),
            "compile": st.booleans() | st.just("aot_eager"),
        }
    )
)
def test_a_config_is_what_json_says(settings: dict[str, object]) -> None:
    made = TrainConfig(**settings)  # type: ignore[arg-type]
    assert TrainConfig.from_dict(json.loads(json.dumps(made.to_dict()))) == made


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"epochs": 0}, "epochs must be a whole number from 1 on, got 0"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"batch_size": 1.5}, "batch_size must be a whole number"),
        ({"learning_rate": math.nan}, "learning_rate is out of range: nan"),
        ({"clip": 0}, "clip is out of range: 0"),
        ({"betas": (0.9,)}, "betas is out of range"),
        ({"momentum": 0.0, "nesterov": True}, "nesterov needs a momentum"),
        ({"optimizer": "lion"}, "optimizer must be one of sgd, adam, adamw"),
        ({"select": "best"}, "select must be one of best-on-validation, last, best-on-test"),
        ({"device": "gpu"}, "device must be cpu, cuda"),
        ({"schedule": "step:0.2@3"}, "did you mean 'steps'"),
        ({"epochs": 0, "clip": -1}, "epochs must be.*; clip is out of range"),
        ({"betas": 0.9}, "betas is out of range: 0.9"),
        ({"schedule": None}, "a schedule is constant"),
        ({"deterministic": "no"}, "deterministic must be True or False, got 'no'"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], match: str) -> None:
    with pytest.raises(InvalidSpec, match=match):
        TrainConfig(**{"epochs": 1, **settings})  # type: ignore[arg-type]


def test_whole_numbers_of_numpy_are_plain() -> None:
    made = TrainConfig(epochs=np.int64(3), save_steps=np.int32(2))  # type: ignore[arg-type]
    assert json.dumps(made.to_dict()) == json.dumps(TrainConfig(epochs=3, save_steps=2).to_dict())


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(
        InvalidSpec, match=r"no setting 'learning_rat'; did you mean 'learning_rate'\?"
    ):
        TrainConfig.from_dict({"epochs": 1, "learning_rat": 1})
    with pytest.raises(InvalidSpec, match="needs a number of epochs"):
        TrainConfig.from_dict({"batch_size": 1})


@pytest.mark.parametrize(
    ("text", "epochs", "expected"),
    [
        ("constant", 10, {0: 0.05, 9: 0.05}),
        ("steps:0.2@40,80,120,160", 200, {39: 0.05, 40: 0.01, 79: 0.01, 80: 0.002, 199: 8e-5}),
        ("steps:0.2@20%,40%,60%,80%", 10, {1: 0.05, 2: 0.01, 4: 0.002, 8: 8e-5}),
        ("values:1e-3@0,1e-4@300,1e-5@600", 1000, {299: 1e-3, 300: 1e-4, 600: 1e-5}),
        ("tda-kd", 200, {10: 0.05, 11: 0.01, 65: 0.01, 66: 0.001, 132: 0.001, 133: 1e-4}),
        ("cosine", 4, {0: 0.05, 2: 0.025, 4: 0.0}),
    ],
)
def test_schedules_are_those_of_the_papers(
    text: str, epochs: int, expected: dict[int, float]
) -> None:
    config = TrainConfig(epochs=epochs, learning_rate=0.05, schedule=text)
    found = {epoch: rate(config, epoch) for epoch in expected}
    assert found == {epoch: pytest.approx(value) for epoch, value in expected.items()}


@given(st.integers(1, 100), st.integers(1, 400))
def test_a_percentage_is_rounded_down(percent: int, epochs: int) -> None:
    schedule = parse_schedule(f"steps:0.5@{percent}%")
    passed = [schedule(epoch, epochs, 1.0) == 0.5 for epoch in range(epochs)]
    assert passed.count(False) == percent * epochs // 100


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("steps:0.2", "a schedule is"),
        ("steps:x@3", "'x' is no positive number"),
        ("steps:0.2@3,3", "epochs must go up"),
        ("steps:0.2@3.5", "'3.5' is no epoch"),
        ("steps:0.2@120%", "'120%' is no epoch"),
        ("steps:0.2@3,50%", "all epochs as numbers, or all in percent"),
        ("values:1e-3@5", "the first rate must be that of epoch 0"),
        ("values:1e-3", "'' is no epoch"),
        ("cosine:3", "a schedule is"),
    ],
)
def test_wrong_schedules_are_refused(text: str, match: str) -> None:
    with pytest.raises(InvalidSpec, match=match):
        parse_schedule(text)
