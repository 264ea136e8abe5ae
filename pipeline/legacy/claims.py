"""What is claimed of how images were made: by recipe, saved spec, single fields, folder names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pi_cache.errors import InvalidSpec
from pi_cache.specs import STATEABLE, DiagramSpec, ImageSpec, OriginSpec, StoreSpec
from pipeline.legacy.found import SCANNED, Found
from pipeline.recipes import RECIPES, Recipe, find_recipe, recorded_name
from pipeline.request import read_request

PARTS: dict[str, Any] = {"diagram": DiagramSpec, "image": ImageSpec}
MEASURED = ("image.pixels", "image.dtype")
"""Fields that the images themselves tell."""
LISTS = ("image.birth_range", "image.persistence_range", "diagram.homology")
"""Fields of several values."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """How the images are said to have been made.

    recipe: the name that a store keeps of it, "" for none. given: the fields that were stated; the
    others of `diagram` and `image` are defaults that mean nothing.
    """

    recipe: str
    diagram: DiagramSpec
    image: ImageSpec
    given: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether every field is known, so that images can be computed by it."""
        return set(STATEABLE) <= {*self.given, *MEASURED}

    def spec(self, found: Found, audit: str) -> StoreSpec:
        """The spec of a store of these images. audit: `none`, `passed` or `failed`.

        What a failed audit refutes is not known.
        """
        given = () if audit == "failed" else self.given
        return StoreSpec(
            source=found.source.spec(),
            diagram=self.diagram,
            image=self.image,
            recipe=self.recipe if given else "",
            origin=OriginSpec(format=found.format, given=given, audit=audit),
        )


def parse_given(text: str) -> tuple[str, Any]:
    """Name and value of FIELD=VALUE, such as `image.birth_range=0,0.3`. Raises InvalidSpec."""
    name, equals, value = text.partition("=")
    if not equals or name not in STATEABLE:
        OriginSpec(format="", given=(name,))  # raises with the nearest name
        raise InvalidSpec(f"{text!r} is not FIELD=VALUE, such as image.sigma=0.01")
    if name == "image.dtype":
        raise InvalidSpec("image.dtype is that of the images; --dtype stores floats as another one")
    if name in LISTS:
        return name, tuple(_value(part) for part in value.split(","))
    if "," in value:
        raise InvalidSpec(f"{name} is one value, got {value!r}; a decimal has a point: 0.05")
    return name, _value(value)


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return text


def parse_claim(
    found: Found, *, recipe: str | None, spec_file: Path | None, given: Mapping[str, Any],
    dtype: str,
) -> Claim:  # fmt: skip
    """What is said of the images, checked against them. dtype: what they are stored as.

    given: values by the names of fields; they win over a recipe. Raises InvalidSpec.
    """
    saved = {} if spec_file is None else read_request(spec_file)
    if recipe is not None and saved:
        raise InvalidSpec("a recipe and a saved spec: give one of the two")
    name = recipe or saved.get("recipe") or ""
    stated = {
        f"{part}.{field}": value
        for part in PARTS
        for field, value in (saved.get(part) or {}).items()
    }
    stated |= given
    if found.scan:
        stated.setdefault("diagram.scan", found.scan)
    return _claim(found, find_recipe(name) if name else None, stated, dtype)


def guesses(found: Found, claim: Claim, sample: str, dtype: str) -> list[Claim]:
    """The claims of every recipe that fits the images and their source, with what was stated."""
    stated = {name: _field(claim, name) for name in claim.given}
    fitting = []
    for recipe in RECIPES.values():
        if recipe.name == "default" or recipe.sample != sample:
            continue
        try:
            fitting.append(_claim(found, recipe, stated, dtype))
        except InvalidSpec:  # of other pixels or channels
            continue
    return fitting


def _field(claim: Claim, name: str) -> Any:
    part, _, field = name.partition(".")
    return getattr(getattr(claim, part), field)


def _claim(found: Found, recipe: Recipe | None, stated: Mapping[str, Any], dtype: str) -> Claim:
    seen = {"image.pixels": found.pixels, "image.dtype": dtype}
    _check_measured(recipe, stated, seen)
    specs: dict[str, Any] = {}
    for part, kind in PARTS.items():
        base = {} if recipe is None else getattr(recipe, part).to_dict()
        if recipe is not None and "diagram.filtration" in stated:
            base = base if part == "image" else {}
        fields = {n.partition(".")[2]: v for n, v in {**stated, **seen}.items()
                  if n.startswith(f"{part}.")}  # fmt: skip
        specs[part] = kind.from_dict({**base, **fields})
    claim = Claim(
        recipe="" if recipe is None else recorded_name(recipe.name, **specs),
        given=STATEABLE if recipe is not None else tuple(stated),
        **specs,
    )
    _check_channels(found, claim)
    return claim


def _check_measured(
    recipe: Recipe | None, stated: Mapping[str, Any], seen: Mapping[str, Any]
) -> None:
    """Raise InvalidSpec where images of another size are claimed. Their type may have changed."""
    claimed = stated.get("image.pixels", recipe.image.pixels if recipe else seen["image.pixels"])
    if claimed != seen["image.pixels"]:
        who = f"recipe {recipe.name}" if recipe else "the claim"
        raise InvalidSpec(
            f"{who} makes images of {claimed} pixels, and these have {seen['image.pixels']}"
        )


def _check_channels(found: Found, claim: Claim) -> None:
    """Raise InvalidSpec where so many images a sample cannot come from the claimed diagrams."""
    known = {"diagram.scan", "diagram.homology"} & set(claim.given)
    each = parts_of(claim.diagram, known)
    if found.channels % each:
        raise InvalidSpec(
            f"{claim.recipe or 'the claim'} gives images in groups of {each} a channel, and these"
            f" samples have {found.channels}; give both --rows and --columns, or say which scan"
            " these are: --given diagram.scan=rows"
        )


def parts_of(diagram: DiagramSpec, known: set[str]) -> int:
    """Images that each channel of a source gives, as far as is known."""
    scans = len(SCANNED.get(diagram.scan or "", ("",))) if "diagram.scan" in known else 1
    return scans * (len(diagram.homology) if "diagram.homology" in known else 1)


def named_channels(found: Found, claim: Claim) -> Found:
    """With channels named as a build names them, such as `rows/red/H0`, as far as is known."""
    scan = claim.diagram.scan if "diagram.scan" in claim.given else None
    homology = claim.diagram.homology if "diagram.homology" in claim.given else ()
    if found.named or not homology:
        return found
    scans = SCANNED.get(scan or "", ("",))
    fields = found.channels // (len(scans) * len(homology))
    bare = [name.rpartition("/")[2] for name in found.source.channels[:fields]]
    names = [
        "/".join(filter(None, (word, name, f"H{k}")))
        for word in scans for name in bare for k in homology
    ]  # fmt: skip
    return replace(found, source=replace(found.source, channels=tuple(names)))
