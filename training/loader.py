"""Batches on the device, epoch after epoch, in an order that can be taken up again anywhere."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec
from training.background import in_background
from training.holding.choose import Holder, How, hold
from training.order import Blocks, EpochBatches
from training.parts import Table
from training.selection import DtypeLike, described, parse_dtype, whole_number
from training.widen import Scale, widen_batch

Batch = dict[str, Tensor]

CPU = torch.device("cpu")
STATE_VERSION = 2
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
    device: where batches are delivered, None where a holder has them, or the CPU; what is held
    elsewhere is sent there in its stored type while the batch before is used. dtype: of what
    stands for real numbers, once it is there; `stored` widens nothing, None is what the dataset
    says, or float32.
    transform: applied to each whole batch, last. One with a `check_parts`, as AugmentedBatches has,
    is asked first whether it is made for this dataset.

    `epoch` goes up by one when an epoch ends; `set_epoch` sets it. `state_dict` in the middle of
    an epoch knows what was delivered: a loader that loads it goes on with the same remaining
    order, even with other ranks or another batch size. Of several iterators at once, the one that
    began last counts.
    Raises InvalidSpec, also where ranks could come to hold samples in ways whose orders differ;
    CorruptStore here or from an epoch, where a file is damaged.
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
        device: str | torch.device | None = None,
        dtype: DtypeLike = None,
        transform: Callable[[Batch], Batch] | None = None,
    ) -> None:
        self.device = torch.device(getattr(data, "device", CPU) if device is None else device)
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
        self.holder = self._held(data, how)
        self.batches.blocks = getattr(self.holder, "blocks", None)
        self._division = _division(self.batches.blocks)
        self.scales: Mapping[str, Scale] = getattr(self.holder, "scales", {})
        self.dtypes = _dtypes(dtype, data, self.scales)
        self._done = 0
        self._resumed = 0
        self._running: object = None
        self._closed = False

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
        if self._closed:
            raise InvalidSpec("this loader was closed and holds nothing; make another")
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
            self._begin(epoch, 0)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs: plain numbers, the same on every rank."""
        of = self.batches
        return {
            "version": STATE_VERSION,
            "samples": of.samples,
            "seed": of.seed,
            "shuffle": of.shuffle,
            "window": 0 if of.blocks is None else of.blocks.window,
            "blocks": self._division,
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
                " with what the job began with, of the same store, and with how='streaming' where"
                " the window was not 0, else how='resident'"
            )
        epoch, delivered = (whole_number(state.get(name)) for name in ("epoch", "delivered"))
        if epoch is None or delivered is None or not 0 <= delivered <= self.batches.samples:
            raise InvalidSpec(
                f"a state has an epoch and what was delivered in it, 0..{self.batches.samples}"
                f" samples, got {state.get('epoch')!r} and {state.get('delivered')!r}"
            )
        if self.batches.blocks is not None:
            self.batches.blocks = Blocks(self.batches.blocks.of, int(state["window"]))
        self._begin(epoch, delivered)

    def close(self) -> None:
        """Let go of what is held."""
        self._closed = True
        self.holder.close()

    def _held(self, data: Table | Holder, how: How) -> Holder:
        """A holder as it is, or one of a dataset that goes with the transform and the ranks."""
        if hasattr(data, "batch") and hasattr(data, "why"):
            return data  # type: ignore[return-value]
        if not hasattr(data, "parts"):
            raise InvalidSpec(
                "Loader takes a PersistenceImageDataset, a JoinedDataset or what holds samples, got"
                f" {described(data)}; of some samples take PersistenceImageDataset(store,"
                " samples=...) or JoinedDataset(...).view(...)"
            )
        check = getattr(self.transform, "check_parts", None)
        if check is not None:
            check(data.parts)
        holder = hold(data, how, device=self.device, batch_size=self.batches.batch_size)
        if self.batches.ranks > 1 and how in ("auto", "rendered"):
            _check_one_order(holder)
        return holder

    def _begin(self, epoch: int, delivered: int) -> None:
        """Go on there next; an iterator that is under way does not count any more."""
        self.batches.set_epoch(epoch)
        self._done = self._resumed = delivered
        self._running = None

    def _epoch(self, start: int) -> Generator[Batch, None, None]:
        epoch, order = self.epoch, self.batches.order()
        shares = self.batches.shares(start)
        self._done, self._running = start, (mine := object())
        source = self._delivered([order[share.start : share.stop] for share in shares])
        try:
            for number, batch in enumerate(source):
                if self.transform is not None:
                    batch = self.transform(batch)
                if self._running is mine:
                    self._done += shares[number].total
                yield batch
                del batch
        finally:
            source.close()
        if self._running is mine:
            self._begin(epoch + 1, 0)

    def _delivered(self, batches: list[Tensor]) -> Generator[Batch, None, None]:
        """Batches on the device, widened."""
        sent = _differ(self.device, getattr(self.holder, "device", CPU))
        for batch in self._sent(batches) if sent else self._read(batches):
            yield widen_batch(batch, self.dtypes, self.scales) if self.dtypes else dict(batch)
            del batch

    def _read(self, batches: list[Tensor]) -> Iterator[Mapping[str, Tensor]]:
        stream = getattr(self.holder, "stream", None)
        if stream is not None:
            return stream(batches)  # type: ignore[no-any-return]
        return (self.holder.batch(batch) for batch in batches)

    def _sent(self, batches: list[Tensor]) -> Generator[Mapping[str, Tensor], None, None]:
        """Pinned by a thread, so that sending one never waits and never holds up the device."""
        running = in_background(map(_pinned, self._read(batches)), depth=UPLOADS)
        wait = self.device.type == "cpu"  # else its numbers would be read before they are there
        try:
            for batch in running:
                yield {k: v.to(self.device, non_blocking=not wait) for k, v in batch.items()}
        finally:
            running.close()


def _pinned(batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The batch in memory that a device reads from by itself.

    The copies are torch's own, which it does not use again before the device has read them.
    """
    if not torch.cuda.is_available():
        return batch
    return {k: v.pin_memory() if v.device == CPU else v for k, v in batch.items()}


def _differ(one: torch.device, other: torch.device) -> bool:
    """Whether these are two devices; one without a number is the present one of its kind."""
    numbered = None not in (one.index, other.index)
    return one.type != other.type or (numbered and one != other)


def _check_one_order(holder: Holder) -> None:
    """Each rank chooses by the memory that it finds free, and blocks have an order of their own."""
    if getattr(holder, "blocks", None) is not None:
        raise InvalidSpec(
            "ranks must hold samples in one way, or some are delivered twice and others never; auto"
            f" chooses for this rank alone: {holder.why}. Say how='streaming' or how='resident' on"
            " every rank, or build a mapped store, whose order is the same either way"
        )


def _division(blocks: Blocks | None) -> int:
    """A number that tells one division of samples into blocks from another; 0 for none."""
    return 0 if blocks is None else zlib.crc32(blocks.of.astype("<i8").tobytes())


def _dtypes(
    dtype: DtypeLike, data: Table | Holder, scales: Mapping[str, Scale]
) -> dict[str, torch.dtype]:
    """By name, the type in which tensors are delivered that are not delivered as stored."""
    given = parse_dtype(dtype)
    own = getattr(data, "dtypes", {}) if dtype is None else {}
    asked = {name: own.get(name, given) for name in scales}
    return {name: kind for name, kind in asked.items() if kind is not None}
