"""A validation part of training samples of which some, or all, have no label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pi_cache.errors import InvalidFolds
from pi_cache.sampling.draws import draw, ranks
from pi_cache.sampling.folds import Fold, with_validation
from pi_cache.sampling.joins import Joined


def with_validation_part(
    fold: Fold, joined: Joined, share: float, *, seed: int, by_group: bool
) -> Fold:
    """The fold with a share of its training part for validation, drawn from samples with a label.

    Samples without one go on to train, except those of a group that validates. Where no sample has
    a label, as for the regression of images, all are drawn alike.
    Raises InvalidFolds as `with_validation`.
    """
    labels = joined.labels
    labelled = np.zeros(len(fold.train), bool) if labels is None else labels[fold.train] >= 0
    groups = joined.groups if by_group else None
    if labelled.all() or (groups is not None and not labelled.any()):
        return with_validation(fold, joined, share, seed=seed, groups=groups)
    if not labelled.any():
        return _taken(fold, _drawn_alike(fold, joined, share, seed))
    known = replace(fold, train=fold.train[labelled])
    held = with_validation(known, joined, share, seed=seed, groups=groups).validation
    if groups is None:
        return _taken(fold, held)
    others = fold.train[~labelled]
    clean = others[~np.isin(groups[others], groups[held])]
    train = np.sort(np.concatenate([np.setdiff1d(known.train, held), clean]))
    return replace(fold, train=train, validation=held)


def _taken(fold: Fold, held: NDArray[np.int64]) -> Fold:
    return replace(fold, train=np.setdiff1d(fold.train, held), validation=held)


def _drawn_alike(fold: Fold, joined: Joined, share: float, seed: int) -> NDArray[np.int64]:
    """Samples of one class, which none of them names. Raises InvalidFolds."""
    alike = np.zeros(len(fold.train), np.int64)
    drawn = draw(alike, ranks(joined.ids[fold.train].tolist(), seed), share)
    if not drawn.any():
        raise InvalidFolds(
            f"a share of {share:g} of {len(drawn)} samples leaves no sample to validate; give"
            " another share, or more samples"
        )
    return np.asarray(fold.train[drawn])
