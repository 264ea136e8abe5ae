"""What a build will do: shards, files, bytes, memory and time. Pure: decides, touches nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pi_cache.keeping.space import Need
from pi_cache.specs import StoreSpec

LARGEST_SHARD = 4096
"""Samples; more would lose too much to a crash and need too much memory."""
SHARD_SECONDS = 120.0
"""A shard is at most about this long, so that a killed job loses minutes."""
FEWEST_SHARDS = 6
"""Of a data set of over 1,024 samples, so that a few workers all have something to do."""
SMALLEST_USEFUL_SHARD = 256
CHUNK = 8
OPENING = 0.004
"""Seconds that a shard takes beside its samples, about: its files are made, and made durable."""
LARGEST_HELD = 512 * 2**20
"""Bytes of a shard that a worker holds at most."""
BASE_MEMORY = 280 * 2**20
"""What a worker takes before its first sample: interpreter, libraries, compiled kernels, and the
few megabytes that it computes at a time."""
CHILD_MEMORY = 200 * 2**20
"""What its child takes before its first field, where a library has one: interpreter, library."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Measured on a few samples: seconds and bytes of one sample.

    stored is compressed, as on disk; held is what a worker keeps of a sample until its shard is
    written.
    """

    read: float
    diagrams: float
    images: float
    encode: float
    points: float
    stored: float
    held: float

    @property
    def seconds(self) -> float:
        """One sample from file to encoded shard, on one core."""
        return self.read + self.diagrams + self.images + self.encode


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which shards there are and what they will take; `to_dict` is for printing.

    adds: what is still missing of it in the cache, with the store of raw images where one is
    needed first. reading_again: seconds that workers take together to read recordings which others
    read too.
    """

    spec: StoreSpec
    samples: int
    shard_samples: int
    shard_arrays: int
    tables: int
    cost: Cost
    workers: int
    adds: Need
    field_memory: float = 0.0
    reader_memory: int = 0
    reading_again: float = 0.0

    @property
    def shards(self) -> list[range]:
        """The samples of each shard: contiguous, all of one size but the last."""
        return shard_ranges(self.samples, self.shard_samples)

    @property
    def files(self) -> int:
        """Files of the finished store."""
        return count_files(len(self.shards), self.shard_arrays, self.tables)

    @property
    def stored_bytes(self) -> int:
        return int(self.samples * self.cost.stored)

    @property
    def memory(self) -> int:
        """Peak bytes of one worker: its largest shard, held once and encoded once, and a field.

        With those of its child, where it has one, and of reading a sample, where that takes many.
        """
        largest = min(self.shard_samples, self.samples)
        shard = largest * (self.cost.held + 2 * self.cost.stored)
        return int(BASE_MEMORY + shard + self.field_memory + self.reader_memory)

    @property
    def seconds(self) -> float:
        """Wall time of the build after start-up."""
        rounds = math.ceil(len(self.shards) / self.workers)
        samples = min(rounds * self.shard_samples, self.samples)
        reading = self.reading_again / self.workers
        return samples * self.cost.seconds + rounds * OPENING + reading

    @property
    def core_seconds(self) -> float:
        """What all workers take together."""
        opening = len(self.shards) * OPENING
        return self.samples * self.cost.seconds + opening + self.reading_again

    def to_dict(self) -> dict[str, Any]:
        """Plain values, in bytes and seconds; of diagrams only where there are any."""
        document: dict[str, Any] = {
            "key": self.spec.key,
            "samples": self.samples,
            "shards": len(self.shards),
            "shard_samples": self.shard_samples,
            "files": self.files,
            "bytes": self.stored_bytes,
            "adds": {"bytes": self.adds.bytes, "files": self.adds.files},
            "memory_per_worker": self.memory,
            "workers": self.workers,
            "seconds": self.seconds,
            "core_seconds": self.core_seconds,
            "seconds_per_sample": {
                "read": self.cost.read,
                "diagrams": self.cost.diagrams,
                "images": self.cost.images,
                "encode": self.cost.encode,
            },
            "reading_again": self.reading_again,
            "points_per_sample": self.cost.points,
        }
        if self.spec.gramian is not None:
            del document["points_per_sample"], document["seconds_per_sample"]["diagrams"]
        return document


def choose_shard_samples(samples: int, seconds_per_sample: float, held: float = 0.0) -> int:
    """Samples a shard: shards of equal size, whole chunks, minutes of work and memory at most.

    seconds_per_sample: on one core. held: bytes a sample that a worker keeps.

    The time limit counts in powers of two, so that two measurements of one build agree.
    """
    by_time = max(SHARD_SECONDS / max(seconds_per_sample, 1e-9), CHUNK)
    by_memory = max(LARGEST_HELD / max(held, 1.0), CHUNK)
    largest = min(LARGEST_SHARD, 1 << int(math.log2(by_time)), 1 << int(math.log2(by_memory)))
    count = max(
        math.ceil(samples / largest),
        min(FEWEST_SHARDS, math.ceil(samples / SMALLEST_USEFUL_SHARD)),
    )
    return math.ceil(samples / count / CHUNK) * CHUNK


def count_files(shards: int, arrays: int, tables: int) -> int:
    """Files of a store: one a shard and array, a record a shard, metadata."""
    return shards * (arrays + 1) + arrays + 2 * tables + 5


def shard_ranges(samples: int, shard_samples: int) -> list[range]:
    """The samples of each shard."""
    return [
        range(start, min(start + shard_samples, samples))
        for start in range(0, samples, shard_samples)
    ]


def spread(samples: int, wanted: int) -> list[int]:
    """Positions of a few samples, spread over the whole; sorted, distinct."""
    return sorted({int(i) for i in np.linspace(0, samples - 1, min(wanted, samples))})
