"""What a build will add to a cache: bytes and files, from the best that is known before it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pi_cache import files
from pi_cache.catalogue import lost_samples, read_manifest
from pi_cache.keeping.space import Need
from pi_cache.layout import Column, Layout
from pi_cache.ledger import Build, records_of
from pi_cache.manifest import ShardRecord, StoreManifest
from pipeline.plan import Cost, count_files
from pipeline.sources.base import Source

DESCRIBED = 4
"""Documents that describe an array whole: its metadata and that of all, blueprint, manifest."""
ARRAY_BYTES, STORE_BYTES = 1500, 6000
"""What the metadata of an array takes besides, and the other documents of a store, as measured."""
SHARD_BYTES, FILE_BYTES = 800, 280
"""A shard in its record and the manifest, and there each of its files, as measured."""
TABLE_ROW = 8
"""A sample in a table: few bytes of a label, more of an id, both compressed."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """A build, as far as it decides how much a cache grows by it.

    tables: arrays of one value a sample, such as the labels. records: of the shards that are there.
    donor: a store with the same diagrams. also: the arrays of another store of these diagrams that
    is to be built too.
    """

    samples: int
    columns: Sequence[Column]
    layout: Layout
    tables: int
    records: Sequence[ShardRecord] = ()
    donor: StoreManifest | None = None
    also: Sequence[Column] = ()

    @property
    def is_known(self) -> bool:
        """Whether there is something better to go by than the size before compression."""
        return self.donor is not None or self.recorded > 0

    @property
    def recorded(self) -> int:
        """Samples of the shards that are there."""
        return sum(record.stop - record.start for record in self.records)

    def need(self, cost: Cost | None = None) -> Need:
        """What all that is missing takes. cost: of a sample, where it was measured."""
        each = self.bytes_per_sample(cost)
        shards = -(-self.samples // self.layout.shard_samples)
        small = self.document_bytes(shards)
        whole = Need(
            bytes=int(self.samples * each) + small,
            files=count_files(shards, len(self.columns), self.tables)
            + count_folders(len(self.columns), self.tables),
        )
        rest = whole
        if self.records:
            missing = shards - len(self.records)
            rest = Need(
                bytes=int((self.samples - self.recorded) * each) + missing * self._record_bytes,
                files=missing * (len(self.columns) + 1),
            )
        if not self.also:
            return rest
        larger = row_bytes(self.also) / row_bytes(self.columns)
        second = int(self.samples * each * larger) + small
        return rest + Need(bytes=second, files=whole.files)

    def document_bytes(self, shards: int) -> int:
        """What a store takes besides its shards: tables, metadata, records, other documents.

        Of a store of few and small samples, most of it.
        """
        described = sum(len(json.dumps(column.to_dict(), indent=1)) for column in self.columns)
        arrays = len(self.columns) + self.tables
        metadata = DESCRIBED * described + ARRAY_BYTES * arrays + STORE_BYTES
        return metadata + TABLE_ROW * self.samples * self.tables + shards * self._record_bytes

    @property
    def _record_bytes(self) -> int:
        return SHARD_BYTES + FILE_BYTES * len(self.columns)

    def bytes_per_sample(self, cost: Cost | None = None) -> float:
        """Stored bytes of one sample, by the first that there is of four.

        The shards that are there; a measured cost; the donor, as whose images these are taken to
        compress; else each sample counts as large as before compression, without its diagram, whose
        points nobody has counted. For images that compress well, the last is too much.
        """
        if self.recorded:
            sizes = (entry.size for record in self.records for entry in record.files.values())
            return sum(sizes) / self.recorded
        if cost is not None:
            return cost.stored
        return sum(self._column_bytes(column) for column in self.columns)

    def _column_bytes(self, column: Column) -> float:
        """Of one array and sample."""
        raw = 0 if column.ragged else column.row_bytes
        donor, compressed = self.donor, self.layout.codec != "none" or column.ragged
        same = [c for c in donor.columns if c.name == column.name] if donor is not None else []
        if donor is None or not same or not compressed:
            return raw
        stored = sum(donor.files[same[0].shard_file(k)].size for k in range(donor.shards))
        return stored / donor.samples * column.row_bytes / same[0].row_bytes


def growth_of(
    source: Source,
    columns: Sequence[Column],
    layout: Layout,
    *,
    before: Build | None,
    donor: Path | None = None,
    also: Sequence[Column] = (),
    retry: bool = False,
) -> Growth:
    """The growth by the build of a source.

    before: the store as an earlier run left it. donor: a store with the same diagrams. also: see
    Growth. retry: shards with samples to be computed again count as missing; their old files stay
    in quarantine. So do those of which a file is gone or of another size than was recorded.
    """
    records = [] if before is None else [r for r in records_of(before) if _is_there(before, r)]
    return Growth(
        samples=len(source),
        columns=columns,
        layout=layout,
        tables=2 + any(source.groups) + any(source.splits),
        records=[record for record in records if not (retry and lost_samples(record.status))],
        donor=None if donor is None else read_manifest(donor),
        also=also,
    )


def _is_there(build: Build, record: ShardRecord) -> bool:
    """Whether every file of a shard has its size; the build compares digests, which takes long."""
    try:
        return all(
            files.size(build.path / name) == entry.size for name, entry in record.files.items()
        )
    except FileNotFoundError:
        return False


def row_bytes(columns: Sequence[Column]) -> int:
    """Bytes of one sample before compression, without its diagram."""
    return sum(column.row_bytes for column in columns if not column.ragged)


def count_folders(arrays: int, tables: int) -> int:
    """Folders of a store: one an array and table, the store's own, and four inside it."""
    return arrays + tables + 5
