"""Which sample of one side is which of the other: by id, by name without its ending, by place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from pi_cache.errors import SourceError
from pipeline.sources.folders import some

EXACT, STEM, PLACE = "id", "name without its ending", "place in the order"


@dataclass(frozen=True, kw_only=True)
class Match:
    """How two lists of samples go together.

    theirs: for each of mine the position of its partner, -1 for none. by: how they were matched.
    alone, extra: ids of mine without a partner, and of theirs.
    """

    by: str
    theirs: list[int]
    alone: list[str]
    extra: list[str]

    @property
    def pairs(self) -> int:
        """How many have a partner."""
        return len(self.theirs) - len(self.alone)


def match_ids(mine: Sequence[str], theirs: Sequence[str], *, by_place: bool = False) -> Match:
    """Matched by id; where not one id is on both sides, by name without its ending.

    by_place: where that matches none either, and both sides are as many, by their order.
    """
    stems = [os.path.splitext(name)[0] for name in mine], [os.path.splitext(n)[0] for n in theirs]  # noqa: PTH122
    found = _match(mine, theirs, mine, theirs, EXACT)
    if not found.pairs and all(len(set(side)) == len(side) for side in stems):
        found = _match(*stems, mine, theirs, STEM)
    if not found.pairs and by_place and len(mine) == len(theirs):
        return Match(by=PLACE, theirs=list(range(len(mine))), alone=[], extra=[])
    return found


def _match(
    mine: Sequence[str],
    theirs: Sequence[str],
    my_ids: Sequence[str],
    their_ids: Sequence[str],
    by: str,
) -> Match:
    """mine, theirs: what is compared; the ids are what to call them."""
    place = {name: position for position, name in enumerate(theirs)}
    found = [place.get(name, -1) for name in mine]
    taken = set(found)
    return Match(
        by=by,
        theirs=found,
        alone=[my_ids[k] for k, position in enumerate(found) if position < 0],
        extra=[name for k, name in enumerate(their_ids) if k not in taken],
    )


def matched_all(mine: Sequence[str], theirs: Sequence[str], this: str, that: str) -> list[int]:
    """For each of mine the position of its partner.

    this, that: what the two sides are, for the message. Raises SourceError that names both counts
    and the first without a partner.
    """
    found = match_ids(mine, theirs)
    lacks = [
        f"{len(names)} of the {side} have no partner: {some(names)}"
        for side, names in ((this, found.alone), (that, found.extra))
        if names
    ]
    if lacks:
        raise SourceError(
            f"{len(mine)} {this} and {len(theirs)} {that} do not go together:"
            f" {'; '.join(lacks)}; add or remove files until each has one"
        )
    return found.theirs
