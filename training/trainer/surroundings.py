"""What of torch is set for all of a run, and put back afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from training.trainer.config import TrainConfig


@contextmanager
def surroundings(config: TrainConfig, device: torch.device) -> Iterator[None]:
    """Threads, determinism and the generators of torch as a run has them; then as they were."""
    threads = torch.get_num_threads()
    with _deterministic(config.deterministic, device), torch.random.fork_rng(_devices(device)):
        try:
            if config.threads is not None:
                torch.set_num_threads(config.threads)
            yield
        finally:
            torch.set_num_threads(threads)


@contextmanager
def _deterministic(wanted: bool, device: torch.device) -> Iterator[None]:
    if not wanted:
        yield
        return
    mode = torch.get_deterministic_debug_mode()
    benchmark = torch.backends.cudnn.benchmark
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    if device.type == "cuda":  # cuBLAS reads it at its first call, and is refused without
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        # It shows a use of memory that nobody wrote, at the price of a write of every new tensor.
        memory.fill_uninitialized_memory = False
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.backends.cudnn.benchmark = benchmark
        memory.fill_uninitialized_memory = filled


def _devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def generators(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators that a run draws from, by name."""
    found = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    return found


def set_generators(states: dict[str, Tensor], device: torch.device) -> None:
    """Go on from states of `generators`."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
