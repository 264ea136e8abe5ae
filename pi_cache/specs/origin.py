"""Where images come from that were not computed here."""

from __future__ import annotations

from dataclasses import dataclass, fields

from pi_cache.specs.base import Spec
from pi_cache.specs.checks import Checks, unknown_name
from pi_cache.specs.diagram import DiagramSpec
from pi_cache.specs.image import ImageSpec

AUDITS = ("none", "passed", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginSpec(Spec):
    """Where images come from that were not computed here, and what is known of how they were made.

    kind: `imported`. format: what they were read from, such as `png-tree`. given: the fields of the
    diagram and image spec that somebody stated, such as `image.sigma`; pixels and dtype are always
    known. audit: whether recomputed samples agreed with them; `none` where that was not tried.
    """

    kind: str = "imported"
    format: str
    given: tuple[str, ...] = ()
    audit: str = "none"

    def __post_init__(self) -> None:
        seen = ("image.dtype", "image.pixels")
        self._set("given", tuple(sorted({*self.given, *seen})))
        checks = Checks("OriginSpec")
        checks.choice("kind", self.kind, ("imported",))
        checks.text("format", self.format)
        checks.choice("audit", self.audit, AUDITS)
        for name in self.given:
            if name not in STATEABLE:
                checks.that(False, f"given: {unknown_name(name, set(STATEABLE))}")
        checks.done()


STATEABLE = tuple(
    f"{part}.{f.name}"
    for part, kind in (("diagram", DiagramSpec), ("image", ImageSpec))
    for f in fields(kind)
)
"""What can be stated of imported images."""
