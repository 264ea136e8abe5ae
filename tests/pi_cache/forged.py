"""Documents put together by somebody else, with the right digests; see `resealed` too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c

from pi_cache.shards import CHECKSUM
from pi_cache.specs import canonical_digest
from tests.pi_cache.resealed import forge


def forge_json(store: Path, listed: str, change: Callable[[Any], object]) -> None:
    """Let `change` change a listed JSON document in place, and its digest everywhere."""
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
