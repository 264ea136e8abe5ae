"""Which samples a scale was fitted on, as a store says it, so that none of them is tested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cache.sampling.samples import Samples


def fitted_on(samples: Samples) -> NDArray[np.bool_] | None:
    """(N,) the samples that a scale was fitted on; None where none was, or none is known.

    samples: a Store, whose source has the option `fit_on`, `subjects:A,B` or `split:NAME`; a Joined
    of such; others tell nothing.
    """
    parts = [part for options in _options(samples) if (part := _part(options, samples)) is not None]
    return np.logical_or.reduce(parts) if parts else None


def _options(samples: Any) -> Iterator[Mapping[str, Any]]:
    """How the source of each store was opened."""
    for member in getattr(samples, "members", {}).values():
        yield from _options(member.source)
    spec = getattr(samples, "spec", None)
    if spec is not None:
        yield spec.source.options


def _part(options: Mapping[str, Any], samples: Samples) -> NDArray[np.bool_] | None:
    """The samples (N,) of the part that options name; None for none."""
    kind, _, names = str(options.get("fit_on", "none")).partition(":")
    known = {"subjects": samples.groups, "split": samples.splits}.get(kind)
    if known is None:
        return None
    wanted = names.split(",") if kind == "subjects" else [names]
    return np.isin(known.astype(np.str_), wanted)
