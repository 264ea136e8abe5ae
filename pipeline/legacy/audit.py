"""Imported images against the same samples recomputed from their source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pi_cache.errors import InvalidSpec, PiCacheError, SourceError
from pi_cache.specs import SourceSpec
from pipeline.fields import channel_names
from pipeline.legacy.claims import Claim, guesses
from pipeline.legacy.explain import Explanation, explain
from pipeline.legacy.found import Found
from pipeline.legacy.matching import EXACT, PLACE, Match, match_ids
from pipeline.legacy.recompute import (
    Comparison,
    Recomputed,
    Way,
    compare,
    faint_channels,
    finished,
    read_images,
)
from pipeline.plan import spread
from pipeline.sources.base import Source
from pipeline.sources.folders import some

FARTHEST = 16
"""Places by which images are looked for, where they may have slipped."""


class FailedAudit(PiCacheError, ValueError):
    """Images that are not those of their source; the message says how, and why if known."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What came out: kept with the store.

    recipe: what was claimed, or found. source: kind and fingerprint of what was recomputed.
    compared: samples. faint: channels of them that were not, as they show rounding errors.
    largest, median: over samples, of each the largest difference; uint8 in levels. differing: share
    of pixels. tolerance: None for that of the type. matched: how ids went together. problems: why
    it failed; empty when it passed.
    """

    recipe: str
    source: dict[str, str]
    compared: int
    blank: int
    faint: int
    largest: float
    median: float
    differing: float
    tolerance: float | None
    matched: str
    images: int
    samples: int
    problems: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """`passed` or `failed`."""
        return "failed" if self.problems else "passed"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"verdict": self.verdict, **asdict(self), "problems": list(self.problems)}

    def line(self) -> str:
        """What came out, in words."""
        text = (
            f"audit {self.verdict}: {self.compared} of {self.images:,} samples recomputed by"
            f" {self.recipe or 'what was stated'}: largest difference {self.largest:.3g}, median"
            f" {self.median:.3g}, {self.differing:.2g} of the pixels differ"
        )
        return text + f"; {self.faint} images too faint to be compared" * bool(self.faint)


@dataclass(frozen=True, kw_only=True)
class Audited:
    """The images with what the audit found out of them."""

    found: Found
    claim: Claim
    audit: Audit


def audit(
    found: Found,
    claim: Claim,
    source: Source,
    *,
    count: int,
    tolerance: float | None = None,
    partial: bool = False,
) -> Audited:
    """Compare so many images, spread over all, with recomputed ones.

    Ids, labels, groups and splits are compared of all. claim: where it is not whole, every recipe
    is tried that fits. partial: a source may have more samples than there are images. Raises
    SourceError where no image belongs to a sample, InvalidSpec where nothing is claimed and no
    recipe fits.
    """
    images, spec = found.source, source.spec()
    match = match_ids(images.ids, source.ids, by_place=True)
    if not match.pairs:
        raise SourceError(
            f"no image belongs to a sample of {source.kind}: ids of images are like"
            f" {some(images.ids[:2])}, those of the source like {some(source.ids[:2])};"
            " give --ids, a file with the id of each image"
        )
    paired = [k for k, partner in enumerate(match.theirs) if partner >= 0]
    chosen = [paired[k] for k in spread(len(paired), count)]
    pictures, good = read_images(images, chosen)
    recomputed = Recomputed(source, spec, [match.theirs[k] for k in chosen])
    claim, way = _settle(found, claim, recomputed, pictures, tolerance)
    usable = np.flatnonzero(good & recomputed.usable(way)).tolist()
    if not usable:
        raise SourceError(f"none of {len(chosen)} chosen samples can be compared: look at both")
    chosen = [chosen[k] for k in usable]
    pictures, recomputed = pictures[usable], recomputed.taken(usable)
    outcome, faint, why = _compared(pictures, way, recomputed, tolerance)
    blank = int((~pictures.reshape(len(pictures), -1).any(axis=1)).sum())
    problems = [*_ids_problems(match, partial), *_label_problems(images, source, match)]
    for name in ("groups", "splits"):
        problems += _name_problems(name, images, source, match)
    if blank == len(pictures):
        problems.append(f"all {blank} compared images are blank: nothing was compared")
    if not outcome.tells:
        problems.append(
            f"{faint} of {outcome.channels} recomputed images hold next to nothing and were not"
            " compared: are the ranges those of the images?"
        )
    reason: Explanation | str | None = why
    if why is None and not outcome.all_agree:
        reason = _slipped(images, source, spec, match, chosen, outcome, way, tolerance)
        if reason is None and found.format == "jpeg-tree":
            reason = "JPEG does not keep pixel values; --tolerance N allows so many levels"
    if not outcome.all_agree:
        wrong = [images.ids[chosen[k]] for k in np.flatnonzero(~outcome.agree)]
        problems.insert(0, _difference(outcome, pictures.dtype, wrong, reason))
    done = Audit(
        recipe=claim.recipe,
        source={"kind": spec.kind, "fingerprint": spec.fingerprint},
        compared=len(pictures),
        blank=blank,
        faint=faint,
        largest=float(outcome.each.max()),
        median=float(np.median(outcome.each)),
        differing=outcome.share,
        tolerance=tolerance,
        matched=match.by,
        images=len(images),
        samples=len(source),
        problems=tuple(problems),
    )
    if problems:
        return Audited(found=found, claim=claim, audit=done)
    return Audited(found=_adopted(found, source, match, claim), claim=claim, audit=done)


def _settle(
    found: Found, claim: Claim, recomputed: Recomputed, images: np.ndarray, tolerance: float | None
) -> tuple[Claim, Way]:
    """The claim with which to compare: as it is, or of the recipe that fits best."""
    if claim.whole:
        return claim, _way(claim)
    tried = []
    few = spread(len(images), 4)
    for guess in guesses(found, claim, recomputed.source.sample, str(claim.image.dtype)):
        try:
            outcome, _ = _base(images[few], _way(guess), recomputed.taken(few), tolerance)
        except PiCacheError:
            continue
        agree = int(outcome.agree.sum()) if outcome.tells else 0
        tried.append((-agree, float(np.median(outcome.each)), guess))
    if not tried:
        raise InvalidSpec(
            f"no recipe makes images of {found.pixels} pixels and {found.channels} channels from"
            f" this source; say how they were made with --recipe, --spec or --given FIELD=VALUE"
        )
    best = min(tried, key=lambda one: one[:2])[2]
    return best, _way(best)


def _way(claim: Claim) -> Way:
    return Way(diagram=claim.diagram, image=claim.image)


def _base(
    images: np.ndarray, way: Way, recomputed: Recomputed, tolerance: float | None
) -> tuple[Comparison, int]:
    """Images as claimed, and how many channels are faint. Raises InvalidSpec for other channels."""
    raw = recomputed.raw(way)
    if raw.shape != images.shape:
        raise InvalidSpec(
            f"the source gives {raw.shape[1]} images a sample and these have {images.shape[1]}:"
            " check the recipe, --rows and --columns, or --given diagram.scan=rows"
        )
    faint = faint_channels(raw, way)
    return compare(images, finished(raw, way, images), ~faint, tolerance), int(faint.sum())


def _compared(
    images: np.ndarray, way: Way, recomputed: Recomputed, tolerance: float | None
) -> tuple[Comparison, int, Explanation | None]:
    """Images as claimed, the number of faint channels, and what explains a difference."""
    outcome, faint = _base(images, way, recomputed, tolerance)
    if outcome.all_agree:
        return outcome, faint, None
    worst = np.argsort(-outcome.each, kind="stable")
    return outcome, faint, explain(images, way, recomputed, worst, tolerance)


def _difference(
    outcome: Comparison, dtype: np.dtype[Any], wrong: Sequence[str], why: Explanation | str | None
) -> str:
    """How images differ and what explains it, in words. wrong: ids of those that do."""
    unit = " levels of 255" if dtype == np.uint8 else ""
    text = (
        f"{len(wrong)} of {len(outcome.agree)} samples differ, by up to"
        f" {outcome.each.max():.3g}{unit} ({some(wrong)})"
    )
    if why is None:
        return f"{text}; no known confusion explains it: is this the source, and the recipe?"
    if isinstance(why, str):
        return f"{text}; this explains it: {why}"
    whole = why.comparison
    share = "" if whole.all_agree else f" (in {int(whole.agree.sum())} of {len(whole.agree)})"
    return f"{text}; this explains it{share}: {why.words}; remedy: {why.remedy}"


def _ids_problems(match: Match, partial: bool) -> list[str]:
    """Images without a sample, and samples without an image."""
    problems = []
    if match.alone:
        problems.append(
            f"{len(match.alone)} images belong to no sample of the source: {some(match.alone)}"
        )
    if match.extra and not partial:
        problems.append(
            f"{len(match.extra)} samples of the source have no image: {some(match.extra)};"
            " name the part with --source-split, or add --partial"
        )
    return problems


def _label_problems(images: Source, source: Source, match: Match) -> list[str]:
    """Labels that differ between an image and its sample; by name where both sides have names."""
    named = bool(images.label_names and source.label_names)
    wrong = []
    for k, partner in enumerate(match.theirs):
        if partner < 0 or images.labels[k] < 0 or source.labels[partner] < 0:
            continue
        mine, theirs = _label(images, k, named), _label(source, partner, named)
        if mine != theirs:
            wrong.append(f"{images.ids[k]} is {mine}, in the source {theirs}")
    return [f"{len(wrong)} labels differ: {some(wrong)}"] if wrong else []


def _name_problems(name: str, images: Source, source: Source, match: Match) -> list[str]:
    """Groups or splits that differ between an image and its sample, where both sides have one.

    Names of which no sample's is an image's, such as numbers of folds, are other words for the
    same thing where each stands for one of the others throughout.
    """
    mine, theirs = getattr(images, name), getattr(source, name)
    pairs = [
        (images.ids[k], mine[k], theirs[partner])
        for k, partner in enumerate(match.theirs)
        if partner >= 0 and mine[k] and theirs[partner]
    ]
    words = {(one, other) for _, one, other in pairs}
    ours, others = {one for one, _ in words}, {other for _, other in words}
    if ours.isdisjoint(others) and len(words) == len(ours) == len(others):
        return []
    wrong = [f"{who} is in {one}, in the source in {other}"
             for who, one, other in pairs if one != other]  # fmt: skip
    return [f"{len(wrong)} {name} differ: {some(wrong)}"] if wrong else []


def _label(source: Source, k: int, named: bool) -> str:
    label = int(source.labels[k])
    return source.label_names[label] if named else str(label)


def _slipped(
    images: Source, source: Source, spec: SourceSpec, match: Match, chosen: Sequence[int],
    outcome: Comparison, way: Way, tolerance: float | None,
) -> str | None:  # fmt: skip
    """Where images are those of a sample some places away from theirs, in words."""
    first = int(np.flatnonzero(~outcome.agree)[0])

    def holds(k: int, by: int) -> bool:
        """Whether image k, not a blank one, is that of the sample so many places after its own."""
        place = match.theirs[k] + by
        if match.theirs[k] < 0 or not 0 <= place < len(source):
            return False
        picture, good = read_images(images, [k])
        found, _ = _base(picture, way, Recomputed(source, spec, [place]), tolerance)
        told = good[0] and picture.any() and found.tells
        return bool(told) and found.all_agree

    steps = [step for far in range(1, FARTHEST + 1) for step in (far, -far)]
    by = next((step for step in steps if holds(chosen[first], step)), None)
    if by is None:
        return None
    low, high = (chosen[first - 1] if first else -1), chosen[first]
    while high - low > 1:  # low still agrees with its own sample, high no longer
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle, by) else (middle, high)
    what = "an image is missing just before" if by > 0 else "an image too many lies before"
    return (
        f"from {images.ids[high]} on, images are those of samples {abs(by)} place"
        f"{'s' * (abs(by) > 1)} {'later' if by > 0 else 'earlier'}: {what} it"
    )


def _adopted(found: Found, source: Source, match: Match, claim: Claim) -> Found:
    """The images with the ids of their samples, and with what only the source knows of them."""
    images, place = found.source, match.theirs
    changes: dict[str, Any] = {}
    if match.by != EXACT:
        changes["ids"] = [source.ids[k] for k in place]
    if not images.label_names or (images.labels < 0).all():  # numbers, which agree, or nothing
        theirs = source.labels[place]
        labels = np.where(theirs < 0, images.labels, theirs)
        changes |= {"labels": labels, "label_names": source.label_names}
    for name in ("groups", "splits"):
        if not any(getattr(images, name)) and any(getattr(source, name)):
            changes[name] = [getattr(source, name)[k] for k in place]
    if not found.named:
        diagram = claim.diagram
        if source.sample == "image" and diagram.scan is None and diagram.filtration != "rips":
            diagram = diagram.replace(scan="rows") if "level" in diagram.filtration else diagram
        changes["channels"] = tuple(channel_names(source, diagram))
    notes = found.notes
    if match.by == PLACE:
        notes = (*notes, "ids of images and of the source have nothing in common: matched in order")
    return replace(found, source=replace(images, **changes), notes=notes)
