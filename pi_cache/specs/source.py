"""Which samples a store was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pi_cache.specs.base import Spec, canonical_digest
from pi_cache.specs.checks import Checks, whole

SAMPLE_KINDS = ("image", "signal", "cloud", "distances")
VARIANT = "variant"
"""The option of a source whose samples are transformed, such as `flip`."""


def variant_fingerprint(fingerprint: str, variant: str) -> str:
    """That of samples which are transformed, from that of the plain ones."""
    return canonical_digest({"of": fingerprint, VARIANT: variant})


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec(Spec):
    """Which samples: identified by their content, not by where they lie.

    fingerprint: SHA-256 of the samples' bytes, ids, labels, groups and splits. What says how the
    samples were named (location, split, limit, options of the kind) is no part of the key, so a
    data set that moves keeps its stores.
    """

    kind: str
    sample: str
    samples: int
    channels: int
    fingerprint: str
    location: str = field(default="", compare=False)
    split: str = field(default="", compare=False)
    limit: int | None = field(default=None, compare=False)
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        self._set("samples", whole(self.samples, "samples"))
        self._set("channels", whole(self.channels, "channels"))
        if self.limit is not None:
            self._set("limit", whole(self.limit, "limit"))
        checks = Checks("SourceSpec")
        for name in ("kind", "fingerprint", "location", "split"):
            checks.text(name, getattr(self, name))
        checks.that(isinstance(self.options, Mapping), f"options must be named, got {self.options}")
        checks.choice("sample", self.sample, SAMPLE_KINDS)
        checks.that(self.samples > 0, f"samples must be at least 1, got {self.samples}")
        checks.that(self.channels > 0, f"channels must be at least 1, got {self.channels}")
        checks.that(
            len(str(self.fingerprint)) == 64, "fingerprint must be a SHA-256 in hexadecimal"
        )
        checks.done()

    def varied(self, variant: str) -> SourceSpec:
        """The same samples, transformed."""
        return self.replace(
            fingerprint=variant_fingerprint(self.fingerprint, variant),
            options={**self.options, VARIANT: variant},
        )

    def identity(self) -> dict[str, Any]:
        """What of the source is part of a key."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.compare}
