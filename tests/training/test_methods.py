"""Objectives of methods against plain loops, from the same outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from pi_cache.errors import InvalidSpec  # noqa: E402
from tests import naive_losses as naive  # noqa: E402
from training.methods import METHODS, Method, make_method, total  # noqa: E402
from training.models import build  # noqa: E402
from training.models.outputs import Outputs  # noqa: E402
from training.trained import ModelSpec, Trained  # noqa: E402
from training.trainer.objectives import Distilled  # noqa: E402
from training.views import Piece, View  # noqa: E402

pytestmark = pytest.mark.torch

Array = np.ndarray
COUNT, CLASSES = 6, 4
STAGES = ("stage1", "stage2", "stage3")


def made(*sizes: int, axes: int, channels: int, seed: int) -> Outputs:
    """Float64 outputs with three stages of these sizes, and pooled features."""
    draw = torch.Generator().manual_seed(seed)

    def values(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    maps = {
        name: values(COUNT, channels + k, *[size] * axes)
        for k, (name, size) in enumerate(zip(STAGES, sizes, strict=True))
    }
    maps["pooled"] = values(COUNT, channels + 2)
    return Outputs(3 * values(COUNT, CLASSES), maps)


SIGNAL = made(9, 6, 5, axes=1, channels=2, seed=0)
PHOTOGRAPH = made(6, 5, 4, axes=2, channels=2, seed=1)
SIGNALS = made(9, 5, 4, axes=1, channels=4, seed=2)
PHOTOGRAPHS = made(7, 5, 4, axes=2, channels=3, seed=3)
PIS = made(6, 4, 3, axes=2, channels=3, seed=4)
FIELDS = made(7, 3, 2, axes=2, channels=5, seed=5)

PAIRS = {"signal": (SIGNAL, [SIGNALS]), "image": (PHOTOGRAPH, [PHOTOGRAPHS])}
ACROSS = {**PAIRS, "signal from image": (SIGNAL, [PIS])}
TWO = {"image, PI": (PHOTOGRAPH, [PHOTOGRAPHS, PIS]), "PI, signal": (SIGNAL, [PIS, SIGNALS])}
THREE = {"signal, PI, GAF": (SIGNAL, [SIGNALS, PIS, FIELDS])}
SHARES = (0.5, 0.3, 0.2)


def array(tensor: Tensor) -> Array:
    return tensor.detach().numpy()


def stage(outputs: Outputs, name: str) -> Array:
    return array(outputs.maps[name])


def each_stage(student: Outputs, teacher: Outputs) -> list[tuple[Array, Array]]:
    return [(stage(student, name), stage(teacher, name)) for name in STAGES]


def ce_kd(
    student: Outputs,
    teachers: Sequence[Outputs],
    shares: Array,
    ce: float,
    kd: float,
    *,
    temperature: float = 4.0,
    weights: Any = (1.0,),
    change: Callable[[Array], Array] = lambda logits: logits,
) -> float:
    """ce * CE + kd * sum over teachers of the weighted KL, means over the batch.

    weights: one a teacher, or one a teacher and sample. change: of logits before KL.
    """
    weights = np.broadcast_to(np.array(weights).reshape(len(teachers), -1), (len(teachers), COUNT))
    own = change(array(student.logits))
    losses = [naive.kl(own, change(array(t.logits)), temperature) for t in teachers]
    divergence = sum(
        weights[t, i] * loss for t, each in enumerate(losses) for i, loss in enumerate(each)
    )
    cross = naive.mean(naive.cross_entropy(array(student.logits), shares))
    return ce * cross + kd * divergence / COUNT


def merged(teachers: Sequence[Outputs], name: str, weights: Sequence[float]) -> list:
    return naive.merge([naive.similarity(stage(t, name)) for t in teachers], weights)


def merged_sp(student: Outputs, teachers: Sequence[Outputs], weights: Sequence[float]) -> float:
    own = {name: naive.similarity(stage(student, name)) for name in STAGES}
    return sum(naive.sp(own[name], merged(teachers, name, weights)) for name in STAGES)


def at(student: Outputs, teacher: Outputs) -> float:
    total = 0.0
    for own, other in each_stage(student, teacher):
        sizes = [min(pair) for pair in zip(own.shape[2:], other.shape[2:], strict=True)]
        total += naive.at(naive.pool(own, sizes), naive.pool(other, sizes), "element_mean")
    return total


def am(student: Outputs, teacher: Outputs, loss: Callable[..., float]) -> float:
    return naive.mean([loss(own, other, 64.0, 1.35) for own, other in each_stage(student, teacher)])


def squares(own: Array, other: Array, projector: nn.Module) -> Array:
    """(n, D, ...) squared differences of maps, at the smaller size, after the projector."""
    sizes = [min(pair) for pair in zip(own.shape[2:], other.shape[2:], strict=True)]
    if sizes:
        own, other = naive.pool(own, sizes), naive.pool(other, sizes)
    weight, scale, shift = (array(each) for each in projector.parameters())
    rows = np.moveaxis(own, 1, -1).reshape(-1, own.shape[1])  # each position of each sample
    weight = weight.reshape(weight.shape[:2])
    projected = naive.normed(rows, weight, np.zeros(len(weight)), scale, shift)
    return (np.moveaxis(projected.reshape(len(own), *sizes, -1), -1, 1) - other) ** 2


def hint(student: Outputs, teacher: Outputs, name: str, learned: nn.ModuleDict) -> float:
    return float(squares(stage(student, name), stage(teacher, name), learned["projector"]).mean())


def afd(student: Outputs, teacher: Outputs, learned: nn.ModuleDict) -> float:
    state = {name: array(value) for name, value in learned["attention"].state_dict().items()}

    def layer(rows: Array, prefix: str) -> Array:
        names = ("0.weight", "0.bias", "1.weight", "1.bias")
        return naive.normed(rows, *(state[f"{prefix}.{name}"] for name in names))

    own, other = zip(*each_stage(student, teacher), strict=True)
    pooled = [[maps.reshape(*maps.shape[:2], -1).mean(2) for maps in each] for each in (own, other)]
    queries = np.stack([layer(g, f"queries.{t}") for t, g in enumerate(pooled[1])], axis=1)
    keys = [np.maximum(layer(g, f"keys.{s}.0"), 0) for s, g in enumerate(pooled[0])]
    rows = np.stack(keys, axis=1).reshape(COUNT * len(own), -1)  # sample after sample
    spread = layer(rows, "bilinear").reshape(COUNT, len(own), len(other), -1)
    positions = state["teacher_positions"] @ state["student_positions"].T
    return naive.afd(own, other, naive.afd_attention(queries, spread, positions))


def orthogonal(student: Outputs, teachers: Sequence[Outputs], weights: Sequence[float]) -> float:
    losses = [
        naive.tpkd(
            np.array(naive.similarity(stage(student, name))),
            np.array(merged(teachers, name, weights)),
            *(2, True, False, "element_mean"),
        )
        for name in STAGES
    ]
    return sum(losses)


def features(
    student: Outputs, teachers: Sequence[Outputs], weights: Array, learned: nn.ModuleDict
) -> float:
    own, total = stage(student, "pooled"), 0.0
    for t, (teacher, layer) in enumerate(zip(teachers, learned["projectors"], strict=True)):
        losses = squares(own, stage(teacher, "pooled"), layer).mean(1)
        total += sum(weights[t, i] * losses[i] for i in range(COUNT)) / COUNT
    return total


def tda(s: Outputs, t: Sequence[Outputs], y: Array, w: Sequence[float], ce: float) -> float:
    """ce CE(z / std) + (1 - ce) 16 KL(2 z / std) / classes."""
    cross = naive.mean(naive.cross_entropy(naive.rescale(array(s.logits), 1.0), y))
    weight = (1 - ce) * 16 / CLASSES
    twice = ce_kd(
        s, t, y, 0, weight, temperature=1, weights=w, change=lambda z: naive.rescale(z, 2)
    )
    return ce * cross + twice


def mixed(s: Outputs, t: Sequence[Outputs], y: Array) -> float:
    """0.1 CE(z / std) + 0.9 KL(z / std)."""
    cross = naive.mean(naive.cross_entropy(naive.rescale(array(s.logits), 1.0), y))
    kl = ce_kd(s, t, y, 0, 0.9, temperature=1, change=lambda z: naive.rescale(z, 1))
    return 0.1 * cross + kl


def entropy(t: Sequence[Outputs]) -> Array:
    return naive.entropy_weights([array(each.logits) for each in t], 1.0)


def confidence(t: Sequence[Outputs], y: Array) -> Array:
    return naive.confidence_weights([array(each.logits) for each in t], y)


# A case: the method's name and settings, student and teachers, and the total of
# (student, teachers, shares of classes, what is learned).
Case = tuple[str, dict[str, Any], dict[str, tuple[Outputs, list[Outputs]]], Callable[..., float]]
ALONE = {"kd_weight": 0.0}
W2, W3 = {"weights": (0.4, 0.6)}, {"weights": SHARES}
CASES: list[Case] = [
    ("kd", {}, ACROSS, lambda s, t, y, m: ce_kd(s, t, y, 0.1, 0.9 * 16)),
    (
        "kd",
        {"kd_reduction": "element_mean", "kd_weight": 0.3, "temperature": 2},
        PAIRS,
        lambda s, t, y, m: ce_kd(s, t, y, 0.7, 0.3 * 4 / CLASSES, temperature=2),
    ),
    ("kd", {"kd_weight": 1.5, "ce_weight": 2}, PAIRS, lambda s, t, y, m: ce_kd(s, t, y, 2, 24)),
    ("eskd", {}, PAIRS, lambda s, t, y, m: ce_kd(s, t, y, 0.3, 0.7 * 16)),
    ("full-kd", {}, PAIRS, lambda s, t, y, m: ce_kd(s, t, y, 0.3, 0.7 * 16)),
    (
        "lsd",
        {},
        ACROSS,
        lambda s, t, y, m: ce_kd(
            s, t, y, 0.1, 9 * 4, temperature=2, change=lambda z: naive.standardise(z, True)
        ),
    ),
    ("mixup-kd", {}, PAIRS, lambda s, t, y, m: mixed(s, t, y)),
    (
        "mixup-kd",
        {"conventional": True},
        PAIRS,
        lambda s, t, y, m: ce_kd(s, t, y, 0.1, 0.9 * 16),
    ),
    ("at", {}, PAIRS, lambda s, t, y, m: ce_kd(s, t, y, 1, 0) + 1000 * at(s, t[0])),
    (
        "at",
        {"kd_weight": 0.9},
        PAIRS,
        lambda s, t, y, m: ce_kd(s, t, y, 0.1, 0.9 * 16) + 1000 * at(s, t[0]),
    ),
    (
        "sp",
        {},
        ACROSS,
        lambda s, t, y, m: (
            ce_kd(s, t, y, 1, 0)
            + 3000
            * naive.sp(
                naive.similarity(stage(s, "stage3")), naive.similarity(stage(t[0], "stage3"))
            )
        ),
    ),
    (
        "rkd",
        {},
        ACROSS,
        lambda s, t, y, m: (
            ce_kd(s, t, y, 1, 0)
            + 25 * naive.rkd_distance(stage(s, "pooled"), stage(t[0], "pooled"))
            + 50 * naive.rkd_angle(stage(s, "pooled"), stage(t[0], "pooled"))
        ),
    ),
    (
        "fitnet",
        {},
        PAIRS,
        lambda s, t, y, m: ce_kd(s, t, y, 1, 0) + 100 * hint(s, t[0], "stage2", m),
    ),
    (
        "l2",
        {},
        ACROSS,
        lambda s, t, y, m: ce_kd(s, t, y, 1, 0) + 100 * hint(s, t[0], "pooled", m),
    ),
    (
        "afd",
        {"size": 5},
        PAIRS,
        lambda s, t, y, m: ce_kd(s, t, y, 1, 0.9 * 16) + 200 * afd(s, t[0], m),
    ),
    (
        "amd",
        {},
        PAIRS,
        lambda s, t, y, m: ce_kd(s, t, y, 0.1, 0.9 * 16) + 5000 * am(s, t[0], naive.amd),
    ),
    (
        "amd-gl",
        {},
        PAIRS,
        lambda s, t, y, m: (
            ce_kd(s, t, y, 0.1, 0.9 * 16)
            + 4000 * am(s, t[0], naive.amd)
            + 1000 * am(s, t[0], naive.amd_parts)
        ),
    ),
    (
        "multi",
        {},
        TWO | THREE,
        lambda s, t, y, m: ce_kd(s, t, y, 1, 16, weights=[1 / len(t)] * len(t)),
    ),
    (
        "multi",
        {"weighting": "weighted"} | W3,
        THREE,
        lambda s, t, y, m: ce_kd(s, t, y, 1, 16, weights=SHARES),
    ),
    (
        "multi",
        {"weighting": "entropy"},
        TWO | THREE,
        lambda s, t, y, m: ce_kd(s, t, y, 1, 16, weights=entropy(t)),
    ),
    (
        "multi",
        {"weighting": "confidence"},
        TWO | THREE,
        lambda s, t, y, m: ce_kd(s, t, y, 1, 16, weights=confidence(t, y)),
    ),
    (
        "ca-mkd",
        {},
        TWO | THREE,
        lambda s, t, y, m: (
            ce_kd(s, t, y, 1, 16, weights=confidence(t, y))
            + 50 * features(s, t, confidence(t, y), m)
        ),
    ),
    (
        "tgd",
        {},
        TWO,
        lambda s, t, y, m: (
            ce_kd(s, t, y, 0.1, 0.9 * 16 / CLASSES, weights=(0.99, 0.01))
            + 1000 * merged_sp(s, t, (0.99, 0.01))
        ),
    ),
    (
        "tgd",
        W3,
        THREE,
        lambda s, t, y, m: (
            ce_kd(s, t, y, 0.1, 0.9 * 16 / CLASSES, weights=SHARES) + 1000 * merged_sp(s, t, SHARES)
        ),
    ),
    ("tda-kd", {}, TWO, lambda s, t, y, m: tda(s, t, y, (0.7, 0.3), 0.01)),
    ("tda-kd", W3, THREE, lambda s, t, y, m: tda(s, t, y, SHARES, 0.01)),
    (
        "tpkd",
        {},
        TWO,
        lambda s, t, y, m: (
            ce_kd(s, t, y, 0.01, 0.99 * 16 / CLASSES, weights=(0.7, 0.3))
            + 200 * orthogonal(s, t, (0.7, 0.3))
        ),
    ),
    (
        "tpkd",
        {"kd_weight": 0.7, "orthogonal_weight": 700, "sp_weight": 3} | W3,
        THREE,
        lambda s, t, y, m: (
            ce_kd(s, t, y, 0.3, 0.7 * 16 / CLASSES, weights=SHARES)
            + 700 * orthogonal(s, t, SHARES)
            + 3 * merged_sp(s, t, SHARES)
        ),
    ),
]


def test_every_method_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_samples_are_compared_where_the_method_says_so(name: str) -> None:
    """Else the loss of a batch is the mean of those of its halves."""
    method, (labels, _) = make_method(name), targets("labels")
    who = [PHOTOGRAPH, PHOTOGRAPHS, PIS][: 1 + method.least]
    learned = learned_by(method, who[0], who[1:]).train(False)

    def loss(of: slice) -> float:
        own, *others = [
            Outputs(each.logits[of], {key: value[of] for key, value in each.maps.items()})
            for each in who
        ]
        return float(total(method.terms(own, others, labels[of], learned)).detach())

    halves = (loss(slice(3)) + loss(slice(3, None))) / 2
    assert (loss(slice(None)) != pytest.approx(halves, rel=1e-9)) == method.compares


def targets(kind: str) -> tuple[Tensor, Array]:
    """What a method is given, and the same as shares of classes."""
    if kind == "labels":
        labels = torch.tensor([0, 3, 1, 1, 2, 0])
        return labels, np.eye(CLASSES)[labels.numpy()]
    draw = torch.Generator().manual_seed(9)
    shares = torch.rand(COUNT, CLASSES, generator=draw, dtype=torch.float64)
    shares /= shares.sum(1, keepdim=True)
    return shares, shares.numpy()


def leaf(outputs: Outputs) -> Outputs:
    """The same values, with gradients."""
    maps = {name: value.clone().requires_grad_() for name, value in outputs.maps.items()}
    return Outputs(outputs.logits.clone().requires_grad_(), maps)


def learned_by(method: Method, student: Outputs, teachers: Sequence[Outputs]) -> nn.ModuleDict:
    torch.manual_seed(5)
    return method.learned(student, teachers).double().train()


@pytest.mark.parametrize("kind", ["labels", "shares"])
@pytest.mark.parametrize(
    ("name", "settings", "who", "expected"),
    [
        pytest.param(name, settings, who, expected, id=f"{name}-{place}-{what}")
        for place, (name, settings, all_who, expected) in enumerate(CASES)
        for what, who in all_who.items()
    ],
)
def test_total_is_that_of_loops(
    name: str,
    settings: dict[str, Any],
    who: tuple[Outputs, list[Outputs]],
    expected: Callable[..., float],
    kind: str,
) -> None:
    method, (given, shares) = make_method(name, **settings), targets(kind)
    student, teachers = leaf(who[0]), who[1]
    learned = learned_by(method, student, teachers)
    terms = method.terms(student, teachers, given, learned)
    found = total(terms)
    assert float(found.detach()) == pytest.approx(
        expected(student, teachers, shares, learned), rel=1e-9
    )
    assert set(terms) <= set(method.term_names)
    found.backward()
    assert student.logits.grad is not None
    assert all(bool(p.grad.abs().sum() > 0) for n, p in learned.named_parameters() if moves(n))
    read = [value.grad for value in student.maps.values() if value.grad is not None]
    assert bool(read) == method.stages
    assert all(bool(gradient.isfinite().all()) for gradient in read)


def moves(name: str) -> bool:
    """A bias before a norm of the batch has the gradient 0: the norm takes it away again."""
    return not name.endswith("0.bias")


# --- With networks ------------------------------------------------------------------------------


def networks(count: int, across: bool) -> list[nn.Module]:
    """A student of signals and its teachers, of signals, PIs and GAFs where it may be."""
    torch.manual_seed(1)
    wide = ("wrn-16-1", 3, CLASSES)
    made = [build("resnet-8", 3, CLASSES, 1)]
    kinds = [2, 1, 2] if across else [1]
    return made + [build(*wide, dimensions) for dimensions in kinds[:count]]


@pytest.mark.parametrize("name", METHODS)
def test_gradients_reach_the_student_and_never_a_teacher(name: str) -> None:
    many = METHODS[name].most is None
    settings = {"weights": SHARES} if name in ("tgd", "tda-kd", "tpkd") else {}
    method = make_method(name, **settings)
    student, *teachers = networks(3 if many else 1, across=many)
    inputs = {1: torch.randn(COUNT, 3, 16), 2: torch.randn(COUNT, 3, 8, 8)}
    with torch.no_grad():
        given = [teacher.eval()(inputs[teacher.dimensions]) for teacher in teachers]
        learned = method.learned(student(inputs[1]), given)
    terms = method.terms(student(inputs[1]), given, targets("labels")[0], learned)
    assert all(term.value.shape == () for term in terms.values())
    total(terms).backward()
    assert all(parameter.grad is not None for parameter in student.parameters())
    assert all(parameter.grad is None for t in teachers for parameter in t.parameters())
    assert all(parameter.grad is not None for parameter in learned.parameters())


# --- Laws -----------------------------------------------------------------------------------------


def terms_of(name: str, student: Outputs, teachers: list[Outputs], **settings: Any) -> Any:
    method = make_method(name, **settings)
    learned = learned_by(method, student, teachers)
    return method.terms(student, teachers, targets("labels")[0], learned)


def test_the_two_reductions_differ_by_the_classes() -> None:
    batch = terms_of("kd", SIGNAL, [PIS])["kd"]
    element = terms_of("kd", SIGNAL, [PIS], kd_reduction="element_mean")["kd"]
    assert batch.weight == element.weight == pytest.approx(0.9 * 16)
    assert float(batch.value / element.value) == pytest.approx(CLASSES)


def test_tda_kd_does_not_see_the_scale_of_logits() -> None:
    louder = [Outputs(7 * each.logits, each.maps) for each in (SIGNAL, PIS, SIGNALS)]
    plain = total(terms_of("tda-kd", SIGNAL, [PIS, SIGNALS]))
    assert float(total(terms_of("tda-kd", louder[0], louder[1:]))) == pytest.approx(float(plain))


def test_a_teacher_that_is_the_student_teaches_nothing_more() -> None:
    for name in ("at", "sp", "rkd", "amd", "amd-gl"):
        terms = terms_of(name, PHOTOGRAPH, [PHOTOGRAPH], kd_weight=0.9)
        assert {n: float(t.value) for n, t in terms.items() if n != "ce"} == pytest.approx(
            dict.fromkeys(set(terms) - {"ce"}, 0.0), abs=1e-12
        )
    for name in ("tgd", "tpkd", "tda-kd"):
        terms = terms_of(name, SIGNAL, [SIGNAL, SIGNAL])
        assert all(
            float(t.value) == pytest.approx(0, abs=1e-12) for n, t in terms.items() if n != "ce"
        )


def test_one_weight_of_one_is_that_teacher_alone() -> None:
    alone = terms_of("sp", SIGNAL, [PIS], layers=("all",), sp_weight=1)["sp"].value
    both = terms_of("tgd", SIGNAL, [PIS, SIGNALS], weights=(1, 0))["sp"].value
    assert float(both) == pytest.approx(float(alone))


def test_what_is_learned_follows_the_seed() -> None:
    for name, who in (("fitnet", PHOTOGRAPHS), ("l2", PIS), ("afd", PHOTOGRAPHS)):
        first, again = (learned_by(make_method(name), PHOTOGRAPH, [who]) for _ in range(2))
        pairs = zip(first.state_dict().values(), again.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(("name", "least"), [("kd", 2), ("rkd", 3), ("afd", 2), ("tpkd", 2)])
def test_the_smallest_batch_works(name: str, least: int) -> None:
    method = make_method(name)
    assert method.smallest == least

    def cut(outputs: Outputs) -> Outputs:
        return Outputs(outputs.logits[:least], {n: m[:least] for n, m in outputs.maps.items()})

    teachers = [cut(SIGNALS)] * max(method.least, 1)
    learned = learned_by(method, cut(SIGNAL), teachers)
    found = total(method.terms(cut(SIGNAL), teachers, targets("labels")[0][:least], learned))
    assert bool(found.isfinite())


def test_more_patches_need_a_larger_batch() -> None:
    assert make_method("tpkd", patches=16).smallest == 4
    assert make_method("tpkd", patches=3, layout="bands").smallest == 3


def test_one_sample_has_no_norm_in_afd() -> None:
    method = make_method("afd")
    learned = learned_by(method, SIGNAL, [SIGNALS])
    one = [Outputs(o.logits[:1], {n: m[:1] for n, m in o.maps.items()}) for o in (SIGNAL, SIGNALS)]
    with pytest.raises(InvalidSpec, match="two samples in a batch"):
        method.terms(one[0], one[1:], torch.tensor([0]), learned)


@pytest.mark.parametrize("name", ["fitnet", "l2"])
def test_hints_of_large_maps_do_not_diverge(name: str) -> None:
    """Raw maps of a wide network have means and deviations of 2; the rate is that of papers."""
    torch.manual_seed(0)
    maps = {
        n: 2 + 2 * torch.randn(64, 32, *size) for n, size in [("stage2", (8, 8)), ("pooled", ())]
    }
    student, teacher = (
        Outputs(torch.zeros(64, 2), {n: f * m for n, m in maps.items()}) for f in (1, -1)
    )
    method, labels = make_method(name), torch.zeros(64, dtype=torch.int64)
    learned = method.learned(student, [teacher])
    optimizer = torch.optim.SGD(learned.parameters(), 0.1, momentum=0.9)
    losses = []
    for _ in range(60):
        value = method.terms(student, [teacher], labels, learned)["hint"]
        optimizer.zero_grad()
        (value.weight * value.value).backward()
        optimizer.step()
        losses.append(float(value.value.detach()))
    assert losses[-1] < losses[0]


# --- Layers ---------------------------------------------------------------------------------------


def vgg_like() -> Outputs:
    """Five stages of an image."""
    wide = made(5, 3, 2, axes=2, channels=3, seed=6)
    more = {"stage4": wide.maps["stage3"], "stage5": wide.maps["stage3"]}
    return Outputs(wide.logits, {**wide.maps, **more})


def test_layers_by_name() -> None:
    def value(*layers: str, teacher: Outputs = PHOTOGRAPHS) -> float:
        return float(terms_of("at", PHOTOGRAPH, [teacher], layers=layers)["at"].value)

    each = [value(name) for name in STAGES]
    assert value("all") == pytest.approx(sum(each))
    assert value("stage1", "last") == pytest.approx(each[0] + each[2])
    assert value("stage1:stage3") != pytest.approx(each[0])
    assert value("last", teacher=vgg_like()) == pytest.approx(
        value("stage3:stage5", teacher=vgg_like())
    )
    three = terms_of("tgd", SIGNAL, [PIS, SIGNALS], layers=("stage1:stage2:stage3",))["sp"].value
    same = naive.merge(
        [naive.similarity(stage(PIS, "stage2")), naive.similarity(stage(SIGNALS, "stage3"))],
        (0.99, 0.01),
    )
    own = naive.similarity(stage(SIGNAL, "stage1"))
    assert float(three) == pytest.approx(naive.sp(own, same))


@pytest.mark.parametrize(
    ("name", "teacher", "layers", "message"),
    [
        ("at", vgg_like(), ("all",), "other numbers of stages .*; say which to compare"),
        ("at", PHOTOGRAPHS, ("stem",), "no stage 'stem'; this network has stage1"),
        ("at", PHOTOGRAPHS, ("stage1:stage1:stage1",), "names 2 teachers, there are 1"),
        ("sp", PHOTOGRAPHS, ("stage1:",), "names 1 teachers, there are 1; write NAME"),
        ("at", SIGNALS, ("all",), "maps of 2 axes of positions cannot be compared"),
        ("at", PHOTOGRAPHS, ("stage1", "stage1"), "compare stage1:stage1 more than once"),
        (
            "sp",
            PHOTOGRAPHS,
            ("all", "last"),
            "layers all,last compare stage3:stage3 more than once",
        ),
        ("at", PHOTOGRAPHS, ("pooled",), "vectors have no positions: use a loss .* such as SP"),
    ],
)
def test_layers_that_cannot_be(
    name: str, teacher: Outputs, layers: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message):
        terms_of(name, PHOTOGRAPH, [teacher], layers=layers)


def test_layers_of_one_network_have_no_colon() -> None:
    with pytest.raises(
        InvalidSpec, match=r"layer stage1:stage2 names two networks; .* without a colon"
    ):
        make_method("afd", student_layers="stage1:stage2").learned(SIGNAL, [SIGNALS])


def test_a_hint_of_a_signal_to_an_image_is_refused_before_training() -> None:
    with pytest.raises(InvalidSpec, match="maps of 1 axes of positions cannot be compared"):
        make_method("fitnet").learned(SIGNAL, [PHOTOGRAPHS])


# --- In a run -------------------------------------------------------------------------------------


def begun(name: str, student: str, teacher: str, **settings: Any) -> Distilled:
    """A student and a teacher of images that have seen a first batch."""
    torch.manual_seed(0)
    view = View((Piece(name="inputs", kind="whole", shape=(3, 16, 16)),))
    spec = ModelSpec(name=teacher, channels=3, classes=CLASSES, dimensions=2)
    taught = Trained(network=spec.build(), model=spec, view=view, class_names=(), record={})
    network = build(student, 3, CLASSES, 2)
    objective = Distilled(network, view, make_method(name, **settings), [taught])
    objective.begin({"inputs": torch.randn(4, 3, 16, 16), "labels": torch.tensor([0, 1, 2, 3])})
    return objective


def test_what_cannot_be_compared_is_refused_at_the_first_batch() -> None:
    with pytest.raises(InvalidSpec, match="other numbers of stages"):
        begun("at", "vgg-8", "resnet-8")
    begun("at", "vgg-8", "resnet-8", layers="stage1:stage1,last")


def test_the_first_look_changes_no_norm() -> None:
    objective = begun("afd", "resnet-8", "resnet-8")
    counts = {n: int(b) for n, b in objective.named_buffers() if n.endswith("num_batches_tracked")}
    assert counts
    assert not any(counts.values())
    assert objective.training
    assert objective.learned.training
    assert all(parameter.requires_grad for parameter in objective.learned.parameters())
