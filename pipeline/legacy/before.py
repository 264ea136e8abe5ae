"""Earlier imports of the same images: what a store keeps of one, which other store holds them."""

from __future__ import annotations

from pathlib import Path

from pi_cache import catalogue
from pi_cache.errors import AlreadyPublished
from pi_cache.manifest import StoreManifest
from pi_cache.specs import StoreSpec
from pipeline.legacy.audit import Audit
from pipeline.prepare import find_begun


def check_first_claim(root: Path, spec: StoreSpec, done: Audit) -> None:
    """Raise AlreadyPublished where a store keeps another failed claim of the same images.

    What a failed audit refutes is no part of the key, so two claims that fail meet in one store,
    which has room for the audit of the first. They differ in the recipe, or in how far as many
    images are from it.
    """
    before = None if not done.problems else find_begun(root, spec)
    kept = None if before is None else before.blueprint.attributes.get("audit")
    if kept is None:
        return
    same = all(kept[name] == getattr(done, name) for name in ("largest", "median", "differing"))
    if kept["recipe"] == done.recipe and (same or kept["compared"] != done.compared):
        return
    raise AlreadyPublished(
        f"these images are in store {spec.key[:12]} already, as what fails to be made by"
        f" {kept['recipe'] or 'what was stated'}; it keeps one audit: pi-cache rm {spec.key[:12]}"
        " first, to keep this one"
    )


def same_images(root: Path, manifest: StoreManifest) -> list[catalogue.Entry]:
    """The other imported stores under a root that hold the very images of this one."""
    mine = _digests(manifest)
    return [
        entry
        for entry in catalogue.stores(root)
        if entry.manifest is not None and entry.key != manifest.key
        if entry.manifest.spec.origin is not None and _digests(entry.manifest) == mine
    ]


def other_words(entry: catalogue.Entry) -> str:
    """How another store of the same images was imported, and how it can be removed."""
    origin = entry.spec.origin if entry.spec is not None else None
    audit = "none" if origin is None else origin.audit
    known = {"none": "not audited", "passed": "audited", "failed": "with a failed audit"}[audit]
    recipe = entry.spec.recipe if entry.spec is not None else ""
    claimed = f", as {recipe}" if recipe else ""
    return f"{known}{claimed}: keep both, or pi-cache rm {entry.key[:12]}"


def _digests(manifest: StoreManifest) -> dict[str, str]:
    """The digest of each file that holds images."""
    return {
        name: entry.sha256
        for name, entry in manifest.files.items()
        if name.startswith("data.zarr/images/c.")
    }
