"""What an augmentation does to the persistence images of its input."""

from __future__ import annotations

from dataclasses import dataclass

UNCHANGED, PERMUTED, INVALID = "unchanged", "permuted", "invalid"


@dataclass(frozen=True, slots=True)
class Effect:
    """One word, and why.

    kind: `unchanged`, the diagrams of every channel are the same multisets of points; `permuted`,
    they are the same after channels have changed places; `invalid`, the stored ones are of another
    input.
    exact: the points are equal bit for bit; else up to rounding.
    variant: of an invalid one, the variant store that holds the right images.
    rendered: of an invalid one, images rendered from the stored diagrams are right when their
    points are moved (`training.augment.follow.move_points`).
    """

    kind: str
    reason: str
    exact: bool = True
    variant: str = ""
    rendered: bool = False


def unchanged(reason: str, *, exact: bool = True) -> Effect:
    """The diagrams stay as they are."""
    return Effect(UNCHANGED, reason, exact)


def permuted(reason: str) -> Effect:
    """The diagrams change places."""
    return Effect(PERMUTED, reason)


def invalid(reason: str, *, variant: str = "", rendered: bool = False) -> Effect:
    """The diagrams are others."""
    return Effect(INVALID, reason, variant=variant, rendered=rendered)


def other(what: str) -> Effect:
    """The diagrams are others, and no finite number of stores holds them."""
    return invalid(f"{what}, so the diagram is that of another input")
