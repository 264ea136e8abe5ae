"""A run from settings as people give them: a preset, and what differs from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from pi_cache.errors import InvalidSpec
from pi_cache.nearest import hint
from training.methods.base import Method
from training.methods.catalogue import make_method
from training.presets import PRESETS, Preset
from training.runs.augmentations import parse_augmentations
from training.runs.spec import RunSpec
from training.runs.values import check_kinds
from training.tasks import DataSpec
from training.trainer.config import TrainConfig

NO_START = "none"
"""The start of a student that has none, where its preset has one."""
PASSED = ("view", "model", "model_options", "allow_stale")
"""Settings that are fields of a RunSpec as they are."""


def made_spec(
    settings: Mapping[str, Any],
    *,
    data: DataSpec,
    seed: int | None = None,
    teachers: Sequence[str] = (),
    start: str | None = None,
) -> RunSpec:
    """The run of these settings.

    settings: `preset`, a name whose values hold where nothing else is given; `config`, fields of
    TrainConfig; `method` and the `settings` of it; `augment`, names or dicts; fields of RunSpec.
    The preset's method is taken where there are teachers and no method is given, its augmentations
    where none are given. seed: in place of the config's. Raises InvalidSpec.
    """
    preset = None if settings.get("preset") is None else find_preset(settings["preset"])
    augment = settings.get("augment")
    taught = bool(teachers) or settings.get("method") is not None
    method = _method(settings, preset) if taught else None
    if preset is not None and preset.start and method is not None and start is None:
        raise InvalidSpec(
            f"{settings['preset']} starts its student from a network of the same kind that was"
            " trained alone; give that as start, or none to do without"
        )
    return RunSpec(
        data=data,
        config=_config(settings.get("config", {}), preset, seed),
        method=method,
        teachers=tuple(teachers),
        start=None if start == NO_START else start,
        augment=parse_augmentations(_augment(preset) if augment is None else augment),
        normalise=settings.get("normalise") or (preset.normalise if preset else "values"),
        **_passed(settings, preset),
    )


def find_preset(name: str) -> Preset:
    """The preset of a name. Raises InvalidSpec with the nearest one."""
    if name not in PRESETS:
        raise InvalidSpec(
            f"unknown preset {name!r}{hint(name, PRESETS)}; `training presets` lists them"
        )
    return PRESETS[name]


def parse_field(name: str) -> str:
    """A field of TrainConfig, with - for _ as on a command line. Raises InvalidSpec."""
    known = [each.name for each in fields(TrainConfig)]
    found = str(name).replace("-", "_")
    if found not in known:
        raise InvalidSpec(f"a run has no setting {name!r}{hint(name, known)}")
    return found


def _config(given: Mapping[str, Any], preset: Preset | None, seed: int | None) -> TrainConfig:
    base = {} if preset is None else preset.config.to_dict()
    named = {parse_field(name): value for name, value in given.items()}
    own = {} if seed is None else {"seed": seed}
    check_kinds(TrainConfig, named, "settings of training")
    return TrainConfig.from_dict({**base, **named, **own})


def _method(settings: Mapping[str, Any], preset: Preset | None) -> Method | None:
    """The method that is named, with the settings of the preset where that has the same one."""
    ready = None if preset is None else preset.method
    name = settings.get("method")
    if name is None and ready is not None:
        name = ready.name
    own = settings.get("settings", {})
    if name is None:
        return None
    if "name" in own:
        raise InvalidSpec(
            f"{name} has no setting 'name'; the method itself is named instead: `training distill"
            f" {own['name']}`, or method = {str(own['name'])!r} in a plan"
        )
    base = ready.to_dict() if ready is not None and ready.name == name else {}
    base.pop("name", None)
    return make_method(name, **{**base, **own})


def _augment(preset: Preset | None) -> Sequence[Any]:
    return () if preset is None else tuple(preset.augment)


def _passed(settings: Mapping[str, Any], preset: Preset | None) -> dict[str, Any]:
    """Fields of a RunSpec as given; view and network are the student's of the preset."""
    base = {} if preset is None else {"view": preset.reads[0], "model": preset.student}
    given = {name: settings[name] for name in PASSED if settings.get(name) is not None}
    found = {**base, **given}
    missing = [name for name in ("view", "model") if not found.get(name)]
    if missing:
        raise InvalidSpec(
            f"a run needs a {' and a '.join(missing)}: what is read of the samples, such as inputs,"
            " and a network that `training models` lists"
        )
    return found
