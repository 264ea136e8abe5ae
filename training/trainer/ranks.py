"""The processes that train one network together, as `torchrun` starts them; or this one alone."""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among so many. The first one writes; all of them compute."""

    rank: int = 0
    ranks: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.ranks == 1

    def wrap(self, module: nn.Module, device: torch.device) -> nn.Module:
        """The module, whose gradients are averaged over ranks in the backward pass."""
        if self.alone:
            return module
        devices = [device] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=devices)

    def added(self, values: Tensor) -> Tensor:
        """The sum over ranks, the same on all of them."""
        if not self.alone:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def share_buffers(self, module: nn.Module) -> None:
        """Give every rank the first one's buffers, such as means of norms: those that are kept."""
        if not self.alone:
            for buffer in module.buffers():
                distributed.broadcast(buffer, 0)

    def gathered(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order. They stay within the job: no file is made."""
        if self.alone:
            return [value]
        found: list[Any] = [None] * self.ranks
        distributed.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Until all ranks are here."""
        if not self.alone:
            distributed.barrier()


def own_rank() -> int:
    """The number of this process among those that `torchrun` started; 0 for one alone."""
    return int(os.environ.get("RANK", "0"))


def join_ranks(device: torch.device) -> tuple[Ranks, torch.device]:
    """This process among those of `torchrun`, and its device: cuda is the one of its own rank.

    The group that is made stays until the process ends, for its other runs: one that was ended
    cannot be made anew with the names that torchrun gave.
    """
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    exists = distributed.is_available() and distributed.is_initialized()
    if ranks == 1 and not exists:
        return Ranks(), device
    device = _own(device)
    if not exists:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(_leave)
    return Ranks(distributed.get_rank(), distributed.get_world_size()), device


def _leave() -> None:
    """End the group, unless somebody else did."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _own(device: torch.device) -> torch.device:
    """The device of this rank: cuda without a number is that of its place on this machine."""
    if device.type != "cuda" or ":" in str(device):
        return device
    own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(own)
    return own
