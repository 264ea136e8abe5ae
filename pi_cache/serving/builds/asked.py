"""What a client asks for: a document in the words of a saved request, or the spec of a store.

It names data by the name that the administrator gave it, and what to compute. Nothing of it is a
path, an address, an option of a source, or the name of a program: those are not among its words.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pi_cache.errors import PiCacheError
from pi_cache.serving.builds.refusals import MALFORMED, TOO_LARGE, UNFIT, BuildRefused
from pi_cache.serving.builds.sources import Listed, ListedSource
from pi_cache.specs import (
    VARIANT,
    DiagramSpec,
    GramianSpec,
    ImageSpec,
    StoreSpec,
)

LARGEST = 64 * 1024
"""Bytes of a document."""
DEEPEST = 16
"""Brackets inside brackets; a spec has four."""
LONGEST_WORD = 200
"""Characters of a name or a value that is text."""
MOST_VALUES = 2_000
"""Names and values of a document: many small ones take far more memory than their bytes."""
LONGEST_LIST = 16
"""Values of a field that is a list; a spec has two."""
LONGEST_NUMBER = 40
"""Digits of a whole number."""

MEMBERS: dict[str, type] = {
    "source": str, "split": str, "limit": int, "variant": str, "recipe": str,
    "diagram": dict, "image": dict, "gramian": dict,
}  # fmt: skip
"""The names of a request, with the type of each."""
SPECS: dict[str, type] = {"diagram": DiagramSpec, "image": ImageSpec, "gramian": GramianSpec}
NOT_HERE = {
    "source_options": "options of a source are the administrator's",
    "sample": "what the samples are is the administrator's",
    "fingerprint": "a spec.json has it",
    "engine": "it belongs into diagram",
}
"""Words of a saved request that no client may say, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that can be looked into. source: the name of listed data, "" for a spec of a store.

    computed: recipe, diagram, image and gramian, where named. kind, fingerprint, key, location: of
    a spec, "" where they may be any; the location is compared and never opened. document: what the
    client sent.
    """

    source: str
    document: Mapping[str, Any]
    split: str = ""
    limit: int | None = None
    variant: str = ""
    computed: Mapping[str, Any] = field(default_factory=dict)
    kind: str = ""
    fingerprint: str = ""
    key: str = ""
    location: str = ""

    def candidates(self, listed: Listed) -> list[ListedSource]:
        """The listed sources that may hold its samples, the likeliest first.

        Raises BuildRefused where none does.
        """
        if self.source:
            return [self._named(listed)]
        found = [s for s in listed.values() if s.kind == self.kind and s.split in ("", self.split)]
        if not found:
            raise BuildRefused(
                UNFIT,
                f"no source of the kind {self.kind!r} is offered here; {offered(listed)}",
            )
        return sorted(found, key=lambda source: source.absolute != self.location)

    def _named(self, listed: Listed) -> ListedSource:
        source = listed.get(self.source)
        if source is None:
            raise BuildRefused(UNFIT, f"no source {self.source!r} here; {offered(listed)}")
        if self.split and source.split not in ("", self.split):
            raise BuildRefused(
                UNFIT, f"of {self.source} only the split {source.split} is offered here"
            )
        return source

    def saved(self, source: ListedSource) -> dict[str, Any]:
        """The saved request for its samples in one source, as `pipeline.request` reads it."""
        options = {**source.options, **({VARIANT: self.variant} if self.variant else {})}
        return {
            "source": source.text,
            "split": self.split or source.split or None,
            "limit": self.limit,
            "source_options": options,
        }


def offered(listed: Listed) -> str:
    """Which sources there are, in words."""
    return f"sources: {', '.join(listed)}" if listed else "no source is offered here"


def parse_asked(body: bytes) -> Asked:
    """The request of a body of JSON. Raises BuildRefused, with every unknown name."""
    if len(body) > LARGEST:
        raise BuildRefused(TOO_LARGE, f"a request has at most {LARGEST} bytes, got {len(body)}")
    return parse_document(_parse_json(body))


def parse_document(document: Any) -> Asked:
    """The request of a document that was read. Raises BuildRefused."""
    if not isinstance(document, dict):
        raise BuildRefused(MALFORMED, "a request is an object of JSON: {...}")
    _check_form(document)
    if isinstance(document.get("source"), dict):
        return _of_spec(document)
    problems = list(_problems(document))
    if problems:
        raise BuildRefused(MALFORMED, "; ".join(problems))
    computed = {name: document[name] for name in ("recipe", *SPECS) if name in document}
    own = {name: document[name] for name in ("split", "limit", "variant") if name in document}
    return Asked(source=document["source"], document=document, computed=computed, **own)


def _of_spec(document: dict[str, Any]) -> Asked:
    """The request that the spec of a store stands for."""
    try:
        spec = StoreSpec.from_document(document)
    except (PiCacheError, TypeError, ValueError, AttributeError, LookupError) as error:
        raise BuildRefused(MALFORMED, f"not the spec of a store: {error}") from None
    if spec.origin is not None:
        raise BuildRefused(UNFIT, "the spec is of an imported store: nothing here can compute it")
    source = spec.source
    computed: dict[str, Any] = {part: getattr(spec, part).to_dict() for part in spec.parts}
    name = spec.recipe.removesuffix(", changed")
    return Asked(
        source="",
        document=document,
        split=source.split,
        limit=source.limit,
        variant=str(source.options.get(VARIANT, "")),
        computed={**computed, **({"recipe": name} if name and spec.gramian is None else {})},
        kind=source.kind,
        fingerprint=source.fingerprint,
        key=spec.key,
        location=source.location,
    )


def _problems(document: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the names and types of a request, a phrase each."""
    for name, value in document.items():
        if name not in MEMBERS:
            why = NOT_HERE.get(name, f"there are {', '.join(MEMBERS)}")
            yield f"unknown member {name[:LONGEST_WORD]!r} ({why})"
        elif not isinstance(value, MEMBERS[name]) or isinstance(value, bool):
            yield f"{name} must be {_word(MEMBERS[name])}"
        elif isinstance(value, str) and not 0 < len(value) <= LONGEST_WORD:
            yield f"{name} must have 1 to {LONGEST_WORD} characters"
    if not isinstance(document.get("source"), str):
        yield "source is missing: the name of data that is offered here"
    limit = document.get("limit", 1)
    if isinstance(limit, int) and not 1 <= limit < 2**53:
        yield f"limit must be at least 1, got {limit}"
    if "gramian" in document and {"recipe", "diagram", "image"} & set(document):
        yield "gramian goes with neither recipe, diagram nor image"
    for name, spec in SPECS.items():
        if isinstance(document.get(name), dict):
            yield from _field_problems(name, document[name], spec)


def _field_problems(name: str, given: Mapping[str, Any], spec: type) -> Iterator[str]:
    """What is wrong with the fields of a spec, before the spec itself says more."""
    known = {f.name for f in fields(spec)}
    for unknown in sorted(set(given) - known):
        yield f"unknown member {f'{name}.{unknown}'[:LONGEST_WORD]!r}"
    for field_name in sorted(set(given) & known):
        value = given[field_name]
        items = value if isinstance(value, list) else [value]
        if len(items) > LONGEST_LIST or not all(_is_plain(item) for item in items):
            yield (
                f"{name}.{field_name} must be a number, a word of at most {LONGEST_WORD}"
                f" characters, or a list of at most {LONGEST_LIST} of these"
            )


def _is_plain(value: Any) -> bool:
    """Whether a value is a number, a truth value, null, or a short text."""
    return not isinstance(value, dict | list) and len(str(value)) <= LONGEST_WORD


def _word(kind: type) -> str:
    return {str: "text", int: "a whole number"}.get(kind, "an object")


def _parse_json(body: bytes) -> Any:
    """The value of a body. Raises BuildRefused for what is no JSON, or not of one meaning."""
    try:
        document = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
        json.dumps(document, ensure_ascii=False).encode()  # half a character can be escaped
        return document
    except BuildRefused:
        raise
    except (ValueError, RecursionError) as error:
        told = "brackets are too deep" if isinstance(error, RecursionError) else error
        raise BuildRefused(MALFORMED, f"the body is not JSON: {told}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise BuildRefused(MALFORMED, f"the name {twice[:LONGEST_WORD]!r} occurs twice")
    return content


def _refuse_constant(constant: str) -> Any:
    raise BuildRefused(MALFORMED, f"{constant} is not a number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BuildRefused(MALFORMED, f"{text[:LONGEST_WORD]} is too large a number")
    return value


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise BuildRefused(MALFORMED, f"{text[:LONGEST_WORD]} is too large a number")
    return int(text)


def _check_form(document: Any) -> None:
    """Raise BuildRefused where brackets are in brackets too often, or there are too many values."""
    level: list[Any] = [document]
    values = 0
    for _ in range(DEEPEST):
        values += sum(len(value) for value in level)
        if values > MOST_VALUES:
            raise BuildRefused(MALFORMED, f"a request has at most {MOST_VALUES:,} values")
        level = [inner for value in level for inner in _inner(value)]
        if not level:
            return
    raise BuildRefused(MALFORMED, f"brackets are deeper than {DEEPEST}")


def _inner(value: Any) -> list[Any]:
    items = value.values() if isinstance(value, dict) else value
    return [item for item in items if isinstance(item, dict | list)]
