"""Routes of the catalogue: the stores that a token may read, and one of them in full.

What `pi-cache ls --json` and `pi-cache show --json` tell, without where it lies on this machine.
"""

from __future__ import annotations

import time
from pathlib import PurePath
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pi_cache.catalogue import Entry
from pi_cache.commands.look import describe, listed
from pi_cache.errors import CorruptStore, StorageFailed, UnsupportedFormat
from pi_cache.keeping.pins import read_pins
from pi_cache.query import field_values
from pi_cache.serving import answers
from pi_cache.serving.access import Access, access_of
from pi_cache.serving.sending import damaged
from pi_cache.serving.service import Service
from pi_cache.serving.shelf import Shelved

BROKEN = "this store is damaged; the log of the service says more"


def routes(service: Service) -> list[BaseRoute]:
    """The catalogue."""

    async def stores(request: Request) -> Response:
        return answers.answer(await service.in_thread(documents, service, access_of(request)))

    async def store(request: Request) -> Response:
        key = request.path_params["key"]
        if not access_of(request).may_read(key):
            return answers.missing()
        shelved = None
        try:
            shelved = await service.find(key)
            if shelved is None:
                return answers.missing()
            return answers.answer(await service.in_thread(document, shelved))
        except (CorruptStore, UnsupportedFormat, StorageFailed) as error:
            if shelved is not None and await service.in_thread(service.shelf.is_over, shelved):
                return await store(request)
            damaged(service, error)
            return answers.problem(500, BROKEN)

    return [Route("/v1/stores", stores), Route("/v1/stores/{key}", store)]


def documents(service: Service, access: Access) -> list[Any]:
    """The stores that may be read, the newest first, each as `pi-cache ls --json` tells.

    fields: of its spec, by dotted name, for a page that searches all of them.
    """
    pins, now = read_pins(service.root), time.time()
    found = [
        without_paths(
            listed(_entry(shelved), pins.get(shelved.key), now)
            | {"fields": field_values(shelved.manifest.spec)}
        )
        for shelved in service.shelf.stores(access.may_read, service.tell_unread)
    ]
    return sorted(found, key=lambda store: (store["age"] is None, store["age"]))


def document(shelved: Shelved) -> Any:
    """A store as `pi-cache show --json` tells."""
    return without_paths(describe(shelved.store))


def _entry(shelved: Shelved) -> Entry:
    manifest = shelved.manifest
    return Entry(shelved.key, shelved.path, "finished", manifest.spec, manifest)


def without_paths(value: Any) -> Any:
    """JSON values without `path`, and of other paths of this machine only the last name."""
    if isinstance(value, dict):
        return {name: without_paths(item) for name, item in value.items() if name != "path"}
    if isinstance(value, list | tuple):
        return [without_paths(item) for item in value]
    return PurePath(value).name if isinstance(value, str) and value.startswith("/") else value
