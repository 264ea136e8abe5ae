"""AT, attention transfer: where student and teacher are active.

    Q_i = unit_L2( mean_c |A_ic|**p ) over positions;  loss = |Q_student - Q_teacher|**2

Zagoruyko and Komodakis, ICLR 2017 (arXiv 1612.03928). Their code and RepDistiller's square the
difference and take the mean over batch and positions (`element_mean`), where the printed formula
has a norm; the sum over positions (`batch_mean`) is a choice.
"""

from __future__ import annotations

from torch import Tensor

from training.losses.shapes import check_maps, match_positions, reduce, unit_rows, wide


def energy(maps: Tensor, *, power: float = 2.0) -> Tensor:
    """(n, positions) mean over channels of |A|**power of maps (n, C, *positions)."""
    check_maps(maps)
    return wide(maps).abs().pow(power).mean(1).flatten(1)


def attention_map(maps: Tensor, *, power: float = 2.0) -> Tensor:
    """(n, positions) energy of each sample with the L2 norm one; zero maps stay zero.

    A positive factor of a sample's map changes nothing.
    """
    return unit_rows(energy(maps, power=power))


def at(student: Tensor, teacher: Tensor, *, reduction: str, power: float = 2.0) -> Tensor:
    """Squared difference of the attention maps of maps (n, C, *positions).

    Channels may differ. Of two sizes the larger is first averaged to the smaller, as RepDistiller
    does. Raises InvalidSpec for maps of a signal against maps of an image.
    """
    student, teacher = match_positions(student, teacher)
    difference = attention_map(student, power=power) - attention_map(teacher, power=power)
    return reduce(difference.square(), reduction)
