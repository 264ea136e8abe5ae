"""The web page: its files, read once when the service starts, and what its reader may do."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pi_cache.builders import builder
from pi_cache.errors import BuilderNotInstalled
from pi_cache.serving.access import Access, access_of
from pi_cache.serving.answers import answer, missing
from pi_cache.serving.service import Service

INDEX = "index.html"
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
"""Nothing from elsewhere, nothing inline; no script makes markup of text (trusted types)."""
HEADERS = MappingProxyType(
    {
        "Content-Security-Policy": POLICY,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache",  # kept, and asked for by its ETag each time
    }
)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page, its type and its strong ETag."""

    content: bytes
    type: str

    @property
    def etag(self) -> str:
        """The quoted start of its SHA-256."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


def read_assets() -> Mapping[str, Asset]:
    """Every file of the page by its name; a request is only ever looked up among these."""
    found = {}
    for place in resources.files("pi_cache.serving").joinpath("page").iterdir():
        kind = TYPES.get(place.name.rpartition(".")[2])
        if kind is not None:
            found[place.name] = Asset(place.read_bytes(), kind)
    return MappingProxyType(found)


def routes(service: Service) -> list[BaseRoute]:
    """`/`, `/page/NAME`, and `/v1/access`: who asks, and what they may."""
    assets = read_assets()
    tags = {name: asset.etag for name, asset in assets.items()}

    def send(request: Request, name: str) -> Response:
        asset = assets.get(name)
        if asset is None:
            return missing()
        headers = {**HEADERS, "ETag": tags[name]}
        if tags[name] in _known(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        return Response(asset.content, headers=headers, media_type=asset.type)

    async def show_index(request: Request) -> Response:
        return send(request, INDEX)

    async def show_asset(request: Request) -> Response:
        return send(request, request.path_params["name"])

    async def show_access(request: Request) -> Response:
        offered = await service.in_thread(may_ask_for, service, access_of(request))
        return answer(access_document(service, access_of(request)) | offered)

    return [
        Route("/", show_index, methods=["GET"]),
        Route("/page/{name}", show_asset, methods=["GET"]),
        Route("/v1/access", show_access, methods=["GET"]),
    ]


def access_document(service: Service, access: Access) -> dict[str, Any]:
    """Who asks, and what there is for them here."""
    return {
        "name": access.name,
        "may": sorted(access.may),
        "tokens": service.tokens is not None,
        "builds": service.builds is not None,
    }


def may_ask_for(service: Service, access: Access) -> dict[str, list[str]]:
    """Names of the sources that are offered, and of the recipes that there are, to who may build.

    No recipes where what builds is not installed.
    """
    if service.builds is None or "build" not in access.may:
        return {"sources": [], "recipes": []}
    recipes: list[str] = []
    with suppress(BuilderNotInstalled):
        recipes = sorted(builder("recipes"))
    return {"sources": sorted(service.builds.settings.sources), "recipes": recipes}


def _known(header: str) -> list[str]:
    """The ETags of an If-None-Match."""
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]
