"""Laws of the losses of distillation: what changes nothing, degenerate input, refusals, memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d  # noqa: E402

from pi_cache.errors import InvalidSpec  # noqa: E402
from tests.training.test_losses import LABELS, OF_LOGITS, OF_MAPS, made  # noqa: E402
from training.augment.mixing import Mix  # noqa: E402
from training.losses import amd, attention, features, kd, relations, similarity, teachers  # noqa: E402
from training.losses.shapes import pool, row_norms, unit_rows  # noqa: E402

pytestmark = pytest.mark.torch

Loss = Callable[[Tensor, Tensor], Tensor]


def close(found: Tensor, expected: Tensor | float, tolerance: float = 1e-12) -> None:
    expected = torch.as_tensor(expected, dtype=found.dtype)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


# --- What changes nothing ----------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_the_two_reductions_differ_by_the_classes(classes: int) -> None:
    own, other = made(7, classes), made(7, classes, seed=1)
    ratio = kd.kl_batch_mean(own, other, temperature=4.0) / classes
    close(kd.kl_element_mean(own, other, temperature=4.0), ratio)


@pytest.mark.parametrize("sizes", [(1, 1), (3, 4), (5, 7), (8, 2), (11, 16)])
def test_pooling_is_adaptive_averaging(sizes: tuple[int, int]) -> None:
    maps = [made(2, 3, 5, 8).requires_grad_() for _ in range(2)]
    found, expected = pool(maps[0], sizes), adaptive_avg_pool2d(maps[1], sizes)
    close(found, expected)
    for means in (found, expected):
        (means * made(*means.shape, seed=1)).sum().backward()
    assert maps[0].grad is not None
    assert maps[1].grad is not None
    close(maps[0].grad, maps[1].grad)
    signal = maps[0].detach()[..., 0]
    close(pool(signal, sizes[:1]), adaptive_avg_pool1d(signal, sizes[0]))
    with torch.autocast("cpu", torch.bfloat16):
        single = pool(signal.float(), sizes[:1])
    close(single, adaptive_avg_pool1d(signal.float(), sizes[0]), 1e-6)
    half = pool(signal.half(), sizes[:1])
    assert half.dtype == torch.float16
    close(half, adaptive_avg_pool1d(signal.half().double(), sizes[0]), 1e-3)


@pytest.mark.parametrize("factor", [1e-6, 0.3, 17.0, 1e6])
def test_rescaled_logits_have_no_scale(factor: float) -> None:
    logits = made(5, 4)
    factors = torch.tensor([factor, 1, 2, 3, factor]).double()[:, None]
    close(kd.rescale(factors * logits, factor=2), kd.rescale(logits, factor=2))
    close(kd.standardise(factors * logits + 5 * factors), kd.standardise(logits), 1e-9)


def test_rescaled_logits_have_the_deviation_of_their_factor() -> None:
    deviation = kd.rescale(made(5, 4), factor=2).std(1)
    close(deviation, torch.full((5,), 2.0))


def test_twice_rescaled_is_half_the_temperature() -> None:
    own, other = kd.rescale(made(5, 4), factor=1), kd.rescale(made(5, 4, seed=1), factor=1)
    half = kd.kl_batch_mean(own, other, temperature=0.5)
    close(kd.kl_batch_mean(2 * own, 2 * other, temperature=1.0), half)
    doubled = kd.rescale(made(5, 4), factor=2), kd.rescale(made(5, 4, seed=1), factor=2)
    close(kd.kl_batch_mean(*doubled, temperature=1.0), half)


def test_mixed_targets_are_mixed_losses() -> None:
    """Mixing shares of classes is the same as mixing the cross entropies of the two labels."""
    logits, labels = made(4, 3), LABELS
    mix = Mix(torch.arange(4), torch.tensor([2, 0, 3, 1]), torch.tensor([0.2, 1, 0.5, 0.9]))
    shares = mix(torch.nn.functional.one_hot(labels, 3).float()).double()
    first = kd.cross_entropy_per_sample(logits, labels)
    second = kd.cross_entropy_per_sample(logits, labels[mix.second])
    weight = mix.weight.double()
    mixed = (weight * first + (1 - weight) * second).mean()
    close(kd.cross_entropy_batch_mean(logits, shares), mixed, 1e-6)


@pytest.mark.parametrize("name", ["at", "amd", "amd_local", "sp", "rkd_distance", "rkd_angle"])
def test_equal_maps_lose_nothing(name: str) -> None:
    maps = made(4, 2, 3, 4)
    assert OF_MAPS[name](maps, maps.clone()) == 0


def test_attention_has_no_scale_of_a_sample() -> None:
    own, other = made(3, 2, 4, 4), made(3, 5, 4, 4, seed=1)
    factors = torch.tensor([0.01, 3.0, 100.0]).double()[:, None, None, None]
    expected = attention.at(own, other, reduction="batch_mean")
    close(attention.at(factors * own, other, reduction="batch_mean"), expected)
    close(attention.at(own, -factors * other, reduction="batch_mean"), expected)


def test_attention_sees_no_order_of_channels_and_their_repetition() -> None:
    own, other = made(3, 2, 4, 4), made(3, 5, 4, 4, seed=1)
    expected = attention.at(own, other, reduction="element_mean")
    again = other.flip(1).repeat(1, 3, 1, 1)
    close(attention.at(own, again, reduction="element_mean"), expected)


def test_similarity_depends_on_no_size_and_no_channels() -> None:
    own, other = made(4, 2, 3, 3), made(4, 5, 7, seed=1)
    expected = similarity.sp_element_mean(own, other)
    for again in (own.repeat(1, 3, 1, 1), own.repeat(1, 1, 2, 5), own.flatten(1), own.flip(1, 2)):
        close(similarity.sp_element_mean(again, other), expected)
        close(similarity.sp_element_mean(other, again), expected)
    close(similarity.sp_element_mean(own * 9, other * 0.1), expected)
    last = own.contiguous(memory_format=torch.channels_last)
    close(similarity.sp_element_mean(last, other), expected)


def test_merged_similarity_of_one_teacher_is_sp() -> None:
    own, other, third = made(4, 2, 3), made(4, 5, 7, seed=1), made(4, 6, seed=2)
    expected = similarity.sp_element_mean(own, other)
    close(similarity.tgd_element_mean(own, [other], weights=[1]), expected)
    close(similarity.tgd_element_mean(own, [other, third], weights=[1, 0]), expected)
    close(similarity.tgd_element_mean(own, [third, other], weights=[0, 0.5]), expected)


@pytest.mark.parametrize(
    "loss", [relations.rkd_distance_pair_mean, relations.rkd_angle_triplet_mean]
)
def test_relations_see_no_rotation_shift_and_scale(loss: Loss) -> None:
    own, other = made(6, 4), made(6, 7, seed=1)
    rotation = torch.linalg.qr(made(4, 4, seed=2)).Q
    expected = loss(own, other)
    assert expected > 1e-3
    close(loss(3 * own @ rotation + 5, other), expected, 1e-10)
    close(loss(own, 0.2 * other - 1), expected, 1e-10)


@pytest.mark.parametrize("rule", ["entropy", "confidence"])
def test_weights_add_up_to_one(rule: str) -> None:
    for count in (1, 2, 3):
        logits = [3 * made(4, 3, seed=seed) for seed in range(count)]
        found = (
            teachers.entropy_weights(logits)
            if rule == "entropy"
            else teachers.confidence_weights(logits, LABELS)
        )
        assert found.shape == (count, 4)
        assert found.min() >= 0
        close(found.sum(0), torch.ones(4))


def test_surer_and_righter_teachers_weigh_more() -> None:
    right = 5 * torch.nn.functional.one_hot(LABELS, 3).double()
    unsure = torch.zeros_like(right)
    wrong = right.roll(1, 1)
    sure = teachers.entropy_weights([right, unsure])
    assert (sure[0] > sure[1]).all()
    close(teachers.entropy_weights([right, wrong])[0], torch.full((4,), 0.5))
    near = teachers.confidence_weights([right, unsure, wrong], LABELS)
    assert (near[0] > near[1]).all()
    assert (near[1] > near[2]).all()


# --- Degenerate input --------------------------------------------------------------------------


def finite(loss: Loss, own: Tensor, other: Tensor) -> Tensor:
    """The loss, when it and the student's gradient are finite."""
    own = own.clone().requires_grad_()
    value = loss(own, other)
    (gradient,) = torch.autograd.grad(value.sum(), own)
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    return value.detach()


EXTREMES = torch.tensor([[3e38, -3e38, 0], [1e30, 1e30, 1e30], [0, 0, 0], [1e-40, 0, -1e-40]])


@pytest.mark.parametrize("name", OF_LOGITS)
def test_extreme_logits(name: str) -> None:
    if name != "entropy":  # its second teacher is made by doubling
        finite(OF_LOGITS[name], EXTREMES, EXTREMES.roll(1, 0).roll(1, 1))
    finite(OF_LOGITS[name], EXTREMES / 4, EXTREMES.roll(1, 1) / 4)
    half = made(4, 3).half()
    assert finite(OF_LOGITS[name], half * 1e4, half.roll(1, 0) * 1e4).dtype == torch.float32


def test_teachers_without_doubt_weigh_the_same() -> None:
    sure = 1e4 * torch.nn.functional.one_hot(LABELS, 3).float()
    close(teachers.entropy_weights([sure, sure.roll(1, 1)]), torch.full((2, 4), 0.5))


@pytest.mark.parametrize("name", OF_MAPS)
@pytest.mark.parametrize("case", ["zero", "zero student", "zero sample", "tiny", "large", "half"])
def test_degenerate_maps(name: str, case: str) -> None:
    own, other = made(4, 2, 3, 4).float(), made(4, 2, 3, 4, seed=1).float()
    if case.startswith("zero"):
        own = own * (torch.arange(4)[:, None, None, None] if case == "zero sample" else 0)
        other = other * 0 if case == "zero" else other
    factor = {"tiny": 1e-20, "large": 1e8}.get(case, 1.0)
    if case == "half":
        own, other = own.half() * 300, other.half() * 300
        if name in ("tgd", "tpkd"):  # their second teacher is squared here, beyond half precision
            other = other / 10
    assert finite(OF_MAPS[name], own * factor, other * factor).dtype == torch.float32


@pytest.mark.parametrize("name", [name for name in OF_MAPS if not name.startswith(("rkd", "tpkd"))])
def test_a_batch_of_one(name: str) -> None:
    finite(OF_MAPS[name], made(1, 2, 3, 4), made(1, 2, 3, 4, seed=1))


def test_samples_that_coincide() -> None:
    own = torch.ones(5, 4)
    for loss in (relations.rkd_distance_pair_mean, relations.rkd_angle_triplet_mean):
        assert finite(loss, own, own) == 0
        finite(loss, own, made(5, 4).float())


def test_angular_margin_of_one_active_position() -> None:
    """q is 1 there, where arccos has no derivative."""
    own = torch.zeros(2, 1, 4, 4)
    own[:, 0, 1, 2] = 1e4
    other = made(2, 1, 4, 4).float()
    for scale in (64.0, 200.0):  # e**200 is beyond float32
        finite(
            lambda a, b, s=scale: amd.amd_global(a, b, reduction="batch_mean", scale=s), own, other
        )
        finite(
            lambda a, b, s=scale: amd.amd_local(a, b, reduction="batch_mean", scale=s), other, own
        )


def test_norms_of_rows() -> None:
    rows = torch.tensor([[3e30, 4e30], [3e-20, 4e-20], [0.0, 0.0], [3.0, 4.0]])
    close(row_norms(rows).flatten(), torch.tensor([5e30, 5e-20, 0, 5]), 1e-6)
    unit = torch.tensor([[0.6, 0.8], [0.6, 0.8], [0, 0], [0.6, 0.8]])
    close(unit_rows(rows), unit, 1e-6)


@pytest.mark.parametrize("name", [*OF_LOGITS, *OF_MAPS])
def test_autocast_changes_little(name: str) -> None:
    """Under bfloat16, products are still float32: bfloat16 has three digits."""
    shape = (4, 3) if name in OF_LOGITS else (4, 2, 3, 4)
    own, other = made(*shape).float(), made(*shape, seed=1).float()
    loss = (OF_LOGITS | OF_MAPS)[name]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(own, other)
    close(found, loss(own, other), 1e-6)


@pytest.mark.parametrize("name", [*OF_LOGITS, *OF_MAPS])
def test_float32_is_near_float64(name: str) -> None:
    """At sizes of training, and far from the origin, where differences lose digits."""
    shape = (4, 1000) if name in OF_LOGITS else (4, 8, 24, 24)
    if name == "afd_attention":
        shape = (4, 8, 24, 8)
    own, other = (4 * made(*shape, seed=seed).float() + 8 for seed in (0, 1))
    loss = (OF_LOGITS | OF_MAPS)[name]
    expected = loss(own.double(), other.double())
    torch.testing.assert_close(loss(own, other).double(), expected, rtol=5e-4, atol=1e-9)


@pytest.mark.parametrize(
    "loss", [relations.rkd_distance_pair_mean, relations.rkd_angle_triplet_mean]
)
def test_relations_of_close_samples_far_away(loss: Loss) -> None:
    """|a|**2 + |b|**2 - 2 a b would have no digit left in float32."""
    own, other = (0.1 * made(8, 64, seed=seed).float() + 1000 for seed in (0, 1))
    close(loss(own, other).double(), loss(own.double(), other.double()), 1e-5)


def test_the_two_ways_to_average_teachers_have_one_gradient() -> None:
    """KL to each teacher, and KL to their mean, differ by what the student cannot change."""
    student = made(4, 3).requires_grad_()
    logits, weights = [made(4, 3, seed=1), made(4, 3, seed=2)], [0.3, 0.7]
    each = teachers.weighted_kl_batch_mean(student, logits, weights, temperature=4.0)
    merged = teachers.merged_probabilities(logits, weights, temperature=4.0)
    mean = kd.soft_kl_batch_mean(student, merged, temperature=4.0)
    assert mean < each
    gradients = [torch.autograd.grad(loss, student)[0] for loss in (each, mean)]
    close(*gradients)


# --- Refusals ----------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "classes": (lambda: kd.kl_batch_mean(made(4, 3), made(4, 5), temperature=1.0), "same classes"),
    "no batch": (lambda: kd.kl_batch_mean(made(0, 3), made(0, 3), temperature=1.0), "one shape"),
    "temperature": (
        lambda: kd.kl_batch_mean(made(4, 3), made(4, 3), temperature=0.0),
        "temperature must be positive",
    ),
    "one class": (lambda: kd.rescale(made(4, 1), factor=2), "two classes"),
    "one class, standardised": (lambda: kd.standardise(made(4, 1)), "two classes"),
    "labels": (
        lambda: kd.cross_entropy_batch_mean(made(4, 3), torch.zeros(5, dtype=torch.long)),
        r"labels must be \(4,\)",
    ),
    "no label": (
        lambda: kd.cross_entropy_batch_mean(made(4, 3), torch.tensor([0, -1, 2, 1])),
        r"labels must lie in 0..2, got -1..2; leave out samples without a label",
    ),
    "whole numbers": (lambda: attention.energy(torch.ones(2, 3, 4, dtype=torch.uint8)), "floats"),
    "reduction": (
        lambda: attention.at(made(2, 3, 4), made(2, 3, 4), reduction="mean"),
        "batch_mean, element_mean",
    ),
    "signal and image": (
        lambda: attention.at(made(2, 3, 4), made(2, 3, 4, 4), reduction="batch_mean"),
        "such as SP",
    ),
    "batches": (lambda: similarity.sp_element_mean(made(4, 3), made(5, 3)), "one batch"),
    "weights": (
        lambda: similarity.tgd_element_mean(made(4, 3), [made(4, 3)], weights=[0.5, 0.5]),
        "1 teachers need as many weights, got 2",
    ),
    "patches": (
        lambda: similarity.orthogonal_features(made(4, 4), patches=3),
        "cannot be cut into 3 patches",
    ),
    "small batch": (
        lambda: similarity.orthogonal_features(made(1, 1)),
        "1 samples cannot be cut into 4",
    ),
    "layout": (lambda: similarity.orthogonal_features(made(4, 4), layout="x"), "grid or bands"),
    "oblong": (
        lambda: similarity.orthogonal_features(made(5, 5), product=False),
        "product=True",
    ),
    "one sample": (
        lambda: relations.rkd_distance_pair_mean(made(1, 3), made(1, 3)),
        "need 2 samples",
    ),
    "two samples": (
        lambda: relations.rkd_angle_triplet_mean(made(2, 3), made(2, 3)),
        "incomplete last batch",
    ),
    "projector": (
        lambda: features.l2(made(2, 3), made(2, 4), reduction="batch_mean"),
        "give a projector",
    ),
    "attention": (
        lambda: features.afd_batch_mean([made(2, 3, 4)], [made(2, 3, 4)], made(2, 2, 1)),
        r"\(n, T, S\) = \(2, 1, 1\)",
    ),
    "no layers": (lambda: features.afd_batch_mean([], [], made(2, 0, 0)), "a layer"),
    "queries": (lambda: features.afd_attention(made(2, 3, 4), made(2, 1, 2, 4)), "queries must"),
    "parts": (
        lambda: amd.amd_local(made(2, 3, 4, 1), made(2, 3, 4, 1), reduction="batch_mean"),
        "cannot be cut in 2 along an axis; take a smaller grid",
    ),
    "scores": (
        lambda: amd.amd_global(made(2, 3, 4), made(2, 3, 4), reduction="batch_mean", scores=["a"]),
        "scores must be some of angular, positive, negative",
    ),
    "no teachers": (lambda: teachers.entropy_weights([]), "one teacher at least"),
    "no teacher": (lambda: teachers.equal_weights(0), "one teacher at least"),
    "weights of samples": (
        lambda: teachers.weighted_batch_mean([made(4), made(4)], made(2, 3)),
        r"\(2, 4\), got \(2, 3\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    call, words = REFUSED[case]
    with pytest.raises(InvalidSpec, match=words):
        call()


def test_labels_on_a_device_are_not_waited_for() -> None:
    """Tensors without values stand for those of a device, whose values are not there yet."""
    labels = torch.zeros(4, dtype=torch.long, device="meta")
    loss = kd.cross_entropy_batch_mean(torch.zeros(4, 3, device="meta"), labels)
    assert loss.shape == ()


# --- The document ------------------------------------------------------------------------------

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "losses.md"


@pytest.mark.parametrize("module", [amd, attention, features, kd, relations, similarity, teachers])
def test_every_loss_is_documented(module: ModuleType) -> None:
    own = [
        name
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) and value.__module__ == module.__name__
    ]
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [name for name in own if name[0] != "_" and f"`{name}`" not in text] == []


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Tensor] = {}
    exec(example, names)
    assert names["loss"].isfinite()
    assert names["student"].grad is not None
    assert names["maps"].grad is not None


# --- Memory ------------------------------------------------------------------------------------

Maps = list[Tensor]
OF_SIMILARITIES: dict[str, Callable[[Tensor, Maps], Tensor]] = {
    "sp": lambda own, others: similarity.sp_element_mean(own, others[0]),
    "tgd": lambda own, others: similarity.tgd_element_mean(own, others, weights=[0.7, 0.3]),
}


@pytest.mark.parametrize("name", OF_SIMILARITIES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_of_similarities(name: str, layout: torch.memory_format) -> None:
    """At batch 64 of PAMAP2: no copy of any map, and two gradients of the student's map.

    Stages of WRN-16-3 on 40 images of 64 x 64 and on 40 signals of 100, and of a WRN-16-1.
    """
    image, signal = torch.zeros(64, 48, 64, 64).to(memory_format=layout), torch.zeros(64, 48, 100)
    student = torch.zeros(64, 16, 64, 64).to(memory_format=layout).requires_grad_()
    loss = OF_SIMILARITIES[name]
    small = 2**20  # (n, n) arrays
    with torch.no_grad():
        assert allocated(lambda: loss(student, [image, signal])) < small
    both = allocated(lambda: loss(student, [image, signal]).backward())
    assert student.nbytes < both < 2 * student.nbytes + small


def allocated(work: Callable[[], object]) -> int:
    """Bytes of all allocations on the CPU, those that are freed again too."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as record:
        work()
    return sum(max(0, event.self_cpu_memory_usage) for event in record.events())
