"""What the service counts, in the text format of Prometheus."""

from __future__ import annotations

from functools import lru_cache, partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

METHODS = ("GET", "HEAD", "POST", "DELETE")
ROUTES = {
    "stores": "files",
    "v1/stores": "catalogue",
    "v1/requests": "requests",
    "health": "health",
    "metrics": "metrics",
    "page": "page",
    "": "page",
}
"""Names of the routes, by how a path begins: few, whatever is asked for."""
COUNTERS = 256
"""Kinds of answers whose counters are remembered."""
SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)


class Metrics:
    """Counters of one service, in a registry of its own."""

    def __init__(self) -> None:
        # When each counter was made would be as many numbers again.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        counted = partial(Counter, namespace="pi_cache", registry=self.registry)
        level = partial(Gauge, namespace="pi_cache", registry=self.registry)
        self.requests = counted("requests", "Requests answered.", ["route", "method", "status"])
        self.sent = counted("sent_bytes", "Bytes of bodies handed to clients.", ["route"])
        self.seconds = Histogram(
            "request_seconds",
            "From the head of a request to the end of its answer.",
            ["route"],
            namespace="pi_cache",
            registry=self.registry,
            buckets=SECONDS,
        )
        self.connections = level("connections", "Connections that are open.")
        self.cuts = counted("cuts", "Connections that were cut.", ["reason"])
        self.refused = counted("refused", "Requests refused before any route.", ["reason"])
        self.checks = counted("digest_checks", "Files hashed before they were sent.")
        self.damaged = counted("damaged_files", "Answers not given since a file is damaged.")
        self.builds = level("builds", "Builds on demand, by state.", ["state"])
        self._counters = lru_cache(COUNTERS)(self._labelled)

    def count(self, route: str, method: str, status: int, *, sent: int, seconds: float) -> None:
        """Count an answer. sent: bytes of its body."""
        requests, of_bytes, of_seconds = self._counters(route, method, status)
        requests.inc()
        of_bytes.inc(sent)
        of_seconds.observe(seconds)

    def _labelled(self, route: str, method: str, status: int) -> tuple[Counter, Counter, Histogram]:
        """The counters of answers of a kind; finding them takes longer than counting."""
        requests = self.requests.labels(route, method, str(status))
        return requests, self.sent.labels(route), self.seconds.labels(route)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)


def route_of(path: str) -> str:
    """The name under which requests of a path are counted."""
    first, _, rest = path.removeprefix("/").partition("/")
    second = rest.partition("/")[0]
    return ROUTES.get(first) or ROUTES.get(f"{first}/{second}") or "other"


def method_of(method: str) -> str:
    """The method, `other` for one that no route takes."""
    return method if method in METHODS else "other"
