"""Whether an arm is better than a baseline: paired tests over the same folds and seeds.

    d[fold, seed] = value of the arm - value of the baseline

Runs of one fold share their samples, and those of all folds most of their training samples, so
that pairs are not independent and p-values of pairs of runs are too small. By folds (mean over
seeds first) there are fewer pairs, and each is another group of people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi_cache.errors import InvalidSpec, PiCacheError
from training.reports.experiment import Experiment, Place
from training.reports.spread import Spread, spread

MOST_EXACT = 20
"""Pairs of which every flip of signs is counted; of more, `DRAWS` are drawn."""
DRAWS = 100_000
UNITS = ("runs", "folds")
TESTS = ("t", "wilcoxon", "signflip")

Floats = NDArray[np.float64]


class ReportsNotInstalled(PiCacheError, ImportError):
    """scipy, scikit-learn or matplotlib are missing, which only reports need."""


class Comparison(NamedTuple):
    """An arm against the baseline. difference: over pairs. unpaired: runs without a partner.

    p: two-sided, by test: `t` (paired t-test), `wilcoxon` (signed ranks), `signflip` (exact, of the
    mean); None where a test says nothing, as of one pair. holm: the same, corrected over arms.
    smallest: the smallest p that exact tests can give for so many pairs, 2 / 2**n.
    """

    arm: str
    difference: Spread
    unpaired: int
    p: Mapping[str, float | None]
    holm: Mapping[str, float | None]
    smallest: float


def compare(
    experiment: Experiment, metric: str, baseline: str, *, unit: str = "runs"
) -> list[Comparison]:
    """Each other arm against the baseline.

    unit: of a pair, `runs`, or `folds` after a mean over seeds.
    Raises InvalidSpec for an unknown baseline or unit, and for arms whose test samples or classes
    differ.
    """
    if unit not in UNITS:
        raise InvalidSpec(f"pairs must be of {' or '.join(UNITS)}, got {unit!r}")
    if baseline not in experiment.arms:
        raise InvalidSpec(f"no arm {baseline!r}; there are {', '.join(experiment.arms)}")
    rows = []
    for arm in experiment.arms:
        if arm != baseline:
            check_same_samples(experiment, arm, baseline)
            found, unpaired = differences(experiment, metric, arm, baseline, unit=unit)
            p = p_values(found)
            smallest = min(1.0, 2.0 / 2 ** len(found))
            rows.append(Comparison(arm, spread(found), unpaired, p, {}, smallest))
    corrected = {test: holm([row.p[test] for row in rows]) for test in TESTS}
    return [
        row._replace(holm={test: corrected[test][k] for test in TESTS})
        for k, row in enumerate(rows)
    ]


def check_same_samples(experiment: Experiment, arm: str, baseline: str) -> None:
    """Raise InvalidSpec where two arms were measured on different samples or classes of a fold."""
    partners = _pairs(experiment, arm, baseline)
    for place, other in partners:
        mine, theirs = (experiment.runs[each].evaluation for each in (place, other))
        if any(mine.get(key) != theirs.get(key) for key in ("digest", "unlabelled")):
            raise InvalidSpec(
                f"{place} and {other} were measured on different samples ({mine['samples']} and"
                f" {theirs['samples']}), so that they make no pair; evaluate both on the same"
                " stores and folds, or leave one out with --arm"
            )
        if mine["class_names"] != theirs["class_names"]:
            raise InvalidSpec(
                f"{place} and {other} tell other classes apart ({len(mine['class_names'])} and"
                f" {len(theirs['class_names'])}), so that they make no pair; leave one out with"
                " --arm"
            )


def differences(
    experiment: Experiment, metric: str, arm: str, baseline: str, *, unit: str
) -> tuple[list[float], int]:
    """Arm minus baseline of each pair, and how many runs of the two have no partner."""
    mine, theirs = experiment.values(arm, metric), experiment.values(baseline, metric)
    pairs = _pairs(experiment, arm, baseline)
    found = {place: mine[place] - theirs[other] for place, other in pairs}
    unpaired = len(mine) + len(theirs) - 2 * len(pairs)
    if unit == "runs":
        return list(found.values()), unpaired
    by_fold: dict[str, list[float]] = {}
    for place, value in found.items():
        by_fold.setdefault(place.fold, []).append(value)
    return [sum(values) / len(values) for values in by_fold.values()], unpaired


def p_values(differences: Sequence[float]) -> dict[str, float | None]:
    """Two-sided p of each test; None for fewer than two pairs. Raises ReportsNotInstalled."""
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return dict.fromkeys(TESTS)
    return {"t": t_test(values), "wilcoxon": wilcoxon(values), "signflip": sign_flip(values)}


def t_test(differences: Floats) -> float | None:
    """Of the paired t-test, None where all differences are equal. Assumes they are normal."""
    if np.ptp(differences) <= 1e-12 * np.abs(differences).max():
        return None
    return float(_scipy_stats().ttest_1samp(differences, 0.0).pvalue)


def wilcoxon(differences: Floats) -> float:
    """Of Wilcoxon's signed ranks, exact where that is possible; differences of 0 are left out.

    Differences are compared to 12 digits of the largest: 47/57 - 46/57 is the tie of 41/57 - 40/57
    that it is in counts, though not in its last bit.
    """
    largest = np.abs(differences).max()
    values = np.round(differences / (largest or 1.0), 12)
    values = values[values != 0]
    if not len(values):
        return 1.0
    if len(np.unique(np.abs(values))) == len(values):
        return float(_scipy_stats().wilcoxon(values, method=_exact(len(values))).pvalue)
    ranks = _scipy_stats().rankdata(np.abs(values))  # ties: scipy would approximate
    return sign_flip(np.sign(values) * ranks)


def sign_flip(values: ArrayLike, *, draws: int = DRAWS) -> float:
    """The share of all flips of signs whose sum is as far from 0, or farther.

    Of more than MOST_EXACT values, flips are drawn, and the observed one is counted with them.
    """
    found = np.asarray(values, dtype=np.float64)
    bar = abs(found.sum()) - 1e-9 * np.abs(found).sum()
    if len(found) <= MOST_EXACT:
        sums = found[:1]  # flipping all signs changes no distance from 0, so the first stays
        for value in found[1:]:
            sums = np.concatenate([sums + value, sums - value])
        return float((np.abs(sums) >= bar).mean())
    rng = np.random.default_rng(0)
    hits = 1
    for size in (draws // 10,) * 10:
        signs = rng.integers(0, 2, (size, len(found))) * 2 - 1
        hits += int((np.abs(signs @ found) >= bar).sum())
    return hits / (draws // 10 * 10 + 1)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """p corrected for how many they are. None stays None, and is not counted.

    Holm, Scandinavian Journal of Statistics 1979: the k-th smallest of m times m - k + 1, never
    below the one before, at most 1.
    """
    order = sorted((value, k) for k, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, (value, k) in enumerate(order):
        largest = max(largest, min(1.0, value * (len(order) - rank)))
        corrected[k] = largest
    return corrected


def _pairs(experiment: Experiment, arm: str, baseline: str) -> list[tuple[Place, Place]]:
    """Runs of two arms with the same fold and seed."""
    others = {(place.fold, place.seed): place for place in experiment.of(baseline)}
    return [
        (place, others[place.fold, place.seed])
        for place in experiment.of(arm)
        if (place.fold, place.seed) in others
    ]


def _exact(count: int) -> str:
    return "exact" if count <= 50 else "approx"


def _scipy_stats() -> Any:
    try:
        from scipy import stats
    except ImportError as error:
        raise ReportsNotInstalled(f'{error}; pip install "pi-cache[report]"') from None
    return stats
