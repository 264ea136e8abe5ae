"""How long an experiment would take here on one core, from a few steps of its networks.

    seconds of a run = epochs * (train * (student + teachers) + validation * student / 3)

with the seconds that a sample takes forwards and backwards, and forwards alone in a teacher, whose
share is a third. Teachers that are asked once, as where a method compares logits alone and nothing
changes the samples, are counted once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pi_cache.errors import PiCacheError
from training.augment.corruptions import LEVELS, SAMPLE_OF
from training.experiments.description import Description, Scale
from training.experiments.fits import Fit
from training.experiments.needs import Needs
from training.methods.catalogue import METHODS
from training.models import PI_NETS, build, build_pi_net
from training.models.features import count_statistics
from training.presets import PRESETS
from training.reports.experiment import read_experiment
from training.views import parse_terms

FORWARD = 1 / 3
"""Share of a step that is its way forwards."""
LEAST = 0.15
"""Seconds that a network is timed for, at least."""
BATCH = 16

Network = tuple[str, tuple[int, ...], int, tuple[tuple[str, Any], ...]]
"""Name, shape of a sample, classes, further options."""


@dataclass(slots=True)
class Clock:
    """Core-seconds of a sample in training by network, each measured once."""

    known: dict[Network, float] = field(default_factory=dict)

    def of(self, network: Network) -> float:
        """Seconds of a sample, forwards and backwards."""
        if network not in self.known:
            self.known[network] = sample_seconds(network)
        return self.known[network]


def sample_seconds(network: Network, *, batch: int = BATCH) -> float:
    """Core-seconds of one sample forwards and backwards: the fastest step after one that warms up.

    Of the processor's time and not the clock's, so that other work on the machine adds little.
    """
    name, shape, classes, options = network
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made = _built(name, shape, classes, dict(options))
            samples = torch.randn(batch, *shape)
        seconds: list[float] = []
        spent = 0.0
        while spent < LEAST or len(seconds) < 2:
            started = time.process_time()
            _backward(made(samples))
            seconds.append(time.process_time() - started)
            spent += seconds[-1]
    finally:
        torch.set_num_threads(before)
    return min(seconds[1:]) / batch


def _built(name: str, shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> nn.Module:
    if name in PI_NETS:
        return build_pi_net(name, shape[0], **options)
    return build(name, shape[0], classes, len(shape) - 1, **options)


def _backward(outputs: Any) -> None:
    """One way backwards; what the loss is changes little of its time."""
    given = getattr(outputs, "logits", None)
    (outputs.images if given is None else given).square().mean().backward()


def estimate(scale: Scale, clock: Clock, *, seeds: int | None = None, levels: int = 0) -> float:
    """Seconds that the runs of a plan take one core here, one after another.

    levels: of corruptions, under which test samples are measured again.
    """
    counts, plan = scale.needs.counts, scale.plan
    default = plan.get("defaults", {})
    arms = {arm["name"]: {**default, **arm} for arm in plan["arms"]}
    total = sum(_fit_seconds(fit, scale, clock) for fit in scale.fits)
    for arm in arms.values():
        config = {**default.get("config", {}), **arm.get("config", {})}
        epochs = int(config.get("epochs") or _preset_epochs(arm))
        own = clock.of(network_of(arm, scale.needs))
        teachers = sum(
            FORWARD * clock.of(network_of(arms[name.partition(":")[0]], scale.needs))
            for name in arm.get("teachers", ())
        )
        asked = epochs if _asks_again(arm) else 1
        one = epochs * own * (counts.train + FORWARD * counts.validation)
        one += asked * counts.train * teachers + FORWARD * counts.test * own * (1 + levels)
        runs = len(arm["seeds"]) if "seeds" in arm else seeds or len(plan["seeds"])
        total += one * runs * counts.folds
    return total * (1 + scale.beside)


def _fit_seconds(fit: Fit, scale: Scale, clock: Clock) -> float:
    """Of a PI-Net: its fit, and the images of every sample of the stores."""
    counts, image = scale.needs.counts, scale.needs.shapes["pi"]
    options = (("image_channels", image[0]), ("pixels", image[1]))
    own = clock.of((fit.net, scale.needs.shapes["inputs"], 0, options))
    samples = min(fit.limit or counts.train, counts.train)
    every = counts.train + counts.validation + counts.test
    epochs = int(fit.config["epochs"])
    return own * (epochs * (samples + FORWARD * counts.validation) + FORWARD * every)


def network_of(arm: Mapping[str, Any], needs: Needs) -> Network:
    """What an arm trains: its network, and the shape that its view has."""
    pieces = [_delivered(kind, needs.shapes[name]) for kind, name in parse_terms(arm["view"])]
    channels = sum(shape[0] for shape in pieces)
    options = tuple(arm.get("model_options", {}).items())
    return arm["model"], (channels, *pieces[0][1:]), needs.counts.classes, options


def _delivered(kind: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a piece of a view has."""
    if kind == "statistics":
        return (count_statistics(shape[0]),)
    if kind == "vector":
        length = 1
        for side in shape:
            length *= side
        return (length,)
    return shape


def _asks_again(arm: Mapping[str, Any]) -> bool:
    """Whether teachers run in every epoch: their maps are large, or samples change."""
    method = METHODS[arm["method"]] if arm.get("method") else None
    return bool(arm.get("augment")) or (method is not None and method.stages)


def _preset_epochs(arm: Mapping[str, Any]) -> int:
    return PRESETS[arm["preset"]].config.epochs


def level_count(description: Description, scale: Scale) -> int:
    """How many levels of corruptions the runs of an experiment are measured under."""
    sample = SAMPLE_OF[len(scale.needs.shapes["inputs"]) + 1]
    return sum(len(each.amounts or LEVELS[each.kind, sample]) for each in description.corrupt)


def recorded(folder: Path) -> float | None:
    """Seconds that the runs of a results folder took, None unless all of them have ended."""
    try:
        found = read_experiment(folder / "runs")
    except (PiCacheError, OSError):
        return None
    if found.missing:
        return None
    return sum(float(run.result.get("seconds", 0)) for run in found.runs.values())
