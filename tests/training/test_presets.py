"""Presets against a table of the numbers of papers and released code."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("torch")

from training.models import MODELS, PI_NETS
from training.presets import PRESETS
from training.trainer.config import TrainConfig
from training.trainer.schedules import rate
from training.views import parse_terms

pytestmark = pytest.mark.torch

SGD = {"optimizer": "sgd", "momentum": 0.9, "nesterov": False, "weight_decay": 1e-4}
IMAGES = SGD | {"epochs": 200, "batch_size": 128}
WINDOWS = SGD | {"epochs": 200, "batch_size": 64}
FIFTHS = {0: 0.1, 39: 0.1, 40: 0.02, 79: 0.02, 80: 4e-3, 120: 8e-4, 160: 1.6e-4, 199: 1.6e-4}
TDA_KD = {0: 0.05, 10: 0.05, 11: 0.01, 65: 0.01, 66: 1e-3, 132: 1e-3, 133: 1e-4, 199: 1e-4}
TENTHS = {0: 0.05, 149: 0.05, 150: 5e-3, 180: 5e-4, 210: 5e-5, 239: 5e-5}
TINY = {0: 0.1, 29: 0.1, 30: 0.01, 60: 1e-3, 90: 1e-4}
PI_NET = {0: 1e-3, 299: 1e-3, 300: 1e-4, 599: 1e-4, 600: 1e-5, 999: 1e-5}
ADAM = {"optimizer": "adam", "betas": (0.99, 0.999), "epsilon": 0.1, "seed": 100, "epochs": 1000}

# preset: (config, learning rates by epoch, method and its settings, start, normalise)
NUMBERS: dict[str, tuple[dict[str, Any], dict[int, float], dict[str, Any], bool, str]] = {
    "tgd-cifar10": (
        IMAGES | {"seed": 1234},
        FIFTHS,
        {
            "name": "tgd",
            "kd_weight": 0.9,
            "temperature": 4,
            "weights": (0.99, 0.01),
            "sp_weight": 1000,
            "kd_reduction": "element_mean",
        },
        True,
        "values",
    ),
    "tda-kd-pamap2": (
        WINDOWS,
        TDA_KD,
        {
            "name": "tda-kd",
            "kd_weight": 0.99,
            "temperature": 4,
            "weights": (0.7, 0.3),
            "factor": 2,
            "kd_reduction": "element_mean",
        },
        False,
        "windows",
    ),
    "tpkd-pamap2": (
        WINDOWS,
        TDA_KD,
        {
            "name": "tpkd",
            "kd_weight": 0.99,
            "temperature": 4,
            "weights": (0.7, 0.3),
            "orthogonal_weight": 200,
        },
        True,
        "windows",
    ),
    "tpkd-geneactiv": (
        WINDOWS,
        TDA_KD,
        {
            "name": "tpkd",
            "kd_weight": 0.7,
            "temperature": 4,
            "weights": (0.3, 0.7),
            "orthogonal_weight": 700,
        },
        True,
        "windows",
    ),
    **{
        f"{name}-{data}": (
            IMAGES | config,
            rates,
            {"name": name, "amd_weight": 5000, "scale": 64, "margin": 1.35} | method,
            False,
            "values",
        )
        for name in ("amd", "amd-gl")
        for data, config, rates, method in (
            ("cifar10", {}, FIFTHS, {"kd_weight": 0.9, "temperature": 4}),
            ("cinic10", {}, FIFTHS, {"kd_weight": 0.6, "temperature": 16}),
            (
                "tiny-imagenet",
                {"epochs": 100, "batch_size": 256},
                TINY,
                {"kd_weight": 0.3, "temperature": 16},
            ),
        )
    },
    **{
        f"mixup-cifar100{kind}": (
            SGD | {"epochs": 240, "batch_size": 64, "weight_decay": 5e-4, "select": "last"},
            TENTHS,
            {"name": "mixup-kd", "kd_weight": 0.9, "kd_reduction": "batch_mean"},
            False,
            "values",
        )
        for kind in ("", "-full")
    },
    **{
        f"{name}-{data}": (
            WINDOWS,
            TDA_KD,
            {"name": name.removesuffix("-mix1"), "kd_weight": weight, "temperature": 4},
            False,
            "windows",
        )
        for name in ("eskd", "full-kd")
        for data, weight in (("geneactiv", 0.7), ("pamap2", 0.99))
    },
    "pi-net-signal": (ADAM | {"batch_size": 128, "weight_decay": 0}, PI_NET, {}, False, "values"),
}
SAME = {  # presets that differ in what is augmented, or in nothing that was found
    "tgd-cinic10": "tgd-cifar10",
    "eskd-geneactiv-mix1": "eskd-geneactiv",
    "eskd-pamap2-mix1": "eskd-pamap2",
    "pi-net-image": "pi-net-signal",
}


def test_every_preset_is_in_the_table() -> None:
    assert set(NUMBERS) | set(SAME) == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_numbers(name: str) -> None:
    preset = PRESETS[name]
    config, rates, method, start, normalise = NUMBERS[SAME.get(name, name)]
    assert {key: getattr(preset.config, key) for key in config} == config
    assert {epoch: rate(preset.config, epoch) for epoch in rates} == pytest.approx(rates)
    found = {} if preset.method is None else {"name": preset.method.name} | vars(preset.method)
    assert {key: found[key] for key in method} == method
    assert (preset.start, preset.normalise) == (start, normalise)


@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_chooses_on_test_data(name: str) -> None:
    preset = PRESETS[name]
    expected = "last" if name.startswith("mixup") else "best-on-validation"
    assert preset.config.select == expected
    assert preset.notes.startswith("The paper took ")
    assert preset.notes.endswith(".")


def test_notes_say_of_a_paper_what_is_known() -> None:
    unknown = [name for name, preset in PRESETS.items() if "was not found" in preset.picked]
    heads = ("amd", "eskd", "full-kd", "tpkd", "pi-net")
    assert unknown == [name for name in PRESETS if name.startswith(heads)]
    for name in ("eskd-pamap2", "eskd-geneactiv-mix1", "full-kd-geneactiv", "tpkd-geneactiv"):
        assert "How windows are normalised was not found" in PRESETS[name].notes
        assert "are those of TDA_KD" in PRESETS[name].notes


@pytest.mark.parametrize("name", PRESETS)
def test_networks_and_views_exist(name: str) -> None:
    preset = PRESETS[name]
    assert set(preset.models.values()) <= set(MODELS) | set(PI_NETS)
    assert len(preset.reads) == 1 + len(preset.teachers)
    assert all(parse_terms(view) for view in preset.reads)
    assert (preset.method is None) == (not preset.teachers)
    if preset.method is not None:
        preset.method.check_teachers(len(preset.teachers))
        assert not preset.method.needs_start or preset.start


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("tgd-cifar10", []),
        ("tda-kd-pamap2", []),
        ("amd-tiny-imagenet", [("PadCrop", 2), ("Symmetry", "flip")]),
        ("mixup-cifar100", [("PadCrop", 4), ("Symmetry", "flip"), ("Mixup", 0.9)]),
        ("mixup-cifar100-full", [("PadCrop", 4), ("Symmetry", "flip"), ("Mixup", 0.0)]),
        ("eskd-geneactiv-mix1", [("Removal", 0.2), ("Shift", 0.1)]),
    ],
)
def test_augmentations(name: str, steps: list[tuple[str, object]]) -> None:
    first = {"PadCrop": "padding", "Symmetry": "symmetry", "Mixup": "kept"}
    found = [each.to_dict() for each in PRESETS[name].augment]
    assert [(each["name"], each[first.get(each["name"], "share")]) for each in found] == steps


def test_partial_mixup_is_that_of_the_released_code() -> None:
    mixup = PRESETS["mixup-cifar100"].augment[-1].to_dict()
    assert (mixup["alpha"], mixup["replacement"], mixup["both"]) == (1.0, True, True)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_plain_values(name: str) -> None:
    values = json.loads(json.dumps(PRESETS[name].to_dict()))
    assert TrainConfig.from_dict(values["config"]) == PRESETS[name].config
