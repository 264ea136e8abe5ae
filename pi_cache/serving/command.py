"""From the options of `pi-cache serve` to a running service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pi_cache import files
from pi_cache.errors import StoreNotFound
from pi_cache.root import check_root
from pi_cache.serving.builds.beside import build_on_demand
from pi_cache.serving.builds.settings import BuildSettings
from pi_cache.serving.limits import Limits
from pi_cache.serving.log import Log
from pi_cache.serving.run import is_loopback, serve
from pi_cache.serving.service import Service
from pi_cache.serving.tokens import TokenFolder


def run(
    root: Path,
    *,
    host: str,
    port: int,
    tokens: Path | None,
    insecure: bool,
    allow_host: Sequence[str],
    certificate: Path | None,
    key: Path | None,
    log: Path | None,
    ready: Callable[[str], object],
    building: BuildSettings | None = None,
    **limits: Any,
) -> None:
    """Serve until told to end. limits: fields of `Limits`. building: what is
    built on demand.

    Raises StoreNotFound, InvalidSpec, UnsupportedFormat, ServiceRefused, UnsafeTokens, OSError.
    """
    if not files.is_folder(root):
        raise StoreNotFound(f"{root}: no such folder; build a store there first, or name a cache")
    check_root(root)
    service = Service(
        root=root.absolute(),
        limits=Limits(**limits),
        tokens=None if tokens is None else TokenFolder(tokens.absolute()),
        hosts=frozenset(name.lower() for name in allow_host),
        log=Log(log),
    )
    if building is not None:
        build_on_demand(service, building, by_everybody=is_loopback(host))
    serve(service, host, port, certificate=certificate, key=key, insecure=insecure, ready=ready)
