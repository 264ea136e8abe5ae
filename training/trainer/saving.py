"""A run into a state and back: every part that has a memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec
from training.loader import Loader
from training.trainer.objectives import Objective
from training.trainer.progress import Progress
from training.trainer.sides import Transform
from training.trainer.state import State, load_optimizer, optimizer_tensors
from training.trainer.stepper import Stepper, Sums
from training.trainer.surroundings import generators, set_generators

Drawing = dict[str, dict[str, Any]]
"""Of one rank: torch's generators, the state of its transform, and what its steps added up."""


def drawing(transform: Transform | None, device: torch.device, sums: Sums) -> Drawing:
    """What only this rank has."""
    state = getattr(transform, "state_dict", None)
    return {
        "random": dict(generators(device)),
        "transform": {} if state is None else dict(state()),
        "sums": {} if sums.values is None else {"values": sums.values.cpu()},
    }


def collect(
    objective: Objective,
    stepper: Stepper,
    loader: Loader,
    progress: Progress,
    drawn: Sequence[Drawing],
) -> State:
    """The state of a run. drawn: of each rank, in their order."""
    state = State({"loader": loader.state_dict(), "scaler": stepper.scaler.state_dict()})
    progress.into(state)
    state.put("network", objective.network.state_dict())
    state.put("learned", objective.learned.state_dict())
    state.put("optimizer", optimizer_tensors(stepper.optimizer, stepper.parameters))
    plain = []
    for rank, each in enumerate(drawn):
        state.put(f"random/{rank}", each["random"])
        if rank:  # those of the first are in its progress
            state.put(f"sums/{rank}", each["sums"])
        given = each["transform"]
        tensors = {name: value for name, value in given.items() if isinstance(value, Tensor)}
        state.put(f"transform/{rank}", tensors)
        plain.append({name: value for name, value in given.items() if name not in tensors})
    state.values["transform"] = plain
    return state


def restore(
    state: State, objective: Objective, stepper: Stepper, loader: Loader, rank: int
) -> Progress:
    """Give every part of this rank what `collect` found, but what it draws from."""
    objective.network.load_state_dict(state.group("network"), strict=True)
    objective.learned.load_state_dict(state.group("learned"), strict=True)
    load_optimizer(stepper.optimizer, stepper.parameters, state.group("optimizer"))
    if stepper.scaler.is_enabled():
        stepper.scaler.load_state_dict(state.values["scaler"])
    loader.load_state_dict(state.values["loader"])
    return Progress.of(state, stepper.device, rank)


def restore_drawing(
    state: State, transform: Transform | None, rank: int, device: torch.device
) -> None:
    """Let this rank draw on where it stopped. Raises InvalidSpec for another transform."""
    found = state.group(f"transform/{rank}") | state.values["transform"][rank]
    mine = drawing(transform, device, Sums())["transform"]
    if found.keys() != mine.keys():
        raise InvalidSpec(
            f"the transform of this run had a state of {list(found) or 'nothing'}, this one has"
            f" {list(mine) or 'nothing'}; give the transform that it began with, or another folder"
        )
    load = getattr(transform, "load_state_dict", None)
    if load is not None:
        load(found)
    set_generators(state.group(f"random/{rank}"), device)
