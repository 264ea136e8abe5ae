"""Builds beside the requests of a service: started with it, ended with it, counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from pi_cache.serving.builds.builds import Builds
from pi_cache.serving.builds.settings import BuildSettings
from pi_cache.serving.service import Service

COUNTED = 5.0
"""Seconds between two counts for the metrics."""


def build_on_demand(service: Service, settings: BuildSettings, *, by_everybody: bool) -> None:
    """Have a service build what is asked for.

    by_everybody: where there are no tokens, whoever reaches it may ask: on loopback only.
    """
    builds = Builds(service.root, settings, lambda text: service.log.write("build", message=text))
    service.builds = builds
    service.parts.append(_running(service, builds))
    if by_everybody:
        may = service.everybody.may | {"build"}
        service.everybody = replace(service.everybody, may=may)


@asynccontextmanager
async def _running(service: Service, builds: Builds) -> AsyncIterator[None]:
    await asyncio.to_thread(builds.start)
    counting = asyncio.create_task(_count(service, builds))
    try:
        yield
    finally:
        counting.cancel()
        await asyncio.to_thread(builds.stop)


async def _count(service: Service, builds: Builds) -> None:
    """Keep the metrics."""
    while True:
        counts = await asyncio.to_thread(builds.counts)
        for state, count in counts.items():
            service.metrics.builds.labels(state).set(count)
        await asyncio.sleep(COUNTED)
