"""The vocabulary: what was computed, from what, and the key that follows from it.

A spec is a frozen value that is normalised and checked when it is made, so two ways of saying the
same thing have one key. Numbers are in the units of the field (pixel intensity, signal unit or
length); axes are `birth` and `persistence = |death - birth|`, or `time` and `other_time`.
"""

from __future__ import annotations

from pi_cache.specs.base import Spec, canonical_digest, canonical_json
from pi_cache.specs.diagram import (
    CONSTRUCTIONS,
    ENGINES,
    FILTRATIONS,
    HOMOLOGY,
    METRICS,
    PRECISIONS,
    PRECOMPUTED,
    SCANS,
    DiagramSpec,
    default_engine,
)
from pi_cache.specs.gramian import (
    FORM_NAMES,
    FORMS,
    LARGEST_SIZE,
    RANGES,
    REDUCTIONS,
    VALUE_RANGE,
    GramianSpec,
)
from pi_cache.specs.image import DTYPES, GRIDS, NORMALISATIONS, ROUNDINGS, ROW_ORDERS, ImageSpec
from pi_cache.specs.names import COMPUTED, UNKNOWN, differences, known_fields
from pi_cache.specs.origin import AUDITS, STATEABLE, OriginSpec
from pi_cache.specs.source import SAMPLE_KINDS, VARIANT, SourceSpec, variant_fingerprint
from pi_cache.specs.status import RETRIED, Status
from pi_cache.specs.store import (
    ALGORITHM_VERSION,
    ALGORITHM_VERSIONS,
    GRAMIAN_FIELDS,
    GRAMIAN_VERSION,
    PARTS,
    PERSISTENCE_IMAGES,
    SPEC_FORMAT,
    StoreSpec,
)

__all__ = [
    "ALGORITHM_VERSION",
    "ALGORITHM_VERSIONS",
    "AUDITS",
    "COMPUTED",
    "CONSTRUCTIONS",
    "DTYPES",
    "ENGINES",
    "FILTRATIONS",
    "FORMS",
    "FORM_NAMES",
    "GRAMIAN_FIELDS",
    "GRAMIAN_VERSION",
    "GRIDS",
    "HOMOLOGY",
    "LARGEST_SIZE",
    "METRICS",
    "NORMALISATIONS",
    "PARTS",
    "PERSISTENCE_IMAGES",
    "PRECISIONS",
    "PRECOMPUTED",
    "RANGES",
    "REDUCTIONS",
    "RETRIED",
    "ROUNDINGS",
    "ROW_ORDERS",
    "SAMPLE_KINDS",
    "SCANS",
    "SPEC_FORMAT",
    "STATEABLE",
    "UNKNOWN",
    "VALUE_RANGE",
    "VARIANT",
    "DiagramSpec",
    "GramianSpec",
    "ImageSpec",
    "OriginSpec",
    "SourceSpec",
    "Spec",
    "Status",
    "StoreSpec",
    "canonical_digest",
    "canonical_json",
    "default_engine",
    "differences",
    "known_fields",
    "variant_fingerprint",
]
