"""What exact persistence images cost: the `pipeline` command, run as a user would run it.

It is a process of its own, which this room never imports: pinned to one core, one worker, a new
cache in a temporary folder, so that nothing is found there and everything is computed.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache import files, open_store
from pi_cache.errors import BuilderNotInstalled, InvalidSpec, PiCacheError
from pi_cache.reader import Store
from training.pinets.cores import pinned

STEPS = ("fields", "diagrams", "images")
"""Steps of the topology, of the times that the command reports."""
AROUND = ("read", "count")
MODULE = ("-m", "pipeline.cli")


class ExactFailed(PiCacheError, RuntimeError):
    """The `pipeline` command ended without images; the message has what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """Seconds for n samples on one core, as the pipeline itself took them.

    steps: by name, those of STEPS and AROUND, from the manifest. whole: from the first read to the
    last write, to a millisecond. identical: images that are bit for bit those of the store.
    """

    samples: int
    steps: dict[str, float]
    whole: float
    identical: int

    @property
    def topology(self) -> float:
        """Fields, diagrams and images together: what a PI-Net stands for."""
        return sum(self.steps[name] for name in STEPS)


def run_exact(
    store: Store, rows: np.ndarray, core: int | None, folder: Path, *, engine: str | None = None
) -> Exact:
    """Compute the images of rows of a store anew, from the inputs that it holds.

    core: where the command runs, None for anywhere. folder: new and empty, for what it writes.
    engine: in place of the store's own, such as `ripser`.
    Raises InvalidSpec for a store that does not say how it was made, BuilderNotInstalled,
    ExactFailed with what the command said.
    """
    words = [*_saved(store, rows, folder), "--no-inputs", "--workers", "1", "--executor", "serial"]
    words += ["--cache", str(folder / "cache"), "--json", "--no-space-check"]
    words += ["--engine", engine] if engine is not None else []
    found = _run(words, core)
    made = open_store(found["path"])
    return Exact(
        samples=len(rows),
        steps={name: made.manifest.seconds[name] for name in (*STEPS, *AROUND)},
        whole=found["times"]["shards"],
        identical=_identical(made, store, rows),
    )


def _saved(store: Store, rows: np.ndarray, folder: Path) -> Sequence[str]:
    """The words of the command that say what to build; the samples lie in a file for it."""
    spec = store.spec
    if spec.origin is not None or spec.gramian is not None:
        raise InvalidSpec(
            "exact times are those of persistence images that the pipeline computes; this store"
            f" holds {'imported images' if spec.origin is not None else 'Gramian angular fields'}"
        )
    samples, held = folder / "samples.npz", io.BytesIO()
    np.savez(held, data=store.read("inputs", rows))
    files.publish(samples, held.getbuffer(), temporary=folder)
    request: dict[str, Any] = {
        "source": f"array:{samples}",
        "sample": spec.source.sample,
        "diagram": spec.diagram.to_dict(),
        "image": spec.image.to_dict() if spec.image is not None else {},
    }
    maximum = store.column("inputs").attributes.get("maximum")
    request["source_options"] = {"maximum": "none" if maximum is None else maximum}
    saved = folder / "request.json"
    files.publish(saved, json.dumps(request).encode(), temporary=folder)
    return ["build-pis", "--spec", str(saved)]


def _run(words: Sequence[str], core: int | None) -> dict[str, Any]:
    """What the command printed. Raises BuilderNotInstalled, ExactFailed."""
    with pinned(core):  # a process starts where its parent is
        done = subprocess.run([sys.executable, *MODULE, *words], capture_output=True, text=True)
    if "No module named" in done.stderr and not done.stdout:
        raise BuilderNotInstalled(
            f"the exact side needs the pipeline ({_last(done.stderr)}); install it with"
            " pip install 'pi-cache[pipeline]'"
        )
    if done.returncode:
        raise ExactFailed(f"pipeline {' '.join(words)} failed: {_last(done.stderr)}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]


def _identical(made: Store, store: Store, rows: np.ndarray) -> int:
    apart = made.read("images", np.arange(len(rows))) != store.read("images", rows)
    return int((~apart.reshape(len(rows), -1).any(axis=1)).sum())
