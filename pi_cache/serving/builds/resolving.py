"""Which store a request means: found by the pipeline in a process of its own.

That reads the samples for their fingerprint, and measures a few for the estimate.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pi_cache.errors import PiCacheError
from pi_cache.serving.builds.asked import Asked
from pi_cache.serving.builds.child import Child
from pi_cache.serving.builds.records import ResolutionRecord
from pi_cache.serving.builds.refusals import (
    BROKEN,
    NO_BUILDER,
    TOO_LARGE,
    UNFIT,
    BuildRefused,
)
from pi_cache.serving.builds.settings import BuildSettings
from pi_cache.specs import StoreSpec, default_engine

PATIENCE = 3600.0
"""Seconds for reading all samples once, of a data set as large as any that was met."""
NOT_INSTALLED = ("ModuleNotFoundError", "BuilderNotInstalled", "EngineNotInstalled")


class Resolver:
    """One request that is looked into; `stop` from another thread ends it.

    is_finished: whether there is a store of a key, of which nothing needs to be planned.
    """

    def __init__(
        self, root: Path, settings: BuildSettings, is_finished: Callable[[str], bool]
    ) -> None:
        self.root, self.settings, self.is_finished = root, settings, is_finished
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._stopped = False

    def stop(self) -> None:
        """End it; `resolve` then returns None."""
        with self._lock:
            self._stopped, child = True, self._child
        if child is not None:
            child.stop(1.0)

    def resolve(
        self, id: str, asked: Asked, note: Callable[[str], None]
    ) -> ResolutionRecord | None:
        """What the request of an id means; None where this was stopped.

        Raises BuildRefused, with the reason, and PiCacheError.
        """
        candidates = asked.candidates(self.settings.sources)
        child = self._begin(asked)
        if child is None:
            return None
        try:
            found = self._first(child)
            if self._stopped:
                return None
            source = candidates[found["source"]]
            spec = parse_spec(found["spec"])
            self._check(spec)
            planned = {} if self.is_finished(spec.key) else self._estimate(child, spec, note)
            return ResolutionRecord(
                id=id,
                key=spec.key,
                source=source.name,
                spec=found["spec"],
                stores={key: number for number, key in enumerate(found["keys"])},
                estimate=planned,
            )
        finally:
            child.stop(1.0)
            child.close()

    def _begin(self, asked: Asked) -> Child | None:
        """The child, with the question."""
        sources = [asked.saved(source) for source in asked.candidates(self.settings.sources)]
        wanted = {"fingerprint": asked.fingerprint or None, "key": asked.key or None}
        question = {
            "asked": {**asked.computed, **wanted, "sources": sources},
            "root": str(self.root),
            "how": self.settings.how(),
        }
        with self._lock:
            if self._stopped:
                return None
            self._child = Child(["resolve", str(self.settings.niceness)], json.dumps(question))
            return self._child

    def _first(self, child: Child) -> dict[str, Any]:
        """The spec, as the child found it. Raises BuildRefused."""
        try:
            found = json.loads(child.answer(PATIENCE) or "{}")
        except (TimeoutError, ValueError) as error:
            raise BuildRefused(BROKEN, f"the request could not be looked into: {error}") from None
        if "refused" in found:
            raise _refusal(found)
        if "spec" not in found and not self._stopped:
            raise BuildRefused(
                BROKEN, f"the request could not be looked into{_why(child)}; ask again"
            )
        return dict(found)

    def _check(self, spec: StoreSpec) -> None:
        """Raise BuildRefused for a store that is too large, or of an engine that is not offered."""
        most = self.settings.quotas.samples
        if most and spec.source.samples > most:
            raise BuildRefused(
                TOO_LARGE,
                f"{spec.source.samples:,} samples, and {most:,} may be asked for at a time; give a"
                " limit or a split",
            )
        if spec.gramian is not None:
            return
        engine = spec.diagram.engine
        usual = default_engine(spec.diagram.filtration, spec.diagram.homology)
        if engine not in (usual, *self.settings.engines):
            allowed = ", ".join(dict.fromkeys((usual, *self.settings.engines)))
            raise BuildRefused(UNFIT, f"engine {engine} is not offered here, only {allowed}")

    def _estimate(
        self, child: Child, spec: StoreSpec, note: Callable[[str], None]
    ) -> dict[str, Any]:
        """What the build will take; empty where the child cannot tell, as of a sample that ends it.

        Raises BuildRefused where it says why the build cannot be.
        """
        try:
            found = json.loads(child.answer(PATIENCE) or "{}")
        except (TimeoutError, ValueError):
            found = {}
        if "refused" in found:
            raise _refusal(found)
        if not found:
            note(f"build {spec.key[:12]}: no estimate{_why(child)}")
        return dict(found)


def parse_spec(document: Any) -> StoreSpec:
    """The spec that the pipeline found. Raises BuildRefused for another one than this release's."""
    try:
        return StoreSpec.from_document(document)
    except (PiCacheError, TypeError, ValueError, AttributeError) as error:
        raise BuildRefused(BROKEN, f"the request was misread: {error}") from None


def _refusal(found: dict[str, Any]) -> BuildRefused:
    kind = found.get("kind")
    status = NO_BUILDER if kind in NOT_INSTALLED else UNFIT
    return BuildRefused(status, str(found["refused"]))


def _why(child: Child) -> str:
    """How a child ended that gave no answer, and the last that it said."""
    code = child.poll()
    said = child.tail()[-1:]
    by = f" ({signal.Signals(-code).name})" if code is not None and code < 0 else ""
    return f": its process ended{by}{''.join(f': {line}' for line in said)}"
