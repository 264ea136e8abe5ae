"""The vocabulary: what was computed, from what, and the key that follows from it.

A spec is a frozen value that is normalised and checked when it is made, so two ways of saying the
same thing have one key. Numbers are in the units of the field (pixel intensity, signal unit or
length); axes are `birth` and `persistence = |death - birth|`.
"""

from __future__ import annotations

import difflib
import enum
import hashlib
import json
import math
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, Self

from pi_cache.errors import InvalidSpec, UnsupportedFormat

ALGORITHM_VERSION = 1
"""Raised when the same spec gives other numbers; part of every key."""
ALGORITHM_VERSIONS = {
    ("ripser", "rips"): 2,  # lengths of clouds far from zero
    ("giotto", "rips"): 2,
    ("native", "sublevel"): 2,  # the order of points, and so the last bits of images
    ("native", "superlevel"): 2,
}
"""Of an engine and a filtration that changed alone."""

SPEC_FORMAT = 1

FILTRATIONS = ("sublevel", "superlevel", "cubical", "rips")
SCANS = ("rows", "columns", "both")
CONSTRUCTIONS = ("cells", "vertices")
ENGINES = ("native", "ripser", "gudhi", "giotto")
METRICS = ("euclidean", "manhattan", "chebyshev", "cosine")
"""Lengths between the points of a cloud; a distance matrix has its own, `PRECOMPUTED`."""
PRECOMPUTED = "precomputed"
HOMOLOGY = {"sublevel": (0,), "superlevel": (0,), "cubical": (0, 1), "rips": (0, 1)}
"""Dimensions that are computed when none is named."""
SAMPLE_KINDS = ("image", "signal", "cloud", "distances")
GRIDS = ("regular", "legacy-persim")
NORMALISATIONS = ("own-max", "none", "dataset-max")
ROW_ORDERS = ("ascending", "descending")
ROUNDINGS = ("nearest", "truncate")
DTYPES = ("float16", "float32", "float64", "uint8")
PRECISIONS = ("float64", "float32")
AUDITS = ("none", "passed", "failed")
UNKNOWN = "unknown"
"""What is said of a field that nobody stated of imported images."""
COMPUTED = "computed"
"""The origin of a store whose images were computed from its source."""


def default_engine(filtration: str, homology: tuple[int, ...]) -> str:
    """The engine where none is named: this project's own, and a library for what it has not."""
    return "ripser" if filtration == "rips" and max(homology) > 1 else "native"


class Status(enum.IntEnum):
    """What became of a sample; stored per sample as uint8. Only OK samples are delivered."""

    OK = 0
    UNDECODABLE = 1
    NAN = 2
    INF = 3
    EMPTY = 4
    CONSTANT = 5
    WRONG_SHAPE = 6
    TOO_LARGE = 7
    TIMEOUT = 8
    CRASH = 9
    NOT_COMPUTED = 255
    """The fill value: what a lost shard reads as."""


RETRIED = (Status.TIMEOUT, Status.CRASH)
"""What another attempt may mend: it says something of limits and libraries, not of the sample."""


class _Checks:
    """Collects every problem of a spec and raises them together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[str] = []

    def that(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(problem)

    def text(self, field_name: str, value: object) -> None:
        if not isinstance(value, str):
            self.problems.append(f"{field_name} must be text, got {value!r:.50}")

    def choice(self, field_name: str, value: object, choices: tuple[str, ...]) -> None:
        if value not in choices:
            near = difflib.get_close_matches(str(value), choices, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            self.problems.append(
                f"{field_name} must be one of {', '.join(choices)}, got {value!r}{hint}"
            )

    def done(self) -> None:
        if self.problems:
            raise InvalidSpec(f"{self.name}: " + "; ".join(self.problems))


def _number(value: Any, name: str) -> float:
    """A finite float; -0.0 becomes 0.0 so that both have one key."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidSpec(f"{name} must be a number, got {value!r:.50}") from None
    if not math.isfinite(number):
        raise InvalidSpec(f"{name} must be finite, got {value!r}")
    return number + 0.0


def _whole(value: Any, name: str) -> int:
    number = _number(value, name)
    if isinstance(value, bool) or number != int(number):
        raise InvalidSpec(f"{name} must be a whole number, got {value!r}")
    return int(number)


def _interval(value: Any, name: str) -> tuple[float, float]:
    try:
        low, high = value
    except (TypeError, ValueError):
        raise InvalidSpec(f"{name} must be two numbers LO,HI, got {value!r}") from None
    low, high = _number(low, name), _number(high, name)
    if not low < high:
        raise InvalidSpec(f"{name} must have LO < HI, got {low:g},{high:g}")
    return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spec:
    """Round trip to plain JSON values; unknown names are refused with the nearest known one."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict(to_dict())` is equal."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The spec of a plain mapping. Raises InvalidSpec for unknown or missing names."""
        known = {f.name for f in fields(cls)}
        unknown = [_unknown(name, known) for name in document if name not in known]
        if unknown:
            raise InvalidSpec(f"{cls.__name__}: " + "; ".join(unknown))
        hints = _hints(typing.cast(Any, cls))
        values = {name: _parsed(hints[name], value) for name, value in document.items()}
        try:
            return cls(**values)
        except TypeError as error:
            raise InvalidSpec(f"{cls.__name__}: {error}") from None

    def replace(self, **changes: Any) -> Self:
        """The same spec with some fields changed."""
        return replace(self, **changes)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


@cache
def _hints(spec: type[_Spec]) -> dict[str, Any]:
    """The types of a spec's fields; finding them takes longer than all else of reading one."""
    return typing.get_type_hints(spec)


def _unknown(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"unknown field {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _parsed(hint: Any, value: Any) -> Any:
    """A mapping as the spec that a field is to hold; any other value as it is."""
    if isinstance(value, Mapping):
        for kind in (hint, *typing.get_args(hint)):  # a spec, or a spec or None
            if hasattr(kind, "from_dict"):
                return kind.from_dict(value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, _Spec):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec(_Spec):
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
        self._set("samples", _whole(self.samples, "samples"))
        self._set("channels", _whole(self.channels, "channels"))
        if self.limit is not None:
            self._set("limit", _whole(self.limit, "limit"))
        checks = _Checks("SourceSpec")
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

    def identity(self) -> dict[str, Any]:
        """What of the source is part of a key."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.compare}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagramSpec(_Spec):
    """From a sample to its persistence diagrams.

    filtration: `sublevel`/`superlevel` (H0 of a path graph: a signal, or an image channel read
    along `scan`), `cubical` (sub-level sets of an image, `construction` says whether a pixel is a
    cell or a vertex), `rips` (Vietoris-Rips of a cloud: given points, the (x, y, intensity) cloud
    of an image channel, or the delay embedding of a signal; or of a distance matrix).
    homology: dimensions, ascending; none named means all that are usual for the filtration.
    centre, scale: each channel of a signal has its mean subtracted, then is divided by `scale`.
    precision: values are rounded to this type before the topology; `float32` is what ripser does.
    min_persistence: pairs are kept when their persistence is strictly greater.
    max_length: largest edge of a Rips filtration; None for the whole one.
    metric: length of an edge between points of a cloud; `precomputed` where samples are distance
    matrices.
    """

    filtration: str = "sublevel"
    scan: str | None = None
    construction: str | None = None
    homology: tuple[int, ...] = ()
    embedding_dimension: int | None = None
    embedding_delay: int | None = None
    max_length: float | None = None
    centre: bool = False
    scale: float = 1.0
    precision: str = "float64"
    min_persistence: float = 0.0
    metric: str = "euclidean"
    engine: str = ""

    def __post_init__(self) -> None:
        checks = _Checks("DiagramSpec")
        checks.choice("filtration", self.filtration, FILTRATIONS)
        checks.done()
        if self.filtration == "cubical" and self.construction is None:
            self._set("construction", "cells")
        given: Any = self.homology
        dimensions = (given,) if isinstance(given, int) else given or HOMOLOGY[self.filtration]
        self._set("homology", tuple(sorted({_whole(k, "homology") for k in dimensions})))
        self._set("engine", self.engine or default_engine(self.filtration, self.homology))
        self._set("scale", _number(self.scale, "scale"))
        checks.that(
            isinstance(self.centre, bool), f"centre must be true or false, got {self.centre!r}"
        )
        self._set("min_persistence", _number(self.min_persistence, "min_persistence"))
        if self.max_length is not None:
            self._set("max_length", _number(self.max_length, "max_length"))
        for name in ("embedding_dimension", "embedding_delay"):
            if getattr(self, name) is not None:
                self._set(name, _whole(getattr(self, name), name))
        self._check(checks)

    def _check(self, checks: _Checks) -> None:
        path = self.filtration in ("sublevel", "superlevel")
        checks.choice("engine", self.engine, ENGINES)
        checks.choice("precision", self.precision, PRECISIONS)
        if self.scan is not None:
            checks.choice("scan", self.scan, SCANS)
            checks.that(path, f"scan does not apply to {self.filtration}")
        if self.construction is not None:
            checks.choice("construction", self.construction, CONSTRUCTIONS)
            checks.that(self.filtration == "cubical", "construction applies to cubical only")
        limit = {"cubical": 1, "rips": 2}.get(self.filtration, 0)
        checks.that(
            all(0 <= k <= limit for k in self.homology),
            f"homology of {self.filtration} must lie in 0..{limit}, got {list(self.homology)}",
        )
        embedded = self.embedding_dimension is not None or self.embedding_delay is not None
        if embedded:
            checks.that(self.filtration == "rips", "a delay embedding applies to rips only")
            checks.that(
                (self.embedding_dimension or 0) >= 2, "embedding_dimension must be at least 2"
            )
            checks.that((self.embedding_delay or 0) >= 1, "embedding_delay must be at least 1")
        if self.max_length is not None:
            checks.that(self.filtration == "rips", "max_length applies to rips only")
            checks.that(self.max_length > 0, "max_length must be positive")
        checks.choice("metric", self.metric, (*METRICS, PRECOMPUTED))
        checks.that(
            self.filtration == "rips" or self.metric == "euclidean", "metric applies to rips only"
        )
        checks.that(self.scale > 0, f"scale must be positive, got {self.scale:g}")
        checks.that(self.min_persistence >= 0, "min_persistence must not be negative")
        checks.done()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values. The usual metric is left out, so that older keys stay as they are."""
        document = _Spec.to_dict(self)  # a slotted class is made twice, and `super` has the first
        if self.metric == "euclidean":
            del document["metric"]
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec(_Spec):
    """From a diagram to its persistence image of `pixels` x `pixels` (persistence, birth).

    Each pixel is the exact integral over its cell (`rule`) of the sum of weighted Gaussians of
    standard deviation `sigma`. Reference: Adams et al., JMLR 18 (2017), section 4.
    grid: `regular` cells tile the two ranges; `legacy-persim` is the grid of scikit-tda's retired
    PersImage: `pixels` lower edges from LO to HI inclusive, each cell `birth_range[1]` / `pixels`
    wide whatever LO is (persistence starts at 0).
    weight: `one`, `linear` (persistence), `power:N`, or `relative` (persistence divided by the
    largest one of that diagram).
    threshold: pairs with persistence strictly greater are drawn.
    essential: `drop`, or `clip:VALUE`, the death given to classes that never die.
    normalise: `own-max` divides by the image's maximum, `dataset-max` by that of all images.
    floor: with own-max, an image whose maximum is not above it is stored as zeros.
    row_order: `ascending` puts the lowest persistence in row 0.
    rounding: how uint8 is made from 255 times the value.
    """

    pixels: int = 50
    birth_range: tuple[float, float] = (0.0, 1.0)
    persistence_range: tuple[float, float] = (0.0, 1.0)
    sigma: float = 0.05
    rule: str = "cell-integral"
    grid: str = "regular"
    weight: str = "linear"
    threshold: float = 0.0
    essential: str = "drop"
    normalise: str = "own-max"
    floor: float = 0.0
    row_order: str = "ascending"
    precision: str = "float64"
    dtype: str = "float16"
    rounding: str = "nearest"

    def __post_init__(self) -> None:
        self._set("pixels", _whole(self.pixels, "pixels"))
        for name in ("birth_range", "persistence_range"):
            self._set(name, _interval(getattr(self, name), name))
        for name in ("sigma", "threshold", "floor"):
            self._set(name, _number(getattr(self, name), name))
        checks = _Checks("ImageSpec")
        if self.dtype != "uint8":
            self._set("rounding", "nearest")  # of no effect, so no part of the key
        if self.normalise != "own-max":
            self._set("floor", 0.0)
        self._set("weight", _parse_weight(self.weight))
        self._set("essential", _parse_essential(self.essential))
        checks.that(1 <= self.pixels <= 1024, f"pixels must lie in 1..1024, got {self.pixels}")
        checks.that(self.sigma > 0, f"sigma must be positive, got {self.sigma:g}")
        checks.that(self.threshold >= 0, "threshold must not be negative")
        checks.that(self.floor >= 0, "floor must not be negative")
        checks.choice("rule", self.rule, ("cell-integral",))
        checks.choice("grid", self.grid, GRIDS)
        checks.choice("normalise", self.normalise, NORMALISATIONS)
        checks.choice("row_order", self.row_order, ROW_ORDERS)
        checks.choice("precision", self.precision, PRECISIONS)
        checks.choice("dtype", self.dtype, DTYPES)
        checks.choice("rounding", self.rounding, ROUNDINGS)
        checks.that(
            self.dtype != "uint8" or self.normalise != "none",
            "uint8 needs values in 0..1: choose normalise own-max or dataset-max, or a float dtype",
        )
        if self.grid == "legacy-persim":
            low, high = self.birth_range
            checks.that(
                low <= 0 < high and self.persistence_range == (0.0, high),
                "legacy-persim needs birth_range LO <= 0 < HI and persistence_range 0,HI",
            )
        checks.done()

    @property
    def weight_power(self) -> float:
        """Exponent of the persistence in the weight (`relative` is 1, then divided by the max)."""
        if self.weight.startswith("power:"):
            return float(self.weight.removeprefix("power:"))
        return 0.0 if self.weight == "one" else 1.0

    @property
    def clip_value(self) -> float | None:
        """Death given to essential classes, or None when they are dropped."""
        return None if self.essential == "drop" else float(self.essential.removeprefix("clip:"))


def _plural(sample: str) -> str:
    return "distance matrices" if sample == "distances" else f"{sample}s"


def _parse_weight(value: str) -> str:
    """`one`, `linear`, `relative` or `power:N`; `power:0` and `power:1` have their own names."""
    if value in ("one", "linear", "relative"):
        return value
    if isinstance(value, str) and value.startswith("power:"):
        power = _number(value.removeprefix("power:"), "weight power")
        if power >= 0:
            return {0.0: "one", 1.0: "linear"}.get(power, f"power:{power!r}")
    raise InvalidSpec(f"weight must be one, linear, relative or power:N with N >= 0, got {value!r}")


def _parse_essential(value: str) -> str:
    if value == "drop":
        return value
    if isinstance(value, str) and value.startswith("clip:"):
        return f"clip:{_number(value.removeprefix('clip:'), 'essential clip value')!r}"
    raise InvalidSpec(f"essential must be drop or clip:VALUE, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginSpec(_Spec):
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
        checks = _Checks("OriginSpec")
        checks.choice("kind", self.kind, ("imported",))
        checks.text("format", self.format)
        checks.choice("audit", self.audit, AUDITS)
        for name in self.given:
            if name not in STATEABLE:
                checks.that(False, f"given: {_unknown(name, set(STATEABLE))}")
        checks.done()


STATEABLE = tuple(
    f"{part}.{f.name}"
    for part, kind in (("diagram", DiagramSpec), ("image", ImageSpec))
    for f in fields(kind)
)
"""What can be stated of imported images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSpec(_Spec):
    """Everything that decides the numbers in a store.

    algorithm: the version of what computes them, 0 for that of this release. recipe: the name it
    was asked for by. origin: None for what was computed from the source. Of an imported store the
    source is the files that were read, algorithm is 0, and what is not known of diagrams and images
    is in no document and no key: it reads as the default here, and `known_fields` tells.
    """

    source: SourceSpec
    diagram: DiagramSpec
    image: ImageSpec
    algorithm: int = 0
    recipe: str = field(default="", compare=False)
    origin: OriginSpec | None = None

    def __post_init__(self) -> None:
        checks = _Checks("StoreSpec")
        checks.text("recipe", self.recipe)
        checks.done()
        if self.origin is not None:
            for part, kind in (("diagram", DiagramSpec), ("image", ImageSpec)):
                self._set(part, kind.from_dict(self._known(part)))
            self._set("algorithm", 0)
            return
        computed_by = (self.diagram.engine, self.diagram.filtration)
        current = ALGORITHM_VERSIONS.get(computed_by, ALGORITHM_VERSION)
        self._set("algorithm", _whole(self.algorithm, "algorithm") or current)
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

    @property
    def key(self) -> str:
        """SHA-256 of the canonical JSON of source, diagram, image and algorithm version."""
        return canonical_digest({**self._diagram_identity(), "image": self._known("image")})

    @property
    def diagram_key(self) -> str:
        """The key without the image spec: stores that share it share their diagrams."""
        return canonical_digest(self._diagram_identity())

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
        document = _Spec.to_dict(self)
        document |= {part: self._known(part) for part in ("diagram", "image")}
        if self.origin is None:
            del document["origin"]
        return document

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


def known_fields(spec: _Spec, *, key_only: bool = False) -> dict[str, Any]:
    """Every field by its dotted name; UNKNOWN where an imported store does not know its value.

    A computed store has the origin COMPUTED. key_only: without fields that are no part of the key.
    """
    found = dict(_flat(spec, "", key_only=key_only))
    if isinstance(spec, StoreSpec):
        found["origin"] = COMPUTED if spec.origin is None else spec.origin.kind
        if spec.origin is not None:
            unknown = set(STATEABLE) - set(spec.origin.given)
            found |= dict.fromkeys((name for name in found if name in unknown), UNKNOWN)
    return found


def _flat(spec: _Spec, prefix: str, *, key_only: bool) -> Iterator[tuple[str, Any]]:
    for f in fields(spec):
        value = getattr(spec, f.name)
        if isinstance(value, _Spec):
            yield from _flat(value, f"{prefix}{f.name}.", key_only=key_only)
        elif f.compare or not key_only:
            yield prefix + f.name, value


def differences(one: _Spec, other: _Spec, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Fields of the key that differ, by dotted name, with both values; UNKNOWN is one too.

    How images were imported is compared where both were.
    """
    mine, theirs = (known_fields(spec, key_only=True) for spec in (one, other))
    return {
        prefix + name: (value, theirs[name])
        for name, value in mine.items()
        if name in theirs and value != theirs[name]
    }


def _fits(checksum: Any, content: object) -> bool:
    """Whether a document has no checksum, or the right one."""
    try:
        return checksum is None or checksum == canonical_digest(content)
    except (TypeError, ValueError):  # NaN
        return False


def canonical_json(document: object) -> bytes:
    """UTF-8 JSON with sorted names and no spaces; NaN and infinity are refused."""
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def canonical_digest(document: object) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(document)).hexdigest()
