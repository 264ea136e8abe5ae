"""Everything decoded once, into one tensor a part: in memory, or on the device."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.parts import Part, Rows, Table, scales_of
from training.widen import Scale

THREADS = 8
"""Blocks decoded at a time at most; more are held up by memory."""


class Resident:
    """All samples of a table as tensors of the stored types; batches are taken by index.

    device: where the tensors are. why: the sentence that `hold` gives.
    Making it raises CorruptStore where a file is damaged.
    """

    def __init__(self, table: Table, *, device: str | torch.device = "cpu", why: str = "") -> None:
        self.device = torch.device(device)
        self.why = why
        self.scales: Mapping[str, Scale] = scales_of(table)
        self._count = len(table)
        self.tensors = {name: decode_all(part, self.device) for name, part in table.parts.items()}
        for name, values in table.numbers.items():
            self.tensors[name] = torch.tensor(values, device=self.device)

    def __len__(self) -> int:
        return self._count

    def batch(self, positions: Tensor) -> dict[str, Tensor]:
        """New tensors (n, ...) of the samples at positions (n,) int64, on the device."""
        where = positions.to(self.device)
        return {name: whole.index_select(0, where) for name, whole in self.tensors.items()}

    def close(self) -> None:
        """Let go of the tensors."""
        self.tensors = {}


def decode_all(part: Part, device: torch.device) -> Tensor:
    """(N, ...) a part in its stored type, decoded in as many threads as there are cores."""
    shape = (len(part), *part.shape)
    if device.type != "cpu":
        kind = torch.from_numpy(np.empty(0, part.dtype)).dtype
        whole = torch.empty(shape, dtype=kind, device=device)
        _each(part, lambda where: _copy(part, where, whole))
        return whole
    # Made by numpy, which asks for huge pages: several times faster to fill than torch's.
    decoded = np.empty(shape, part.dtype)
    _each(part, lambda where: _decode(part, where, decoded))
    return torch.from_numpy(decoded)


def _decode(part: Part, where: Rows, decoded: NDArray[Any]) -> None:
    start, stop = int(where[0]), int(where[-1]) + 1
    if stop - start == len(where) and (np.diff(where) == 1).all():
        part.fill(where, decoded[start:stop])
    else:
        decoded[where] = part.take(where)


def _copy(part: Part, where: Rows, whole: Tensor) -> None:
    rows = torch.from_numpy(part.take(where)).to(whole.device)
    whole.index_copy_(0, torch.from_numpy(where).to(whole.device), rows)


def _each(part: Part, work: Callable[[Rows], None]) -> None:
    """Do the work for every block of positions; reading and decoding leave Python's lock alone."""
    with ThreadPoolExecutor(min(THREADS, cores()), "pi-cache decoding") as threads:
        for _ in threads.map(work, part.blocks()):
            pass


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
