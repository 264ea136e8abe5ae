"""What a user asks for: source, and what to make of it, from options or from a saved file.

A saved request is JSON or TOML with any of the names in `KNOWN`; the `spec.json` of a store is one
too. Options given beside it win.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pi_cache.errors import InvalidSpec, PiCacheError, SourceError
from pi_cache.specs import (
    DiagramSpec,
    GramianSpec,
    ImageSpec,
    SourceSpec,
    StoreSpec,
    default_engine,
)
from pipeline.recipes import Recipe, bare_name, find_recipe
from pipeline.sources import written

KNOWN: dict[str, type | tuple[type, ...]] = {
    "source": str,
    "split": str,
    "source_options": Mapping,
    "recipe": str,
    "sample": str,
    "limit": int,
    "diagram": Mapping,
    "image": Mapping,
    "gramian": Mapping,
}
"""The names of a saved request, with the type of each."""
DATASET_MAX = "dataset-max"
DERIVED = ("scan", "construction", "homology", "engine")
EMBEDDED = ("embedding_dimension", "embedding_delay", "max_length", "metric")
"""Fields that make sense for some filtrations only; another one starts without them."""


@dataclass(frozen=True)
class Wanted:
    """A source by its text, and which samples of it.

    source_options: those of its kind, see `pipeline sources KIND`. split, limit: only that part of
    it. fingerprint: what the source must have, None for any.
    """

    source: str
    source_options: dict[str, Any]
    split: str | None
    limit: int | None
    fingerprint: str | None

    def check(self, found: SourceSpec) -> None:
        """Raise SourceError where the samples are not those that the request was saved for."""
        if self.fingerprint not in (None, found.fingerprint):
            raise SourceError(
                f"{self.source} holds other samples than the saved spec was made for (fingerprint "
                f"{found.fingerprint[:12]}, expected {self.fingerprint[:12]}); "
                "name the SOURCE on the command line to build from it all the same"
            )


@dataclass(frozen=True)
class Request(Wanted):
    """Samples, and the specs to build persistence images of them from.

    recipe: its name, "" for none. scale_by_dataset: the diagram spec's scale is still to be found
    from the data.
    """

    recipe: Recipe
    diagram: DiagramSpec
    image: ImageSpec
    scale_by_dataset: bool = False

    def scaled(self, scale: float) -> Request:
        """With the scale that was found."""
        return replace(self, diagram=self.diagram.replace(scale=scale), scale_by_dataset=False)


@dataclass(frozen=True)
class GramianRequest(Wanted):
    """Samples, and the Gramian angular fields to build of them."""

    gramian: GramianSpec


def read_request(path: Path) -> dict[str, Any]:
    """The saved request in a file. Raises InvalidSpec naming the file and every problem."""
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidSpec(f"{path}: not a readable JSON or TOML file ({error})") from None
    if not isinstance(document, dict):
        raise InvalidSpec(f"{path}: must hold one table of names and values")
    if isinstance(document.get("source"), Mapping):
        try:
            return _of_stored(StoreSpec.from_document(document))
        except PiCacheError as error:
            raise InvalidSpec(f"{path}: {error}") from None
    problems = [
        f"unknown {name!r} (there are {', '.join(KNOWN)})"
        if name not in KNOWN
        else f"{name} must be {_word(KNOWN[name])}, got {value!r}"
        for name, value in document.items()
        if name not in KNOWN or not isinstance(value, KNOWN[name]) or isinstance(value, bool)
    ]
    if document.get("limit", 1) == 0 or str(document.get("limit", 1)).startswith("-"):
        problems.append(f"limit must be at least 1, got {document['limit']!r}")
    if problems:
        raise InvalidSpec(f"{path}: {'; '.join(problems)}")
    return document


def _word(kind: type | tuple[type, ...]) -> str:
    return {str: "text", int: "a whole number"}.get(kind, "a table")  # type: ignore[arg-type]


def _of_stored(spec: StoreSpec) -> dict[str, Any]:
    """The request that the resolved spec of a store stands for."""
    computed: dict[str, Any] = {part: getattr(spec, part).to_dict() for part in spec.parts}
    return samples_of(spec) | {"recipe": bare_name(spec.recipe) or None} | computed


def samples_of(spec: StoreSpec) -> dict[str, Any]:
    """The request for the samples of a store alone. Raises InvalidSpec for an imported one."""
    if spec.origin is not None:
        raise InvalidSpec(
            "this store was imported: nothing here computed it, and some of how it was made may not"
            " be known; name a SOURCE and a --recipe"
        )
    source = spec.source
    return {
        "source": written(source.kind, source.location),
        "split": source.split or None,
        "limit": source.limit,
        "source_options": dict(source.options),
        "fingerprint": source.fingerprint,
    }


def resolve(saved: Mapping[str, Any], given: Mapping[str, Any]) -> Request:
    """The request that a saved one and the options beside it make.

    given: options that were named, None where not: those of `KNOWN`, single fields of the diagram
    and the image spec, and `image_precision`. A source that is given takes nothing of the saved
    one's split, limit and options. Raises InvalidSpec with every problem of a spec.
    """
    if saved.get("gramian"):
        raise InvalidSpec("this spec is of Gramian angular fields: use pipeline build-gafs")
    saved = _without_other_source(saved, given)
    if given.get("recipe") is not None and (saved.get("diagram") or saved.get("image")):
        raise InvalidSpec("a recipe and a saved diagram or image spec: give one of the two")
    merged = _merged(saved, given)
    recipe = find_recipe(merged.get("recipe") or "default")
    diagram = _named(DiagramSpec, given)
    image = _named(ImageSpec, given)
    image.pop("precision", None)  # the option of that name is the diagram's
    if given.get("image_precision") is not None:
        image["precision"] = given["image_precision"]
    by_dataset = diagram.get("scale") == DATASET_MAX
    if by_dataset:
        del diagram["scale"]
    before = _changed(recipe.diagram, merged.get("diagram") or {})
    return Request(
        **_wanted(merged, given, default="digits"),
        recipe=recipe,
        diagram=_changed(before, diagram),
        image=ImageSpec.from_dict(
            {**recipe.image.to_dict(), **(merged.get("image") or {}), **image}
        ),
        scale_by_dataset=by_dataset,
    )


def resolve_gramian(saved: Mapping[str, Any], given: Mapping[str, Any]) -> GramianRequest:
    """The request for Gramian angular fields that a saved one and the options beside it make.

    saved: also that of a store of persistence images, whose samples are taken. given: as for
    `resolve`, with single fields of the Gramian spec. Raises InvalidSpec.
    """
    saved = _without_other_source(saved, given)
    merged = _merged(saved, given)
    if not merged.get("source"):
        raise InvalidSpec(
            "no source is named; name a SOURCE of signals, or the --spec of a store of such"
        )
    return GramianRequest(
        **_wanted(merged, given),
        gramian=GramianSpec.from_dict(
            {**(merged.get("gramian") or {}), **_named(GramianSpec, given)}
        ),
    )


def _merged(saved: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A saved request with what is given beside it; of the options of a source each by itself.

    The numbers of a fitted scale belong to the saved options: beside others they are fitted anew.
    """
    named = {name: given[name] for name in KNOWN if given.get(name) is not None}
    if "source_options" in named:
        before = saved.get("source_options") or {}
        kept = {name: value for name, value in before.items() if name != "fitted"}
        named["source_options"] = {**kept, **named["source_options"]}
    return {**saved, **named}


def _without_other_source(saved: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A saved request; where a source is given, without what was said of the saved one."""
    dropped = ("split", "limit", "source_options", "sample", "fingerprint")
    other = given.get("source") is not None
    return {name: value for name, value in saved.items() if not (other and name in dropped)}


def _wanted(
    merged: Mapping[str, Any], given: Mapping[str, Any], *, default: str = ""
) -> dict[str, Any]:
    """The fields of `Wanted`. default: the source where none is named."""
    options = dict(merged.get("source_options") or {})
    if merged.get("sample"):
        options["sample"] = merged["sample"]
    return {
        "source": merged.get("source") or default,
        "source_options": options,
        "split": merged.get("split"),
        "limit": merged.get("limit"),
        "fingerprint": merged.get("fingerprint") if not _other_part(given) else None,
    }


def _other_part(given: Mapping[str, Any]) -> bool:
    """Whether options choose other samples than the saved ones."""
    return any(
        given.get(name) is not None for name in ("split", "limit", "source_options", "sample")
    )


def _named(
    spec: type[DiagramSpec | ImageSpec | GramianSpec], given: Mapping[str, Any]
) -> dict[str, Any]:
    names = set(spec.__dataclass_fields__)
    return {name: value for name, value in given.items() if name in names and value is not None}


def _changed(spec: DiagramSpec, changes: Mapping[str, Any]) -> DiagramSpec:
    """The spec with changes; another filtration drops what was the old one's own.

    An engine that was the usual one of its spec gives way to that of the new one.
    """
    kept = spec.to_dict()
    if spec.engine == default_engine(spec.filtration, spec.homology):
        del kept["engine"]
    if changes.get("filtration", spec.filtration) != spec.filtration:
        kept = {name: v for name, v in kept.items() if name not in (*DERIVED, *EMBEDDED)}
    return DiagramSpec.from_dict({**kept, **changes})
