"""Several teachers: their weights, for all samples or for each, and losses weighted by them.

Weights are (T,) or (T, n) and add up to one over the teachers. For two or more teachers:

    entropy:     w_t = (1 - H_t / sum_j H_j) / (T - 1),  H the entropy of a teacher's softmax
    confidence:  w_t = (1 - softmax_t(CE_t)) / (T - 1),  CE with the label, over teachers

Zhang et al., CA-MKD, ICASSP 2022 (arXiv 2201.00007), and its code, which also has the entropy rule
as EBKD (Kwon et al., ICASSP 2020). That code divides the loss once more: it is (T - 1) / T of ours
with entropy weights, which it leaves with the sum T - 1, and 1 / T with confidence weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pi_cache.errors import InvalidSpec
from training.losses.kd import cross_entropy_per_sample, kl_per_sample, log_probabilities
from training.losses.shapes import check_logits, check_weights

Weights = Sequence[float] | Tensor


def equal_weights(teachers: int) -> list[float]:
    """1 / T for each of T teachers."""
    if teachers < 1:
        raise InvalidSpec(f"weights need one teacher at least, got {teachers}")
    return [1 / teachers] * teachers


def entropy_weights(teachers: Sequence[Tensor], *, temperature: float = 1.0) -> Tensor:
    """(T, n) weights of logits (n, classes): the surer a teacher is of a sample, the more.

    Equal where no teacher has any doubt. One teacher has the weight 1.
    """
    _check_teachers(teachers)
    logs = [log_probabilities(logits, temperature) for logits in teachers]
    entropies = torch.stack([-(log.exp() * log).sum(1) for log in logs])  # (T, n)
    total = entropies.sum(0)
    shares = torch.where(total > 0, entropies / total.clamp(min=1e-30), 1 / len(logs))
    return _complement(shares)


def confidence_weights(teachers: Sequence[Tensor], targets: Tensor) -> Tensor:
    """(T, n) weights of logits (n, classes): the nearer a teacher is to the label, the more.

    targets: labels (n,), or shares of classes (n, classes) of mixed samples.
    """
    _check_teachers(teachers)
    losses = torch.stack([cross_entropy_per_sample(logits, targets) for logits in teachers])
    return _complement(torch.softmax(losses, dim=0))


def merged_probabilities(
    teachers: Sequence[Tensor], weights: Weights, *, temperature: float
) -> Tensor:
    """(n, classes) weighted mean of the teachers' softmax(logits / temperature)."""
    _check_teachers(teachers)
    each = torch.stack([log_probabilities(logits, temperature).exp() for logits in teachers])
    return (_columns(weights, each)[..., None] * each).sum(0)


def weighted_kl_batch_mean(
    student: Tensor, teachers: Sequence[Tensor], weights: Weights, *, temperature: float
) -> Tensor:
    """Weighted sum over teachers of KL(teacher || student), mean over the batch."""
    losses = [kl_per_sample(student, logits, temperature=temperature) for logits in teachers]
    return weighted_batch_mean(losses, weights)


def weighted_kl_element_mean(
    student: Tensor, teachers: Sequence[Tensor], weights: Weights, *, temperature: float
) -> Tensor:
    """The same divided by the number of classes, as TGD and TDA_KD are released."""
    total = weighted_kl_batch_mean(student, teachers, weights, temperature=temperature)
    return total / student.shape[1]


def weighted_batch_mean(losses: Sequence[Tensor], weights: Weights) -> Tensor:
    """Weighted sum over teachers of their losses (n,), mean over the batch."""
    check_weights(weights, len(losses))
    each = torch.stack(list(losses))  # (T, n)
    return (_columns(weights, each) * each).sum(0).mean()


def _check_teachers(teachers: Sequence[Tensor]) -> None:
    if not teachers:
        raise InvalidSpec("weights need one teacher at least, got none")
    check_logits(*teachers)


def _complement(shares: Tensor) -> Tensor:
    """(1 - share) / (T - 1) of shares (T, n) that add up to one; 1 for one teacher."""
    count = len(shares)
    return torch.ones_like(shares) if count == 1 else (1 - shares) / (count - 1)


def _columns(weights: Weights, losses: Tensor) -> Tensor:
    """Weights (T, 1) or (T, n) on the device and in the type of losses (T, n, ...)."""
    check_weights(weights, len(losses))
    values = torch.as_tensor(weights, dtype=losses.dtype, device=losses.device)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] not in (1, losses.shape[1]):
        raise InvalidSpec(
            f"weights must be (T,) or (T, n) = ({len(losses)}, {losses.shape[1]}), got"
            f" {tuple(values.shape)}"
        )
    return values
