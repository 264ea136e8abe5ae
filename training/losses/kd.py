"""Losses of logits: cross entropy, KL divergence in both reductions, rescaled logits.

    KL_i = sum_c p_ic (log p_ic - log q_ic),  p = softmax(teacher / T),  q = softmax(student / T)

No function multiplies by T**2: a method does, and says so. Hinton et al., 2015 (arXiv 1503.02531).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from pi_cache.errors import InvalidSpec
from training.losses.shapes import check_logits, wide

LOWEST = -1e30
"""Of a log-probability: finite logits may differ by more than float32 holds, and 0 * inf is NaN."""
FLOOR = 1e-6
"""Smallest deviation of logits, as a part of the largest: what are all but equal stay finite."""
SMALLEST_LOGIT = 1e-12
"""Logits whose largest is below count as this large."""


def log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """(n, classes) log softmax of logits / temperature, finite for finite logits.

    Raises InvalidSpec unless the temperature is positive.
    """
    if not temperature > 0:
        raise InvalidSpec(f"temperature must be positive, got {temperature!r}")
    logits = wide(logits)
    # The shift comes before the division, which may overflow for a temperature below one.
    below = logits - logits.detach().amax(1, keepdim=True)
    scaled = below.clamp(min=LOWEST * min(1.0, temperature)) / temperature
    return torch.log_softmax(scaled, dim=1)


def probabilities(logits: Tensor, temperature: float) -> Tensor:
    """(n, classes) softmax of logits / temperature."""
    return log_probabilities(logits, temperature).exp()


def kl_per_sample(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """(n,) KL(teacher || student) of logits (n, classes), summed over classes."""
    check_logits(student, teacher)
    log_p = log_probabilities(teacher, temperature)
    return (log_p.exp() * (log_p - log_probabilities(student, temperature))).sum(1)


def kl_batch_mean(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """KL(teacher || student) summed over classes, mean over the batch: the formula of KD."""
    return kl_per_sample(student, teacher, temperature=temperature).mean()


def kl_element_mean(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """KL(teacher || student) divided by batch times classes, as TGD and TDA_KD are released.

    It is `kl_batch_mean` divided by the number of classes.
    """
    return kl_batch_mean(student, teacher, temperature=temperature) / student.shape[1]


def soft_kl_per_sample(student: Tensor, targets: Tensor, *, temperature: float) -> Tensor:
    """(n,) KL(targets || student) of probabilities (n, classes), such as a mix of teachers'."""
    check_logits(student, targets)
    targets = wide(targets)
    entropy = -torch.xlogy(targets, targets).sum(1)
    return -(targets * log_probabilities(student, temperature)).sum(1) - entropy


def soft_kl_batch_mean(student: Tensor, targets: Tensor, *, temperature: float) -> Tensor:
    """KL(targets || student) of probabilities (n, classes), mean over the batch."""
    return soft_kl_per_sample(student, targets, temperature=temperature).mean()


def cross_entropy_per_sample(logits: Tensor, targets: Tensor) -> Tensor:
    """(n,) -sum_c t_c log softmax(logits)_c of labels (n,), or shares of classes (n, classes)."""
    shares = _shares(logits, targets)
    return -(shares * log_probabilities(logits, 1.0)).sum(1)


def cross_entropy_batch_mean(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy with labels (n,) or shares (n, classes), mean over the batch."""
    return cross_entropy_per_sample(logits, targets).mean()


def rescale(logits: Tensor, *, factor: float) -> Tensor:
    """factor * z / std(z) of each sample, by the unbiased deviation over classes.

    factor: 2 for the KL terms of TDA_KD and 1 for its cross entropy (Jeon et al., Asilomar 2022)
    and for mixup (Choi et al., WACV 2023). A positive factor of the logits changes nothing. Raises
    InvalidSpec for one class, which has no deviation.
    """
    scaled, deviation = _scaled(logits, unbiased=True)
    return factor * scaled / deviation


def standardise(logits: Tensor, *, unbiased: bool = True) -> Tensor:
    """(z - mean(z)) / std(z) of each sample over classes: Sun et al., CVPR 2024 (arXiv 2403.01427).

    unbiased: divide squares by classes - 1, as the released code does. Neither a positive factor
    nor a shift of the logits changes anything. Raises InvalidSpec for one class.
    """
    scaled, deviation = _scaled(logits, unbiased=unbiased)
    return (scaled - scaled.mean(1, keepdim=True)) / deviation


def _scaled(logits: Tensor, *, unbiased: bool) -> tuple[Tensor, Tensor]:
    """Logits divided by their largest magnitude (n, classes), and their deviation (n, 1)."""
    check_logits(logits)
    if logits.shape[1] < 2:
        raise InvalidSpec("the deviation over classes needs two classes at least, got one")
    logits = wide(logits)
    scaled = logits / logits.abs().amax(1, keepdim=True).clamp(min=SMALLEST_LOGIT)
    deviation = scaled.std(1, correction=int(unbiased), keepdim=True)
    return scaled, deviation.clamp(min=FLOOR)


def _shares(logits: Tensor, targets: Tensor) -> Tensor:
    check_logits(logits)
    classes = logits.shape[1]
    if targets.is_floating_point():
        check_logits(logits, targets)
        return wide(targets)
    if targets.shape != logits.shape[:1]:
        raise InvalidSpec(
            f"labels must be ({len(logits)},), or floats {tuple(logits.shape)} for shares of"
            f" classes; got {tuple(targets.shape)} of {targets.dtype}"
        )
    # A look at labels on a device waits for it. There one_hot stops the program by itself, and a
    # run has looked at all labels before its first step.
    if targets.device.type == "cpu" and not bool(((targets >= 0) & (targets < classes)).all()):
        raise InvalidSpec(
            f"labels must lie in 0..{classes - 1}, got {int(targets.min())}..{int(targets.max())};"
            " leave out samples without a label (-1)"
        )
    return one_hot(targets.long(), classes).to(wide(logits).dtype)
