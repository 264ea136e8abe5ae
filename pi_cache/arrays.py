"""Which arrays of users may be opened with zarr: those of numbers, through harmless codecs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pi_cache import files
from pi_cache.errors import SourceError, StorageFailed
from pi_cache.manifest import MALFORMED

SAFE_CODECS = {
    "bytes", "blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma", "crc32c", "crc32", "adler32",
    "fletcher32", "transpose", "sharding_indexed", "shuffle", "delta", "fixedscaleoffset",
    "quantize", "packbits", "bitround",
}  # fmt: skip
"""What a user's array may name; `pickle` and object codecs would run or build anything."""


def check_array(path: Path) -> None:
    """Raise SourceError unless the metadata in a folder are those of a harmless array."""
    dtype, names = _array_metadata(path)
    if "O" in dtype or dtype in ("string", "variable_length_bytes", "struct"):
        raise SourceError(f"{path}: arrays of {dtype} are not read; store numbers")
    refused = sorted(names - SAFE_CODECS)
    if refused:
        raise SourceError(
            f"{path}: codec {', '.join(refused)} is not allowed; write the array again with"
            " zstd, blosc, gzip or no compression"
        )


def _array_metadata(path: Path) -> tuple[str, set[str]]:
    """Data type and the names of all codecs, from the metadata alone."""
    for name in ("zarr.json", ".zarray"):
        try:
            metadata = json.loads(files.read_bytes(path / name))
            if name == ".zarray":
                stages = [metadata["compressor"], *(metadata["filters"] or [])]
                return str(metadata["dtype"]), {stage["id"] for stage in stages if stage}
            return _data_type(metadata["data_type"]), set(_codec_names(metadata["codecs"]))
        except FileNotFoundError:
            continue
        except StorageFailed as error:
            if error.errno not in files.NO_NAME:
                raise
        except MALFORMED as error:
            raise SourceError(f"{path}: no metadata of a Zarr array ({error!r:.200})") from error
    raise SourceError(f"{path}: no Zarr array here; give the folder that holds zarr.json")


def _data_type(document: Any) -> str:
    return document if isinstance(document, str) else str(document["name"])


def _codec_names(codecs: Sequence[Any]) -> list[str]:
    """Names of codecs, with those inside a sharding codec."""
    names = []
    for codec in codecs:
        name = codec if isinstance(codec, str) else codec["name"]
        names.append(str(name).removeprefix("numcodecs."))
        inner = {} if isinstance(codec, str) else codec.get("configuration", {})
        names += _codec_names([*inner.get("codecs", []), *inner.get("index_codecs", [])])
    return names
