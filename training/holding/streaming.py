"""More than memory holds: batches read from disk in the order that is known ahead."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from pi_cache.layout import SMALL_ROW
from training.background import in_background
from training.holding.resident import decode_all
from training.holding.windows import Recycled
from training.order import Blocks
from training.parts import Part, Rows, Table, scales_of
from training.widen import Scale

AHEAD = 4
"""Batches that the system is asked to read before they are taken."""
WINDOW_BYTES = 1 << 28
"""Of a window of samples that are shuffled together, unless that is too few blocks."""
GROUP_BYTES = 1 << 25
"""Of samples that are compressed one by one and are read together, from each shard at once."""
BLOCKS_A_SAMPLE = 16
"""Blocks in a window for each sample of a batch: then a batch has 97 % of the classes that one of
a true shuffle has, even where samples are sorted by class."""


class Streaming:
    """Batches of a table from disk: at random where single samples can be read, else by windows.

    batch_size: that the batches will have, which says how large a window must be.
    `blocks` is the order in which samples must be asked for, None for any; other orders work and
    decode a chunk for each sample. `stream` reads ahead in a thread.
    """

    device = torch.device("cpu")

    def __init__(self, table: Table, *, batch_size: int = 128, why: str = "") -> None:
        self.why = why
        small = {name: part for name, part in table.parts.items() if is_small(part)}
        self.parts = {name: part for name, part in table.parts.items() if name not in small}
        self.resident = {name: decode_all(part, self.device) for name, part in small.items()}
        self.resident |= {name: torch.tensor(known) for name, known in table.numbers.items()}
        self._names = (*table.parts, *table.numbers)
        self.scales: Mapping[str, Scale] = scales_of(table)
        self._count = len(table)
        self.blocks = self._blocks(batch_size)
        self._pools: dict[str, Recycled] = {}

    def __len__(self) -> int:
        return self._count

    def batch(self, positions: Tensor) -> dict[str, Tensor]:
        """New tensors (n, ...) of the samples at positions (n,) int64. Raises CorruptStore."""
        where = positions.numpy()
        found = {n: torch.from_numpy(part.take(where)) for n, part in self.parts.items()}
        return self._with_resident(found, positions)

    def stream(self, batches: Sequence[Tensor]) -> Generator[dict[str, Tensor], None, None]:
        """The batches at these positions, one after the other, read ahead by a thread.

        Batches that were decoded together share memory, which is used again when all of them are
        gone: who keeps a few for long should keep clones. Raises CorruptStore.
        """
        if self._together is None:
            yield from in_background(self._at_random(batches), depth=AHEAD)
            return
        groups = list(_grouped([len(batch) for batch in batches], self._together))
        windows = (self._window(batches[start:stop]) for start, stop in groups)
        sizes = [[len(batch) for batch in batches[start:stop]] for start, stop in groups]
        running = in_background(windows)
        try:
            for cuts in sizes:
                window = next(running)
                split = {name: torch.split(whole, cuts) for name, whole in window.items()}
                del window
                for parts in zip(*split.values(), strict=True):
                    yield dict(zip(split, parts, strict=True))
                del split, parts
        finally:
            running.close()

    def close(self) -> None:
        """Let go of memory and files."""
        self.parts, self._pools, self.resident = {}, {}, {}

    def _at_random(self, batches: Sequence[Tensor]) -> Iterator[dict[str, Tensor]]:
        mapped = [part for part in self.parts.values() if part.is_mapped]
        for batch in batches[:AHEAD]:
            _hint(mapped, batch.numpy())
        for number, batch in enumerate(batches):
            if number + AHEAD < len(batches):
                _hint(mapped, batches[number + AHEAD].numpy())
            yield self.batch(batch)

    def _window(self, batches: Sequence[Tensor]) -> dict[str, Tensor]:
        """The samples of several batches, each decoded into the place where it is delivered."""
        positions = torch.cat(list(batches))
        where, found = positions.numpy(), {}
        for name, part in self.parts.items():
            memory, whole = self._pool(name, part, len(where)).take()
            part.fill(where, memory[: len(where)])
            found[name] = whole[: len(where)]
        return self._with_resident(found, positions)

    def _with_resident(self, found: dict[str, Tensor], positions: Tensor) -> dict[str, Tensor]:
        """With the tensors that are in memory, all in the order of the table."""
        found |= {name: known.index_select(0, positions) for name, known in self.resident.items()}
        return {name: found[name] for name in self._names}

    def _pool(self, name: str, part: Part, rows: int) -> Recycled:
        pool = self._pools.get(name)
        if pool is None or pool.shape[0] < rows:
            pool = self._pools[name] = Recycled((rows, *part.shape), part.dtype)
        return pool

    def _blocks(self, batch_size: int) -> Blocks | None:
        """The chunks of the part that costs most to decode; None where no part has any."""
        coded = [part for part in self.parts.values() if part.chunk > 1]
        if not coded:
            return None
        part = max(coded, key=lambda part: part.bytes)
        window = max(BLOCKS_A_SAMPLE * batch_size * part.chunk, WINDOW_BYTES // self._row)
        return Blocks(part.rows // part.chunk, min(window, self._count))

    @property
    def _together(self) -> int | None:
        """Samples that are decoded together; None where batches are read one by one, as they are.

        A visit to a shard costs as much as a few small samples, so it should be for many.
        """
        if self.blocks is not None:
            return self.blocks.window
        coded = any(part.is_coded for part in self.parts.values())
        mapped = any(part.is_mapped for part in self.parts.values())
        return max(1, GROUP_BYTES // self._row) if coded and not mapped else None

    @property
    def _row(self) -> int:
        """Bytes of a sample, decoded."""
        return max(1, sum(part.bytes for part in self.parts.values()) // max(1, self._count))


def is_small(part: Part) -> bool:
    """Whether a store keeps all its rows of a shard in one chunk: then they are kept in memory."""
    return part.chunk > 1 and part.bytes < SMALL_ROW * len(part)


def _hint(mapped: Sequence[Part], positions: Rows) -> None:
    for part in mapped:
        part.ahead(positions)


def _grouped(sizes: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """First and last batch of each group, of `most` samples at most or of one batch."""
    ends = np.cumsum([0, *sizes])
    start = 0
    while start < len(sizes):
        stop = max(start + 1, int(np.searchsorted(ends, ends[start] + most, "right")) - 1)
        yield start, stop
        start = stop
