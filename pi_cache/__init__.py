"""Persistence images, computed once and read as arrays: the vocabulary and the storage.

Nothing is imported before it is asked for; reading a store never imports zarr.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pi_cache.errors import (
        CorruptStore,
        InvalidSpec,
        PiCacheError,
        StoreNotFound,
        UnfinishedStore,
        UnsupportedFormat,
    )
    from pi_cache.reader import Store, open_store
    from pi_cache.specs import DiagramSpec, ImageSpec, SourceSpec, Status, StoreSpec
    from pi_cache.store import open_zarr

__all__ = [
    "CorruptStore",
    "DiagramSpec",
    "ImageSpec",
    "InvalidSpec",
    "PiCacheError",
    "SourceSpec",
    "Status",
    "Store",
    "StoreNotFound",
    "StoreSpec",
    "UnfinishedStore",
    "UnsupportedFormat",
    "open_store",
    "open_zarr",
]

_HOMES = {
    "errors": (
        "CorruptStore",
        "InvalidSpec",
        "PiCacheError",
        "StoreNotFound",
        "UnfinishedStore",
        "UnsupportedFormat",
    ),
    "reader": ("Store", "open_store"),
    "specs": ("DiagramSpec", "ImageSpec", "SourceSpec", "Status", "StoreSpec"),
    "store": ("open_zarr",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
