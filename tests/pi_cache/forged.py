"""Stores put together by somebody else: what is in them has the right digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c

from pi_cache.shards import CHECKSUM
from pi_cache.specs import canonical_digest


def forge(store: Path, listed: str, data: bytes) -> None:
    """Put other bytes into a file, and their digest into the manifest."""
    (store / listed).write_bytes(data)
    document = json.loads((store / "manifest.json").read_bytes())
    document["files"][listed] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (store / "manifest.json").write_bytes(sealed(document))


def forge_json(store: Path, listed: str, change: Callable[[Any], object]) -> None:
    """As `forge`, for a document that `change` changes in place."""
    document = json.loads((store / listed).read_bytes())
    change(document)
    forge(store, listed, json.dumps(document).encode())


def sealed(manifest: dict[str, Any]) -> bytes:
    """A manifest with the digests that fit its content."""
    entries = sorted(manifest["files"].items())
    lines = "".join(f"{path}\0{entry['sha256']}\n" for path, entry in entries)
    manifest["digest"] = hashlib.sha256(lines.encode()).hexdigest()
    content = {name: value for name, value in manifest.items() if name != "checksum"}
    return json.dumps(content | {"checksum": canonical_digest(content)}).encode()


def with_checksum(data: bytes) -> bytes:
    """The bytes and their CRC32C."""
    return data + int(google_crc32c.value(data)).to_bytes(CHECKSUM, "little")
