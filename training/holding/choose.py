"""Which way a dataset is held: by its size against the memory there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec
from pi_cache.quantities import bytes_text
from training.holding.drawn import Drawn
from training.holding.memory import free_memory
from training.holding.resident import Resident
from training.holding.streaming import Streaming
from training.parts import Table, total_bytes

How = Literal["auto", "resident", "streaming", "rendered"]

DEVICE_SHARE = 0.5
"""Of the device's free memory that samples may take: activations and gradients need the rest."""
MACHINE_SHARE = 0.7
"""Of the machine's free memory; the rest is for the page cache and other processes."""


class Holder(Protocol):
    """Samples by position, however they are held.

    Holders may also have: `device`, where batches are (the CPU where it is not said); `scales`,
    what stored numbers stand for; `blocks`, the order in which samples must be asked for;
    `stream(batches)`, which reads ahead.
    """

    @property
    def why(self) -> str: ...

    def __len__(self) -> int: ...

    def batch(self, positions: Tensor) -> Mapping[str, Tensor]: ...

    def close(self) -> None: ...


def hold(
    table: Table,
    how: How = "auto",
    *,
    device: str | torch.device = "cpu",
    batch_size: int = 128,
    memory: int | None = None,
) -> Resident | Streaming | Drawn:
    """The samples of a dataset, held as `how` says; its `why` is a sentence for the log.

    auto: resident on the device where they take at most half of its free memory, resident in the
    machine's where they take at most 0.7 of that, and else streaming. rendered draws images from
    their diagrams, and holds all else as auto does; auto never draws, as what is drawn is not
    rounded as what is stored.
    batch_size: of the batches to come; says how much streaming reads at a time. memory: bytes in
    place of the free ones, of each.
    Raises InvalidSpec, CorruptStore.
    """
    if how not in get_args(How):
        raise InvalidSpec(f"how must be one of {', '.join(get_args(How))}, got {how!r}")
    if not table.parts and not table.numbers:
        raise InvalidSpec(
            "nothing to hold: tensors are made of images, inputs, arrays, labels and numbers; name"
            " some of them (ids, groups and splits of a sample are found by its index)"
        )
    if how == "rendered":
        return _drawn(table, device, batch_size, memory)
    size, target = total_bytes(table), torch.device(device)
    places = [(target, DEVICE_SHARE)] if target.type != "cpu" else []
    for place, share in [*places, (torch.device("cpu"), MACHINE_SHARE)]:
        free = free_memory(place) if memory is None else memory
        room = f"{bytes_text(size)} of samples, {bytes_text(free)} of memory are free on {place}"
        if how != "streaming" and size <= share * free:
            why = f"resident on {place}, decoded once: {room}, of which {share:.0%} may be taken"
            return Resident(table, device=place, why=why)
    if how == "resident":
        raise InvalidSpec(
            f"resident: {room}, of which {MACHINE_SHARE:.0%} may be taken; let hold choose with"
            " auto, take fewer samples or channels, or a store of float16 or uint8"
        )
    found = Streaming(table, batch_size=batch_size)
    found.why = f"streaming, {_manner(found)}: {'as asked' if how == 'streaming' else room}"
    return found


def _drawn(table: Table, device: str | torch.device, batch_size: int, memory: int | None) -> Drawn:
    """The images of a table drawn, and the rest weighed against what diagrams leave free."""

    def hold_rest(rest: Table, taken: int) -> Resident | Streaming:
        left = None if memory is None else max(0, memory - taken)
        held = hold(rest, device=device, batch_size=batch_size, memory=left)
        assert not isinstance(held, Drawn)  # auto never draws
        return held

    return Drawn(table, hold_rest=hold_rest, device=device)


def _manner(holder: Streaming) -> str:
    if holder.blocks is None:
        return "any sample at random"
    chunk = max(part.chunk for part in holder.parts.values())
    return (
        f"chunks of {chunk} samples shuffled in windows of {holder.blocks.window:,} (a mapped store"
        " would be read at random)"
    )
