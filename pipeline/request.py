"""What a user asks for: source, recipe and changes to it, from options or from a saved file.

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

from pi_cache.errors import InvalidSpec
from pi_cache.specs import DiagramSpec, ImageSpec
from pipeline.recipes import Recipe, find_recipe
from pipeline.sources import written

KNOWN = ("source", "split", "source_options", "recipe", "sample", "limit", "diagram", "image")
STORED = ("format_version", "key", "algorithm")
DATASET_MAX = "dataset-max"


@dataclass(frozen=True)
class Request:
    """A source by its text, and the specs to build from it.

    source_options: those of its kind, see `pipeline sources KIND`; split: only that part of it.
    scale_by_dataset: the diagram spec's scale is still to be found from the data.
    """

    source: str
    source_options: dict[str, Any]
    split: str | None
    limit: int | None
    recipe: Recipe
    diagram: DiagramSpec
    image: ImageSpec
    scale_by_dataset: bool = False

    def scaled(self, scale: float) -> Request:
        """With the scale that was found."""
        return replace(self, diagram=self.diagram.replace(scale=scale), scale_by_dataset=False)


def read_request(path: Path) -> dict[str, Any]:
    """The saved request in a file. Raises InvalidSpec naming the file."""
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidSpec(f"{path}: not a readable JSON or TOML file ({error})") from None
    if not isinstance(document, dict):
        raise InvalidSpec(f"{path}: must hold one table of names and values")
    unknown = sorted(set(document) - {*KNOWN, *STORED})
    if unknown:
        raise InvalidSpec(f"{path}: unknown {', '.join(unknown)}; there are {', '.join(KNOWN)}")
    request = {name: document[name] for name in KNOWN if name in document}
    if isinstance(request.get("source"), Mapping):  # the resolved spec of a store
        source = request["source"]
        request["source"] = written(source["kind"], source.get("location", ""))
        if source["kind"] == "array":
            request.setdefault("sample", source.get("sample"))
        request.setdefault("limit", source.get("samples"))
    return request


def resolve(saved: Mapping[str, Any], given: Mapping[str, Any]) -> Request:
    """The request that a saved one and the options beside it make.

    given: options that were named, `None` where not: those of `KNOWN`, and single fields of the
    diagram and image spec. Raises InvalidSpec with every problem of a spec.
    """
    merged = {**saved, **{name: given[name] for name in KNOWN if given.get(name) is not None}}
    recipe = find_recipe(merged.get("recipe", "default"))
    diagram = {**merged.get("diagram", {}), **_fields(DiagramSpec, given)}
    image = {**merged.get("image", {}), **_fields(ImageSpec, given)}
    by_dataset = diagram.get("scale") == DATASET_MAX
    if by_dataset:
        del diagram["scale"]
    return Request(
        source=merged.get("source", "digits"),
        source_options=dict(merged.get("source_options") or {})
        | ({"sample": merged["sample"]} if merged.get("sample") else {}),
        split=merged.get("split"),
        limit=merged.get("limit"),
        recipe=recipe,
        diagram=_diagram(recipe.diagram, diagram),
        image=ImageSpec.from_dict({**recipe.image.to_dict(), **image}),
        scale_by_dataset=by_dataset,
    )


def _fields(spec: type[DiagramSpec] | type[ImageSpec], given: Mapping[str, Any]) -> dict[str, Any]:
    names = set(spec.__dataclass_fields__)
    return {name: value for name, value in given.items() if name in names and value is not None}


def _diagram(recipe: DiagramSpec, changes: Mapping[str, Any]) -> DiagramSpec:
    """The recipe with changes; another filtration starts from its own defaults.

    Fields that follow from the filtration (engine, homology, scan) are not carried over to another.
    """
    if changes.get("filtration", recipe.filtration) != recipe.filtration:
        return DiagramSpec.from_dict({"precision": recipe.precision, **changes})
    return DiagramSpec.from_dict({**recipe.to_dict(), **changes})
