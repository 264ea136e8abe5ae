"""What every spec can: the round trip to plain JSON values, and the digest of these."""

from __future__ import annotations

import hashlib
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Self

from pi_cache.errors import InvalidSpec
from pi_cache.specs.checks import unknown_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Round trip to plain JSON values; unknown names are refused with the nearest known one."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict(to_dict())` is equal."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The spec of a plain mapping. Raises InvalidSpec for unknown or missing names."""
        known = {f.name for f in fields(cls)}
        unknown = [unknown_name(name, known) for name in document if name not in known]
        if unknown:
            raise InvalidSpec(f"{cls.__name__}: " + "; ".join(unknown))
        cls._check_names(document)
        hints = _hints(typing.cast(Any, cls))
        values = {name: _parsed(hints[name], value) for name, value in document.items()}
        try:
            return cls(**values)
        except TypeError as error:
            raise InvalidSpec(f"{cls.__name__}: {error}") from None

    @classmethod
    def _check_names(cls, document: Mapping[str, Any]) -> None:
        """Raise InvalidSpec where known names do not go together."""

    def replace(self, **changes: Any) -> Self:
        """The same spec with some fields changed."""
        return replace(self, **changes)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


@cache
def _hints(spec: type[Spec]) -> dict[str, Any]:
    """The types of a spec's fields; finding them takes longer than all else of reading one."""
    return typing.get_type_hints(spec)


def _parsed(hint: Any, value: Any) -> Any:
    """A mapping as the spec that a field is to hold; any other value as it is."""
    if isinstance(value, Mapping):
        for kind in (hint, *typing.get_args(hint)):  # a spec, or a spec or None
            if hasattr(kind, "from_dict"):
                return kind.from_dict(value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def canonical_json(document: object) -> bytes:
    """UTF-8 JSON with sorted names and no spaces; NaN and infinity are refused."""
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def canonical_digest(document: object) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(document)).hexdigest()
