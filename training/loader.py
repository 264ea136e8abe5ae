"""Batches on the device, epoch after epoch, in an order that can be taken up again anywhere."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec
from training.background import in_background
from training.holding.choose import Holder, How, hold
from training.order import Blocks, EpochBatches
from training.parts import Table
from training.selection import DtypeLike, parse_dtype
from training.widen import Scale, widen_batch

Batch = dict[str, Tensor]

CPU = torch.device("cpu")
STATE_VERSION = 1
"""Of what `state_dict` returns."""
UPLOADS = 2
"""Batches that are gathered and pinned ahead of the one that the device works on."""


class Loader:
    """Shuffled batches of a dataset as dicts of tensors; behaves like torch's DataLoader.

        loader = Loader(dataset, 128, seed=0, device="cuda")
        for epoch in range(200):
            loader.set_epoch(epoch)
            for batch in loader:
                train(batch["images"], batch["labels"])

    data: a dataset, which `hold` then holds as `how` says, or a holder.
    shuffle: the order of an epoch is a function of seed, epoch and number of samples, the same
    for any number of ranks; see `training.order` for how ranks share it and for its ragged end.
    rank, ranks: this process among those that train together. drop_last: only full steps.
    device: where batches are delivered; what is held elsewhere is sent there in its stored type
    while the batch before is used. dtype: of what stands for real numbers, once it is there;
    `stored` widens nothing, None is what the dataset says, or float32.
    transform: applied to each whole batch, last.

    `epoch` goes up by one when an epoch ends; `set_epoch` sets it. `state_dict` in the middle of
    an epoch knows what was delivered: a loader that loads it goes on with the same remaining
    order, even with other ranks or another batch size.
    Raises InvalidSpec; CorruptStore here or from an epoch, where a file is damaged.
    """

    def __init__(
        self,
        data: Table | Holder,
        batch_size: int = 128,
        *,
        how: How = "auto",
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
        drop_last: bool = False,
        device: str | torch.device = "cpu",
        dtype: DtypeLike = None,
        transform: Callable[[Batch], Batch] | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.transform = transform
        self.batches = EpochBatches(
            samples=len(data),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            ranks=ranks,
            drop_last=drop_last,
        )
        self.holder: Holder = (
            data  # type: ignore[assignment]
            if hasattr(data, "batch") and hasattr(data, "why")
            else hold(data, how, device=self.device, batch_size=batch_size)
        )
        self.batches.blocks = getattr(self.holder, "blocks", None)
        self.scales: Mapping[str, Scale] = getattr(self.holder, "scales", {})
        self.dtypes = _dtypes(dtype, data, self.scales)
        self._done = 0
        self._resumed = 0

    def __len__(self) -> int:
        """Batches of a whole epoch, on each rank."""
        return len(self.batches)

    def __repr__(self) -> str:
        of = self.batches
        return (
            f"<Loader: {of.samples} samples, {len(self)} batches of {of.batch_size}, rank"
            f" {of.rank} of {of.ranks}; {self.holder.why}>"
        )

    def __iter__(self) -> Iterator[Batch]:
        start, self._resumed = self._resumed, 0
        return self._epoch(start)

    @property
    def why(self) -> str:
        """How samples are held, and why so."""
        return self.holder.why

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration goes through, or the present one."""
        return self.batches.epoch

    def set_epoch(self, epoch: int) -> None:
        """Go through this epoch next: from its beginning, unless it is the one that was resumed."""
        if epoch != self.batches.epoch:
            self._done = self._resumed = 0
        self.batches.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs: plain numbers, the same on every rank."""
        of = self.batches
        return {
            "version": STATE_VERSION,
            "samples": of.samples,
            "seed": of.seed,
            "shuffle": of.shuffle,
            "window": 0 if of.blocks is None else of.blocks.window,
            "epoch": of.epoch,
            "delivered": self._done,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken. Raises InvalidSpec where that is another order."""
        mine = self.state_dict()
        if mine["window"] and state.get("window"):
            mine["window"] = state["window"]  # it follows from the batch size, which may change
        differ = [
            f"{name} was {state.get(name)!r} and is {mine[name]!r}"
            for name in mine
            if name not in ("epoch", "delivered") and state.get(name) != mine[name]
        ]
        if differ:
            raise InvalidSpec(
                f"this state is of another order of samples: {', '.join(differ)}; make the loader"
                " with what the job began with"
            )
        if self.batches.blocks is not None:
            self.batches.blocks = Blocks(self.batches.blocks.of, int(state["window"]))
        self.batches.set_epoch(int(state["epoch"]))
        self._done = self._resumed = int(state["delivered"])

    def close(self) -> None:
        """Let go of what is held."""
        self.holder.close()

    def _epoch(self, start: int) -> Generator[Batch, None, None]:
        epoch, order = self.epoch, self.batches.order()
        shares = self.batches.shares(start)
        self._done = start
        source = self._delivered([order[share.start : share.stop] for share in shares])
        try:
            for number, batch in enumerate(source):
                self._done += shares[number].total
                yield batch if self.transform is None else self.transform(batch)
                del batch
        finally:
            source.close()
        if self.epoch == epoch:
            self.batches.set_epoch(epoch + 1)
            self._done = 0

    def _delivered(self, batches: list[Tensor]) -> Generator[Batch, None, None]:
        """Batches on the device, widened."""
        here = self.device.type == getattr(self.holder, "device", CPU).type
        for batch in self._read(batches) if here else self._sent(batches):
            yield widen_batch(batch, self.dtypes, self.scales) if self.dtypes else dict(batch)
            del batch

    def _read(self, batches: list[Tensor]) -> Iterator[Mapping[str, Tensor]]:
        stream = getattr(self.holder, "stream", None)
        return map(self.holder.batch, batches) if stream is None else stream(batches)

    def _sent(self, batches: list[Tensor]) -> Generator[Mapping[str, Tensor], None, None]:
        """Pinned by a thread, so that sending one never waits and never holds up the device."""
        running = in_background(map(_pinned, self._read(batches)), depth=UPLOADS)
        try:
            for batch in running:
                yield {k: v.to(self.device, non_blocking=True) for k, v in batch.items()}
        finally:
            running.close()


def _pinned(batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The batch in memory that a device reads from by itself.

    The copies are torch's own, which it does not use again before the device has read them.
    """
    if not torch.cuda.is_available():
        return batch
    return {name: tensor.pin_memory() for name, tensor in batch.items()}


def _dtypes(
    dtype: DtypeLike, data: Table | Holder, scales: Mapping[str, Scale]
) -> dict[str, torch.dtype]:
    """By name, the type in which tensors are delivered that are not delivered as stored."""
    given = parse_dtype(dtype)
    own = getattr(data, "dtypes", {}) if dtype is None else {}
    asked = {name: own.get(name, given) for name in scales}
    return {name: kind for name, kind in asked.items() if kind is not None}
