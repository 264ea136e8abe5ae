"""All routes of the service behind its gate, as one ASGI application."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from pi_cache.errors import PiCacheError, StorageFailed
from pi_cache.serving import answers, catalogue, files, pages, samples, watch
from pi_cache.serving.builds import routes as requests
from pi_cache.serving.gate import Gate
from pi_cache.serving.service import Service

ROUTES: tuple[Callable[[Service], list[BaseRoute]], ...] = (
    files.routes,
    catalogue.routes,
    samples.routes,
    pages.routes,
    watch.routes,
    requests.routes,
)
"""What each module of routes has."""


def application(service: Service) -> ASGIApp:
    """The service, ready for a server."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with service.running():
            yield

    routes = [route for of_module in ROUTES for route in of_module(service)]
    handlers: dict[Any, Any] = {
        HTTPException: _refused,
        404: _missing,
        PiCacheError: functools.partial(_unread, service),
        Exception: _failed,
    }
    starlette = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    starlette.router.redirect_slashes = False  # it would decide on `request.url`
    return Gate(service, starlette)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return answers.problem(error.status_code, error.detail, error.headers)


def _missing(request: Request, error: Exception) -> Response:
    return answers.missing()


def _unread(service: Service, request: Request, error: Exception) -> Response:
    """What a route could not read, and has no answer of its own for."""
    service.log.write("unread", problem=str(error))
    if isinstance(error, StorageFailed):
        return answers.problem(503, "the cache cannot be read now", {"retry-after": "5"})
    return answers.problem(500, "this cannot be read; the log of the service says why")


def _failed(request: Request, error: Exception) -> Response:
    return answers.problem(500, "the service failed; its log says more")
