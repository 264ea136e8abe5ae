"""Augmentations by name, as a command line, a plan or a record has them.

flip                              Symmetry(symmetry="flip")
mixup:kept=0.9,replacement=true   Mixup(kept=0.9, replacement=True)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

from pi_cache.errors import InvalidSpec
from pi_cache.nearest import hint
from training.augment.base import Augmentation
from training.augment.images import SYMMETRIES, Cutout, PadCrop, ShuffleChannels, Symmetry
from training.augment.mixing import CutMix, Mixup
from training.augment.randaugment import RandAugment
from training.augment.signals import (
    GaussianNoise,
    Negate,
    Offset,
    Removal,
    Reverse,
    Scaling,
    Shift,
)
from training.runs.values import check_kinds, parse_value

_WORD = re.compile(r"(?<!^)(?=[A-Z])")
CLASSES: tuple[type[Augmentation], ...] = (
    Symmetry,
    ShuffleChannels,
    PadCrop,
    Cutout,
    CutMix,
    Mixup,
    RandAugment,
    Removal,
    GaussianNoise,
    Shift,
    Reverse,
    Negate,
    Offset,
    Scaling,
)
_AS_ONE = (CutMix, RandAugment)
"""Written as one word in the papers."""
AUGMENTATIONS: Mapping[str, Callable[..., Augmentation]] = {
    **{_WORD.sub("-", each.__name__).lower(): each for each in CLASSES if each not in _AS_ONE},
    **{each.__name__.lower(): each for each in _AS_ONE},
    **{name: partial(Symmetry, symmetry=name) for name in SYMMETRIES},
}
"""Corruptions are none of them: those are for tests of what was trained."""
_BY_CLASS = {each.__name__: each for each in CLASSES}


def parse_augmentation(given: str | Mapping[str, Any] | Augmentation) -> Augmentation:
    """The augmentation of `NAME[:setting=value,...]`, of a dict with `name`, or itself.

    Raises InvalidSpec for an unknown name or setting, with what there is.
    """
    if isinstance(given, Augmentation):
        return given
    if not isinstance(given, str | Mapping):
        raise InvalidSpec(f"an augmentation is a name or a table with a name, got {given!r}")
    settings = _settings(given) if isinstance(given, str) else dict(given)
    name = str(settings.pop("name", ""))
    make = _BY_CLASS.get(name) or AUGMENTATIONS.get(name.lower().replace("_", "-"))
    if make is None:
        raise InvalidSpec(
            f"unknown augmentation {name!r}{hint(name, AUGMENTATIONS)}; there are"
            f" {', '.join(AUGMENTATIONS)}"
        )
    return _made(name, make, settings)


def parse_augmentations(
    given: Iterable[str | Mapping[str, Any] | Augmentation],
) -> tuple[Augmentation, ...]:
    """The augmentations of some words or dicts, in their order. Raises InvalidSpec."""
    return tuple(parse_augmentation(each) for each in given)


def _settings(word: str) -> dict[str, Any]:
    name, _, rest = word.partition(":")
    settings: dict[str, Any] = {}
    for part in filter(None, re.split(r",(?=[\w-]+=)", rest)):  # a value may be a list
        key, equals, value = part.partition("=")
        if not equals:
            raise InvalidSpec(f"augmentation {word!r} must be NAME or NAME:setting=value,...")
        settings[key.strip().replace("-", "_")] = parse_value(value)
    return {**settings, "name": name.strip()}


def _made(name: str, make: Callable[..., Augmentation], settings: dict[str, Any]) -> Augmentation:
    kind = make.func if isinstance(make, partial) else make
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    wrong = [key for key in settings if key not in known]
    if wrong:
        raise InvalidSpec(
            f"augmentation {name} has no setting {wrong[0]!r}{hint(wrong[0], known)}; it has"
            f" {', '.join(known) or 'none'}"
        )
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    check_kinds(kind, settings, f"augmentation {name}")  # type: ignore[arg-type]
    try:
        return make(**settings)
    except TypeError as error:
        raise InvalidSpec(f"augmentation {name}: {error}") from error
