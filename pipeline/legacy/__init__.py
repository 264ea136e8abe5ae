"""Import persistence images that were made elsewhere: find, claim, audit, write.

`import_folder` is what `pi-cache import` calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pi_cache.errors import InvalidSpec
from pi_cache.ledger import finish
from pi_cache.manifest import StoreManifest
from pi_cache.specs import DTYPES
from pipeline.legacy.audit import Audit, FailedAudit, audit
from pipeline.legacy.before import check_first_claim, other_words, same_images
from pipeline.legacy.claims import named_channels, parse_claim, parse_given
from pipeline.legacy.found import Found, Where, find
from pipeline.legacy.recompute import columns_are_rows
from pipeline.legacy.tgd import open_originals, tgd_folders
from pipeline.legacy.write import write_store
from pipeline.progress import Progress
from pipeline.sources import open_source
from pipeline.sources.base import Source

__all__ = ["FailedAudit", "Import", "Proof", "Where", "import_folder"]

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The source that images are audited against. source: as for a build; "" for no audit.

    count: images compared. tolerance: largest difference, None for that of their type. partial:
    the source may have samples without an image. keep: import what fails, marked as failed.
    """

    source: str = ""
    split: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    count: int = 50
    tolerance: float | None = None
    partial: bool = False
    keep: bool = False

    def __post_init__(self) -> None:
        if self.tolerance is not None and not 0 <= self.tolerance < float("inf"):
            raise InvalidSpec(f"tolerance must be a number from 0 on, got {self.tolerance}")


@dataclass(frozen=True, kw_only=True)
class Import:
    """What an import did. kept: shards that an earlier run had written."""

    manifest: StoreManifest
    path: Path
    audit: dict[str, Any] | None
    kept: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        manifest, origin = self.manifest, self.manifest.spec.origin
        assert origin is not None
        return {
            "key": manifest.key,
            "path": str(self.path),
            "samples": manifest.samples,
            "status": dict(manifest.status),
            "blank": manifest.statistics.get("blank_images", 0),
            "format": origin.format,
            "given": list(origin.given),
            "audit": self.audit,
            "digest": manifest.digest,
            "bytes": manifest.size,
            "shards": manifest.shards,
            "kept": self.kept,
            "problems": dict(manifest.statistics.get("problems", {})),
            "seconds": round(self.seconds, 3),
        }


def import_folder(
    *,
    root: Path,
    dtype: str | None = None,
    recipe: str | None = None,
    spec_file: Path | None = None,
    given: tuple[str, ...] = (),
    space_check: bool = True,
    say: Say = lambda text: None,
    **options: Any,
) -> Import:
    """The finished store of images that lie somewhere; calling again goes on where it stopped.

    dtype: what images are stored as, their own unless given. given: FIELD=VALUE words.
    space_check: refuse what there is no room for. options: the fields of `Where` and `Proof`.
    Raises any PiCacheError, FailedAudit among them.
    """
    started = time.perf_counter()
    places = {f.name for f in fields(Where)}
    found = find(Where(**{name: value for name, value in options.items() if name in places}))
    asked = Proof(**{name: value for name, value in options.items() if name not in places})
    for note in found.notes:
        say(f"note: {note}")
    stored = _stored_as(dtype, found)
    stated = _stated(given)
    claim = parse_claim(found, recipe=recipe, spec_file=spec_file, given=stated, dtype=stored)
    done: Audit | None = None
    if asked.source:
        said = len(found.notes)
        audited = audit(
            found,
            claim,
            _open_source(asked),
            count=asked.count,
            tolerance=asked.tolerance,
            partial=asked.partial,
        )
        found, claim, done = audited.found, audited.claim, audited.audit
        for line in (*(f"note: {note}" for note in found.notes[said:]), done.line()):
            say(line)
        if done.problems and not asked.keep:
            raise FailedAudit(
                f"not imported: {'; '.join(done.problems)}; or --keep, to import them all the same,"
                " marked as failed"
            )
        for problem in done.problems:
            say(f"warning: {problem}")
    elif found.scan == "both" and columns_are_rows(found.source):
        say(
            "warning: the images of columns are those of rows, in every sample looked at: a"
            " transpose whose result was not used? Import --rows alone, or compute them again"
        )
    found = named_channels(found, claim) if done is None else found
    spec = claim.spec(found, "none" if done is None else done.verdict)
    if done is not None:
        check_first_claim(root, spec, done)
    with Progress() as progress:
        build, kept = write_store(
            found, spec, done, root, space_check=space_check, progress=progress
        )
    manifest = finish(build)
    seconds = time.perf_counter() - started
    recorded = build.blueprint.attributes.get("audit")
    if done is not None and recorded != done.to_dict():
        say("note: these images were imported before; the store keeps the audit of that time")
    for other in same_images(root, manifest):
        say(f"note: store {other.key[:12]} holds the same images, {other_words(other)}")
    return Import(manifest=manifest, path=build.path, audit=recorded, kept=kept, seconds=seconds)


def _stated(given: tuple[str, ...]) -> dict[str, Any]:
    """Values by the names of fields. Raises InvalidSpec where one has two."""
    stated: dict[str, Any] = {}
    for name, value in map(parse_given, given):
        if stated.setdefault(name, value) != value:
            raise InvalidSpec(f"{name} is given twice, as {stated[name]!r} and as {value!r}")
    return stated


def _stored_as(dtype: str | None, found: Found) -> str:
    """The type of the stored images: their own, or a smaller float. Raises InvalidSpec."""
    own = str(found.source.dtype)
    if dtype in (None, own):
        return own
    if dtype not in DTYPES or "uint8" in (dtype, own):
        raise InvalidSpec(f"images of {own} are stored as they are or as a float, not as {dtype}")
    return str(dtype)


def _open_source(proof: Proof) -> Source:
    """The source to recompute from; of a TGD root, the originals beside the images."""
    kind, _, path = proof.source.partition(":")
    if kind == "imagefolder" and tgd_folders(path):
        source = open_originals(path, **proof.options)
        return source if proof.split is None else source.part(proof.split)
    return open_source(proof.source, split=proof.split, **proof.options)
