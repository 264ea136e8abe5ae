"""Routes for who watches the service: `/health` and `/metrics`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pi_cache.errors import PiCacheError
from pi_cache.serving import answers
from pi_cache.serving.access import access_of
from pi_cache.serving.service import Service

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def routes(service: Service) -> list[BaseRoute]:
    """Health and metrics."""

    async def health(request: Request) -> Response:
        access = access_of(request)
        watches = "watch" in access.may
        try:
            keys = await service.in_thread(service.shelf.finished)
        except (PiCacheError, OSError) as error:
            service.log.write("unhealthy", problem=str(error))
            return answers.answer({"status": "the cache cannot be read"}, 503)
        stores = sum(1 for key in keys if watches or access.may_read(key))
        return answers.answer({"status": "ok", "stores": stores})

    async def metrics(request: Request) -> Response:
        if "watch" not in access_of(request).may:
            return answers.missing()
        return Response(service.metrics.text(), media_type=PROMETHEUS)

    return [Route("/health", health), Route("/metrics", metrics)]
