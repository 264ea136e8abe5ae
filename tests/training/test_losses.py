"""Losses of distillation against loops over their formulas, and their derivatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from tests import naive_losses as naive  # noqa: E402
from training.losses import amd, attention, features, kd, relations, similarity, teachers  # noqa: E402

pytestmark = pytest.mark.torch

MEANS = ["batch_mean", "element_mean"]
Arrays = list[np.ndarray]


def made(*shape: int, seed: int = 0) -> Tensor:
    """Float64 normal values."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def arrays(*tensors: Tensor) -> Arrays:
    return [tensor.numpy() for tensor in tensors]


def close(found: Tensor, expected: object) -> None:
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-12)


# --- Against loops -----------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("shape", [(5, 4), (1, 3), (6, 1)])
def test_divergence(shape: tuple[int, int], temperature: float) -> None:
    own, other = made(*shape), 3 * made(*shape, seed=1)
    expected = naive.kl(*arrays(own, other), temperature)
    close(kd.kl_per_sample(own, other, temperature=temperature), expected)
    mean = sum(expected) / len(expected)
    close(kd.kl_batch_mean(own, other, temperature=temperature), mean)
    close(kd.kl_element_mean(own, other, temperature=temperature), mean / shape[1])
    logs = torch.log_softmax(own / temperature, 1), torch.softmax(other / temperature, 1)
    elements = torch.nn.functional.kl_div(*logs, reduction="none")
    close(kd.kl_element_mean(own, other, temperature=temperature), elements.mean())
    targets = kd.probabilities(other, temperature)
    close(kd.soft_kl_per_sample(own, targets, temperature=temperature), expected)
    close(kd.soft_kl_batch_mean(own, targets, temperature=temperature), mean)


def test_cross_entropy() -> None:
    logits, labels = made(5, 4), torch.tensor([0, 3, 1, 1, 2])
    shares = torch.softmax(made(5, 4, seed=1), 1)
    close(kd.cross_entropy_per_sample(logits, shares), naive.cross_entropy(*arrays(logits, shares)))
    hard = np.eye(4)[labels.numpy()]
    expected = naive.cross_entropy(logits.numpy(), hard)
    close(kd.cross_entropy_batch_mean(logits, labels), sum(expected) / 5)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_rescaled_logits(factor: float) -> None:
    close(kd.rescale(made(5, 4), factor=factor), naive.rescale(made(5, 4).numpy(), factor))


@pytest.mark.parametrize("unbiased", [True, False])
def test_standardised_logits(unbiased: bool) -> None:
    found = kd.standardise(made(5, 4), unbiased=unbiased)
    close(found, naive.standardise(made(5, 4).numpy(), unbiased))


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("positions", [(7,), (4, 5)])
@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_attention_transfer(mean: str, positions: tuple[int, ...], power: float) -> None:
    own, other = made(3, 2, *positions), made(3, 5, *positions, seed=1)
    expected = naive.at(*arrays(own, other), mean, power)
    close(attention.at(own, other, reduction=mean, power=power), expected)
    close(attention.energy(own, power=power), naive.energy(own.numpy(), power).reshape(3, -1))


def test_attention_of_two_sizes() -> None:
    own, other = made(3, 2, 7, 4), made(3, 5, 3, 6, seed=1)
    pooled = naive.pool(own.numpy(), (3, 4)), naive.pool(other.numpy(), (3, 4))
    close(attention.at(own, other, reduction="element_mean"), naive.at(*pooled, "element_mean"))


def test_similarities() -> None:
    own, other, third = made(4, 2, 3, 3), made(4, 5, 7, seed=1), made(4, 6, seed=2)
    maps = [naive.similarity(each) for each in arrays(own, other, third)]
    close(similarity.similarity(own), maps[0])
    close(similarity.sp_element_mean(own, other), naive.sp(maps[0], maps[1]))
    merged = naive.merge(maps[1:], [0.99, 0.01])
    found = similarity.tgd_element_mean(own, [other, third], weights=[0.99, 0.01])
    close(found, naive.sp(maps[0], merged))


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize(
    ("count", "patches", "layout", "product"),
    [(6, 4, "grid", True), (6, 4, "grid", False), (7, 4, "grid", True), (7, 3, "bands", True)],
)
def test_orthogonal_features(
    count: int, patches: int, layout: str, product: bool, mean: str
) -> None:
    own, others = made(count, 2, 3), [made(count, 9, seed=1), made(count, 2, 5, seed=2)]
    found = similarity.tpkd(
        own,
        others,
        weights=[0.3, 0.7],
        reduction=mean,
        patches=patches,
        layout=layout,
        product=product,
    )
    grid = layout == "grid"
    merged = naive.merge([naive.similarity(each.numpy()) for each in others], [0.3, 0.7])
    maps = np.array(naive.similarity(own.numpy())), np.array(merged)
    close(found, naive.tpkd(*maps, 2 if grid else patches, grid, product, mean))
    side = np.array(naive.cut(maps[0], 2 if grid else patches, grid)[-1])
    parts = similarity.orthogonal_features(
        similarity.similarity(own), patches=patches, layout=layout, product=product
    )
    close(parts[-1], naive.orthogonal(side, product))


def test_patches_that_are_not_square_have_no_identity_but_a_loss() -> None:
    own, other = made(7, 2, 3), made(7, 9, seed=1)
    found = similarity.tpkd(own, [other], weights=[1], reduction="element_mean", product=False)
    maps = [np.array(naive.similarity(each.numpy())) for each in (own, other)]
    pairs = zip(*[naive.cut(each, 2, True) for each in maps], strict=True)
    units = [[p / np.linalg.norm(p, axis=1, keepdims=True) for p in pair] for pair in pairs]
    close(found, np.mean([np.mean((a - b) ** 2) for a, b in units]))


@pytest.mark.parametrize("count", [2, 3, 6])
def test_relations(count: int) -> None:
    own, other = 3 * made(count, 4), made(count, 7, seed=1)
    rows = arrays(own, other)
    close(relations.rkd_distance_pair_mean(own, other), naive.rkd_distance(*rows))
    if count > 2:
        close(relations.rkd_angle_triplet_mean(own, other), naive.rkd_angle(*rows))


def test_relations_of_samples_that_coincide() -> None:
    own, other = made(5, 4), made(5, 7, seed=1)
    own[3] = own[1]
    rows = arrays(own, other)
    close(relations.rkd_distance_pair_mean(own, other), naive.rkd_distance(*rows))
    close(relations.rkd_angle_triplet_mean(own, other), naive.rkd_angle(*rows))


@pytest.mark.parametrize("mean", MEANS)
def test_features(mean: str) -> None:
    own, other, weight = made(3, 4), made(3, 6, seed=1), made(4, 6, seed=2)
    expected = naive.squares(*arrays(own @ weight, other), mean)
    close(features.l2(own, other, reduction=mean, projector=lambda f: f @ weight), expected)
    each = features.l2_per_sample(own, other, projector=lambda f: f @ weight)
    assert each.shape == (3,)
    for i in range(3):
        one = naive.squares(*arrays(own[i : i + 1] @ weight, other[i : i + 1]), "element_mean")
        close(each[i], one)


def test_attention_based_features() -> None:
    own = [made(3, 2, 5, 4), made(3, 4, 3, 3, seed=1), made(3, 1, 6, 6, seed=2)]
    other = [made(3, 3, 4, 4, seed=3), made(3, 2, 2, 3, seed=4)]
    queries, keys, places = made(3, 2, 8), made(3, 3, 2, 8, seed=1), made(2, 3, seed=2)
    shares = features.afd_attention(queries, keys, places)
    expected = naive.afd_attention(*arrays(queries, keys, places))
    close(shares, expected)
    close(
        features.afd_attention(queries, keys),
        naive.afd_attention(queries.numpy(), keys.numpy(), np.zeros((2, 3))),
    )
    found = features.afd_batch_mean(own, other, shares)
    close(found, naive.afd(arrays(*own), arrays(*other), expected))
    own, other = [maps.flatten(2) for maps in own], [maps.flatten(2) for maps in other]
    found = features.afd_batch_mean(own, other, shares)  # of signals
    close(found, naive.afd(arrays(*own), arrays(*other), expected))


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize(("scale", "margin"), [(64.0, 1.35), (8.0, 2.0)])
def test_angular_margin(mean: str, scale: float, margin: float) -> None:
    own, other = made(3, 2, 5, 4), made(3, 6, 5, 4, seed=1)
    maps = naive.amd_map(own.numpy()), naive.amd_map(other.numpy())
    options = {"reduction": mean, "scale": scale, "margin": margin}
    whole = naive.amd_terms(*maps, mean, scale, margin)
    parts = naive.amd_local(*maps, mean, scale, margin)
    close(amd.amd_global(own, other, **options), whole)
    close(amd.amd_local(own, other, **options), parts)
    close(amd.amd_global_local(own, other, **options), 0.8 * whole + 0.2 * parts)


def test_angular_margin_of_some_scores() -> None:
    """The mean of each score alone is that of all; two of them are the mean of the two."""
    own, other = made(3, 2, 5, 4), made(3, 6, 5, 4, seed=1)

    def loss(*scores: str) -> torch.Tensor:
        return amd.amd_global(own, other, reduction="batch_mean", scores=scores)

    single = {name: loss(name) for name in amd.SCORES}
    assert len({float(each) for each in single.values()}) == 3
    torch.testing.assert_close(loss(*amd.SCORES), sum(single.values()) / 3)
    two = (single["angular"] + single["negative"]) / 2
    torch.testing.assert_close(loss("angular", "negative"), two)


def test_angular_margin_of_signals() -> None:
    own, other = made(3, 2, 7), made(3, 6, 7, seed=1)
    maps = naive.amd_map(own.numpy()), naive.amd_map(other.numpy())
    halves = [(q[:, :3], q[:, 3:]) for q in maps]
    expected = sum(
        naive.amd_terms(a, b, "batch_mean", 64, 1.35) for a, b in zip(*halves, strict=True)
    )
    close(amd.amd_local(own, other, reduction="batch_mean"), expected / 2)


@pytest.mark.parametrize("count", [2, 3])
def test_weights_of_teachers(count: int) -> None:
    logits = [2 * made(5, 4, seed=seed) for seed in range(count)]
    labels = torch.tensor([0, 3, 1, 1, 2])
    hard = np.eye(4)[labels.numpy()]
    close(teachers.entropy_weights(logits), naive.entropy_weights(arrays(*logits), 1.0))
    close(
        teachers.entropy_weights(logits, temperature=4.0),
        naive.entropy_weights(arrays(*logits), 4.0),
    )
    sure = teachers.confidence_weights(logits, labels)
    close(sure, naive.confidence_weights(arrays(*logits), hard))
    close(teachers.confidence_weights(logits, torch.from_numpy(hard)), sure.numpy())
    student = made(5, 4, seed=9)
    losses = np.array([naive.kl(student.numpy(), each.numpy(), 4.0) for each in logits])
    expected = (sure.numpy() * losses).sum() / 5
    close(teachers.weighted_kl_batch_mean(student, logits, sure, temperature=4.0), expected)
    close(teachers.weighted_kl_element_mean(student, logits, sure, temperature=4.0), expected / 4)
    equal = teachers.equal_weights(count)
    mean = teachers.weighted_kl_batch_mean(student, logits, equal, temperature=4.0)
    close(mean, losses.mean())
    merged = teachers.merged_probabilities(logits, equal, temperature=4.0)
    probabilities = [[naive.softmax(row, 4.0) for row in each.numpy()] for each in logits]
    close(merged, np.mean(probabilities, axis=0))


# --- Derivatives -------------------------------------------------------------------------------

LABELS = torch.tensor([0, 2, 1, 1])
Loss = Callable[[Tensor, Tensor], Tensor]
OF_LOGITS: dict[str, Loss] = {
    "kl_batch_mean": lambda a, b: kd.kl_batch_mean(a, b, temperature=4.0),
    "kl_element_mean": lambda a, b: kd.kl_element_mean(a, b, temperature=0.5),
    "soft_kl": lambda a, b: kd.soft_kl_batch_mean(a, torch.softmax(b, 1), temperature=2.0),
    "cross_entropy": lambda a, b: kd.cross_entropy_batch_mean(a, torch.softmax(b, 1)),
    "rescaled": lambda a, b: kd.kl_batch_mean(
        kd.rescale(a, factor=2), kd.rescale(b, factor=2), temperature=1.0
    ),
    "standardised": lambda a, b: kd.kl_batch_mean(
        kd.standardise(a), kd.standardise(b), temperature=2.0
    ),
    "entropy": lambda a, b: teachers.weighted_kl_batch_mean(
        a, [b, 2 * b + 1], teachers.entropy_weights([b, 2 * b]), temperature=4.0
    ),
    "confidence": lambda a, b: teachers.weighted_kl_element_mean(
        a, [b, -b], teachers.confidence_weights([b, -b], LABELS), temperature=4.0
    ),
    "merged": lambda a, b: teachers.merged_probabilities([a, b], [0.3, 0.7], temperature=4.0),
}
OF_MAPS: dict[str, Loss] = {
    "at": lambda a, b: attention.at(a, b, reduction="batch_mean"),
    "at_pooled": lambda a, b: attention.at(a, b[..., :2], reduction="element_mean"),
    "sp": similarity.sp_element_mean,
    "tgd": lambda a, b: similarity.tgd_element_mean(a, [b, b**2], weights=[0.9, 0.1]),
    "tpkd": lambda a, b: similarity.tpkd(a, [b, b**2], weights=[0.3, 0.7], reduction="batch_mean"),
    "rkd_distance": relations.rkd_distance_pair_mean,
    "rkd_angle": relations.rkd_angle_triplet_mean,
    "l2": lambda a, b: features.l2(a, b, reduction="element_mean", projector=torch.tanh),
    "afd": lambda a, b: features.afd_batch_mean(
        [a, a[..., :2]], [b], torch.softmax(a.flatten(1)[:, None, :2], 2)
    ),
    "afd_attention": lambda a, b: features.afd_attention(a[..., 0], b.permute(0, 3, 1, 2)),
    "amd": lambda a, b: amd.amd_global(a, b, reduction="batch_mean"),
    "amd_local": lambda a, b: amd.amd_global_local(a, b, reduction="element_mean"),
}


@pytest.mark.parametrize("name", OF_LOGITS)
def test_derivatives_by_logits(name: str) -> None:
    pair = [made(4, 3, seed=seed).requires_grad_() for seed in (0, 1)]
    assert torch.autograd.gradcheck(OF_LOGITS[name], pair)


@pytest.mark.parametrize("name", OF_MAPS)
def test_derivatives_by_maps(name: str) -> None:
    pair = [made(4, 2, 3, 4, seed=seed).requires_grad_() for seed in (0, 1)]
    assert torch.autograd.gradcheck(OF_MAPS[name], pair)


@pytest.mark.parametrize("name", [*OF_LOGITS, *OF_MAPS])
def test_nothing_is_detached_unless_the_caller_does(name: str) -> None:
    """A teacher that needs a gradient gets one; a detached one keeps the student's the same."""
    loss = (OF_LOGITS | OF_MAPS)[name]
    shape = (4, 3) if name in OF_LOGITS else (4, 2, 3, 4)
    own, other = (made(*shape, seed=seed).requires_grad_() for seed in (0, 1))
    both = torch.autograd.grad(loss(own, other).square().sum(), (own, other))
    assert both[0].abs().max() > 0
    assert both[1].abs().max() > 0
    (alone,) = torch.autograd.grad(loss(own, other.detach()).square().sum(), own)
    torch.testing.assert_close(alone, both[0], rtol=0, atol=0)
