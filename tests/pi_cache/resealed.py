"""Stores with other content and the right digests everywhere, as a faulty program would write."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from pi_cache.manifest import FileEntry, ShardRecord, StoreManifest, files_digest


def forge(path: Path, name: str, data: bytes) -> None:
    """Put other bytes into a file of a store, and their digest into record and manifest."""
    (path / name).write_bytes(data)
    entry = FileEntry(len(data), hashlib.sha256(data).hexdigest())
    for place in (path / "ledger").iterdir():
        record = ShardRecord.from_bytes(place.read_bytes())
        if name in record.files:
            place.write_bytes(replace(record, files={**record.files, name: entry}).to_bytes())
    manifest = StoreManifest.from_bytes((path / "manifest.json").read_bytes())
    listed = {**manifest.files, name: entry}
    reseal(path / "manifest.json", files=listed, digest=files_digest(listed))


def reseal(place: Path, **changes: Any) -> None:
    """Change fields of a manifest or a record, and its checksum with them."""
    kind: Any = StoreManifest if place.name == "manifest.json" else ShardRecord
    place.write_bytes(replace(kind.from_bytes(place.read_bytes()), **changes).to_bytes())
