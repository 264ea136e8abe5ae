"""What processes do that build through the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pi_cache.errors import PiCacheError
from pi_cache.specs import DiagramSpec, ImageSpec, StoreSpec
from pipeline.build import build as build_pis
from pipeline.buildoptions import Options
from pipeline.shard import warm
from pipeline.sources.arrays import from_arrays

SIGNALS = np.random.default_rng(4).random((30, 40))
SOURCE = from_arrays(SIGNALS, sample="signal", labels=np.arange(30) % 3)
SPEC = StoreSpec(source=SOURCE.spec(), diagram=DiagramSpec(), image=ImageSpec(pixels=4, sigma=0.2))

warm(SPEC)  # once, for all processes that are forked


def build(say: Callable[[Any], None], root: str) -> None:
    """A store of thirty signals in four shards; says its key and digest, or what failed."""
    options = Options(executor="serial", workers=1, shard_samples=8)
    try:
        report = build_pis(SOURCE, SPEC.diagram, SPEC.image, root=Path(root), options=options)
    except PiCacheError as error:
        say({"failed": type(error).__name__, "message": str(error)})
    else:
        say([report.manifest.key, report.manifest.digest])
