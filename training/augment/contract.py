"""Which augmentations go with which store: refused, or written in the record of the run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pi_cache.errors import StaleImages
from pi_cache.specs import DiagramSpec, GramianSpec, StoreSpec
from training.augment.base import Augmentation
from training.augment.effects import INVALID, Effect, invalid, unchanged

DECIDING = {"sublevel": ("scan", "centre"), "superlevel": ("scan", "centre"), "rips": ("metric",)}
"""Fields of a diagram spec on which an effect depends, beside the filtration."""
AS_STORED, MOVED_CHANNELS, FROM_VARIANT, FROM_POINTS, STALE = (
    "as stored",
    "channels change places",
    "from the variant store",
    "rendered from moved points",
    "stale",
)
"""How the images of a run follow an augmentation, in its record."""


def effect_of(augmentation: Augmentation, spec: DiagramSpec | GramianSpec, sample: str) -> Effect:
    """What an augmentation does to the diagrams, or fields, that `spec` makes of samples."""
    if augmentation.neutral:
        return unchanged("its parameters say that nothing changes")
    if sample not in augmentation.samples:
        kinds = " or ".join(f"{kind}s" for kind in augmentation.samples)
        return invalid(f"it changes {kinds}, and the images are made of another kind, {sample}")
    if isinstance(spec, GramianSpec):
        return augmentation.gramian_effect(spec)
    return augmentation.effect(spec)


def store_effect(augmentation: Augmentation, spec: StoreSpec) -> Effect:
    """As `effect_of`, of a store; invalid where nobody said how imported images were made."""
    if spec.gramian is not None:
        return effect_of(augmentation, spec.gramian, spec.source.sample)
    effect = effect_of(augmentation, spec.diagram, spec.source.sample)
    unsaid = _unsaid(spec)
    if effect.kind == INVALID or augmentation.neutral or not unsaid:
        return effect
    return invalid(f"the images were imported, and nobody stated their {' and '.join(unsaid)}")


def _unsaid(spec: StoreSpec) -> list[str]:
    """What an effect depends on and nobody stated of imported images."""
    if spec.origin is None:
        return []
    needed = ["filtration", *DECIDING.get(spec.diagram.filtration, ())]
    if spec.source.sample != "image" and "scan" in needed:
        needed.remove("scan")
    return [name for name in needed if f"diagram.{name}" not in spec.origin.given]


def check_contract(
    augmentations: Sequence[Augmentation],
    spec: StoreSpec,
    *,
    variants: Collection[str] = (),
    rendered: bool = False,
    allow_stale: bool = False,
) -> dict[str, Any]:
    """The record of what each augmentation does to the images of a store, as plain values.

    augmentations: in the order in which they are applied.
    variants: names of the variant stores at hand, such as `flip`. A variant is of the samples as
    stored, so what needs one must come first.
    rendered: whether images are made from the stored diagrams, whose points are then moved.
    allow_stale: deliver stored images for changed inputs all the same; the record says so.
    Raises StaleImages, which says why and what to do, for every invalid pair together.
    """
    rows, refused = [], []
    for place, augmentation in enumerate(augmentations):
        effect = store_effect(augmentation, spec)
        at_hand = variants if place == 0 else ()
        follows = _follows(effect, at_hand, rendered)
        rows.append(_row(augmentation, effect, follows))
        if follows == STALE:
            refused.append(
                f"{_named(augmentation)}: {effect.reason}; {_remedy(effect, place, spec)}"
            )
    if refused and not allow_stale:
        raise StaleImages(
            f"the persistence images of store {spec.key[:12]} do not follow "
            + "; ".join(refused)
            + "; or say allow_stale=True, which is written in the record of the run"
        )
    stale = [row["augmentation"]["name"] for row in rows if row["images"] == STALE]
    return {"store": spec.key, "augmentations": rows, "allow_stale": allow_stale, "stale": stale}


def _follows(effect: Effect, variants: Collection[str], rendered: bool) -> str:
    if effect.kind != INVALID:
        return AS_STORED if effect.kind == "unchanged" else MOVED_CHANNELS
    if effect.variant in variants and effect.variant:
        return FROM_VARIANT
    return FROM_POINTS if rendered and effect.rendered else STALE


def _row(augmentation: Augmentation, effect: Effect, follows: str) -> dict[str, Any]:
    return {
        "augmentation": augmentation.to_dict(),
        "effect": effect.kind,
        "reason": effect.reason,
        "images": follows,
    }


def _named(augmentation: Augmentation) -> str:
    """Its name, and what distinguishes it: `Symmetry flip`."""
    symmetry = getattr(augmentation, "symmetry", "") or getattr(augmentation, "kind", "")
    return f"{augmentation.name} {symmetry}".rstrip()


def _remedy(effect: Effect, place: int, spec: StoreSpec) -> str:
    if effect.variant:
        first = "" if place == 0 else ", and put it first: a variant is of samples as stored"
        asked = (
            f"build-pis --variants {effect.variant}"
            if spec.gramian is None
            else f"build-gafs --source-option variant={effect.variant}"
        )
        return f"build its variant with `pipeline {asked}` and load it{first}"
    if effect.rendered:
        return "render the images from the stored diagrams, whose points can be moved"
    return "leave it out where images are read, or use it on inputs that go without them"
