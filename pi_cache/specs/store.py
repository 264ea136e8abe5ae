"""Everything that decides the numbers in a store, and the key that follows from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pi_cache.errors import InvalidSpec, UnsupportedFormat
from pi_cache.specs.base import Spec, canonical_digest
from pi_cache.specs.checks import Checks, whole
from pi_cache.specs.diagram import PRECOMPUTED, DiagramSpec
from pi_cache.specs.gramian import GramianSpec
from pi_cache.specs.image import ImageSpec
from pi_cache.specs.origin import OriginSpec
from pi_cache.specs.source import SourceSpec

ALGORITHM_VERSION = 1
"""Raised when the same spec gives other numbers; part of every key."""
ALGORITHM_VERSIONS = {
    ("ripser", "rips"): 2,  # lengths of clouds far from zero
    ("giotto", "rips"): 2,
    ("native", "sublevel"): 2,  # the order of points, and so the last bits of images
    ("native", "superlevel"): 2,
}
"""Of an engine and a filtration that changed alone."""

GRAMIAN_VERSION = 1
"""As ALGORITHM_VERSION, of Gramian angular fields."""

SPEC_FORMAT = 1

PERSISTENCE_IMAGES = "persistence-images"
GRAMIAN_FIELDS = "gramian-angular-fields"
PARTS = {PERSISTENCE_IMAGES: ("diagram", "image"), GRAMIAN_FIELDS: ("gramian",)}
"""What a store may hold, and the specs that say how it was computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSpec(Spec):
    """Everything that decides the numbers in a store.

    algorithm: the version of what computes them, 0 for that of this release. recipe: the name it
    was asked for by. origin: None for what was computed from the source. Of an imported store the
    source is the files that were read, algorithm is 0, and what is not known of diagrams and images
    is in no document and no key: it reads as the default here, and `known_fields` tells.
    gramian: None for persistence images. Where it is set the store holds Gramian angular fields:
    diagram and image are in no document and no key, and have their defaults here.
    """

    source: SourceSpec
    diagram: DiagramSpec = field(default_factory=DiagramSpec)
    image: ImageSpec = field(default_factory=ImageSpec)
    algorithm: int = 0
    recipe: str = field(default="", compare=False)
    origin: OriginSpec | None = None
    gramian: GramianSpec | None = None

    def __post_init__(self) -> None:
        checks = Checks("StoreSpec")
        checks.text("recipe", self.recipe)
        checks.done()
        if self.gramian is not None:
            self._settle_gramian(self.gramian, checks)
            return
        if self.origin is not None:
            for part, kind in (("diagram", DiagramSpec), ("image", ImageSpec)):
                self._set(part, kind.from_dict(self._known(part)))
            self._set("algorithm", 0)
            return
        computed_by = (self.diagram.engine, self.diagram.filtration)
        current = ALGORITHM_VERSIONS.get(computed_by, ALGORITHM_VERSION)
        self._set("algorithm", whole(self.algorithm, "algorithm") or current)
        sample, spec = self.source.sample, self.diagram
        path = spec.filtration in ("sublevel", "superlevel")
        checks.that(
            not path or sample in ("signal", "image"),
            f"{spec.filtration} needs signals or images, not {_plural(sample)}; use "
            "--filtration rips",
        )
        if sample == "distances" and spec.filtration == "rips" and spec.metric == "euclidean":
            self._set("diagram", spec.replace(metric=PRECOMPUTED))
        checks.that(
            sample != "distances" or spec.metric in ("euclidean", PRECOMPUTED),
            f"distance matrices have a metric of their own, so {spec.metric} does not apply",
        )
        checks.that(
            sample == "distances" or spec.metric != PRECOMPUTED,
            f"metric precomputed needs distance matrices, not {_plural(sample)}",
        )
        if sample == "image" and path and spec.scan is None:
            self._set("diagram", spec.replace(scan="rows"))
        checks.that(spec.scan is None or sample == "image", "scan applies to images only")
        checks.that(
            spec.filtration != "cubical" or sample == "image",
            f"cubical needs images, not {_plural(sample)}; use --filtration "
            + ("sublevel" if sample == "signal" else "rips"),
        )
        embedded = spec.embedding_dimension is not None
        checks.that(not embedded or sample == "signal", "a delay embedding applies to signals only")
        checks.that(
            not (spec.filtration == "rips" and sample == "signal") or embedded,
            "rips of signals needs embedding_dimension and embedding_delay",
        )
        checks.that(
            sample == "signal" or not (spec.centre or spec.scale != 1.0),
            "centre and scale apply to signals only",
        )
        checks.done()

    def _settle_gramian(self, gramian: GramianSpec, checks: Checks) -> None:
        sample = self.source.sample
        checks.that(
            sample == "signal",
            f"Gramian angular fields are of signals, not of {_plural(sample)}",
        )
        checks.that(
            gramian.size is not None or sample != "signal",
            "gramian.size must be settled; see GramianSpec.sized",
        )
        checks.that(self.origin is None, "Gramian angular fields cannot be imported")
        self._set("diagram", DiagramSpec())
        self._set("image", ImageSpec())
        self._set("algorithm", whole(self.algorithm, "algorithm") or GRAMIAN_VERSION)
        checks.done()

    @property
    def representation(self) -> str:
        """What the store holds: PERSISTENCE_IMAGES or GRAMIAN_FIELDS."""
        return PERSISTENCE_IMAGES if self.gramian is None else GRAMIAN_FIELDS

    @property
    def drawn(self) -> ImageSpec | GramianSpec:
        """What says the `pixels` and the `dtype` of the stored images."""
        return self.image if self.gramian is None else self.gramian

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the specs that say how what the store holds was computed."""
        return PARTS[self.representation]

    @property
    def lacking(self) -> frozenset[str]:
        """Names of the specs of other representations, which say nothing here."""
        every = {name for parts in PARTS.values() for name in parts}
        return frozenset(every - set(self.parts))

    @property
    def key(self) -> str:
        """SHA-256 of the canonical JSON of source, what was computed, and algorithm version."""
        if self.gramian is not None:
            return canonical_digest(
                {
                    "algorithm": self.algorithm,
                    "source": self.source.identity(),
                    "gramian": self.gramian.to_dict(),
                }
            )
        return canonical_digest({**self._diagram_identity(), "image": self._known("image")})

    @property
    def diagram_key(self) -> str:
        """The key without the image spec: stores that share it share their diagrams.

        Gramian angular fields have no diagrams, and nobody has this key but they.
        """
        return self.key if self.gramian is not None else canonical_digest(self._diagram_identity())

    def _diagram_identity(self) -> dict[str, Any]:
        identity = {
            "algorithm": self.algorithm,
            "source": self.source.identity(),
            "diagram": self._known("diagram"),
        }
        return identity if self.origin is None else {**identity, "origin": self.origin.to_dict()}

    def _known(self, part: str) -> dict[str, Any]:
        """The fields of `diagram` or `image` as plain values, without what is not known."""
        document: dict[str, Any] = getattr(self, part).to_dict()
        if self.origin is None:
            return document
        given = self.origin.given
        return {name: value for name, value in document.items() if f"{part}.{name}" in given}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values of what is known. `origin` is left out where there is none."""
        document = Spec.to_dict(self)
        document |= {part: self._known(part) for part in ("diagram", "image")}
        absent = self.lacking if self.origin is not None else {*self.lacking, "origin"}
        return {name: value for name, value in document.items() if name not in absent}

    @classmethod
    def _check_names(cls, document: Mapping[str, Any]) -> None:
        """Raise InvalidSpec where a document lacks a spec, or has one of something else."""
        is_gramian = document.get("gramian") is not None
        parts = PARTS[GRAMIAN_FIELDS if is_gramian else PERSISTENCE_IMAGES]
        checks = Checks(cls.__name__)
        for name in parts:
            checks.that(name in document, f"{name} is missing")
            given = document.get(name, {})
            known = isinstance(given, Mapping | Spec)
            checks.that(known, f"{name} must be names and values, got {given!r:.50}")
        for name in ("diagram", "image") if is_gramian else ():
            checks.that(name not in document, f"{name} says nothing of a Gramian angular field")
        checks.done()

    def to_document(self) -> dict[str, Any]:
        """The stored form, with its format version and key."""
        return {"format_version": SPEC_FORMAT, "key": self.key, **self.to_dict()}

    def to_bytes(self) -> bytes:
        """The stored file: the document with the SHA-256 of all it says."""
        document = self.to_document()
        sealed = {**document, "checksum": canonical_digest(document)}
        return json.dumps(sealed, indent=1, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The spec of a stored document; one that people write needs neither key nor checksum.

        Raises UnsupportedFormat for another format version, InvalidSpec for all else.
        """
        content = dict(document)
        checksum = content.pop("checksum", None)
        if content.get("format_version") == SPEC_FORMAT and not _fits(checksum, content):
            raise InvalidSpec(
                "spec is damaged, or was changed: its content does not have its checksum; remove"
                " key and checksum from a spec that you changed"
            )
        version = content.pop("format_version", None)
        if version != SPEC_FORMAT:
            raise UnsupportedFormat(
                f"spec format {version!r} is not supported, this release reads {SPEC_FORMAT}"
            )
        key = content.pop("key", None)
        spec = cls.from_dict(content)
        if key is not None and key != spec.key:
            raise InvalidSpec(f"spec says key {key[:12]} but its content gives {spec.key[:12]}")
        return spec


def _fits(checksum: Any, content: object) -> bool:
    """Whether a document has no checksum, or the right one."""
    try:
        return checksum is None or checksum == canonical_digest(content)
    except (TypeError, ValueError):  # NaN
        return False


def _plural(sample: str) -> str:
    return "distance matrices" if sample == "distances" else f"{sample}s"
