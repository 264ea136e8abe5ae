"""Networks: published parameter counts, shapes, gradients, and what they refuse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from pi_cache.errors import InvalidSpec  # noqa: E402
from training.models import MODELS, PI_NETS, build, build_pi_net, count_parameters  # noqa: E402
from training.models.cifar_resnet import CifarResNet  # noqa: E402
from training.models.densenet import DenseNet  # noqa: E402
from training.models.fusion import Fusion  # noqa: E402
from training.models.mobilenet import MobileNetV2  # noqa: E402
from training.models.shufflenet import shuffle  # noqa: E402
from training.models.wrn import WideResNet  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
FORMS = ((3, 10, 2), (6, 10, 2), (40, 12, 2), (40, 12, 1), (3, 14, 1))
WIDE = {
    "wrn-16-1": (175_066, 175_498, 180_524, 63_020, 61_374),
    "wrn-16-3": (1_549_530, 1_549_962, 1_555_244, 537_644, 536_254),
    "wrn-28-1": (369_498, 369_930, 374_956, 128_428, 126_782),
    "wrn-28-3": (3_294_042, 3_294_474, 3_299_756, 1_120_940, 1_119_550),
    "wrn-40-1": (563_930, 564_362, 569_388, 193_836, 192_190),
    "wrn-40-2": (2_243_546, 2_243_978, 2_249_132, 761_516, 759_998),
}
"""Of the networks of TGD and TDA_KD, by the channels, classes and dimensions of FORMS."""
OTHERS = {
    ("resnet-8x4", 100): 1_233_540,
    ("resnet-20", 100): 278_324,
    ("resnet-32", 100): 472_756,
    ("resnet-32x4", 100): 7_433_860,
    ("resnet-56", 100): 861_620,
    ("resnet-110", 100): 1_736_564,
    ("vgg-8", 100): 3_965_028,
    ("vgg-13", 100): 9_462_180,
    ("mobilenetv2-half", 100): 812_836,
    ("shufflenetv2", 100): 1_355_528,
    ("wrn-16-2", 100): 703_284,
    ("densenet-40-12", 10): 1_019_722,
    ("densenet-bc-100-12", 10): 769_162,
}
"""Of shapes as in RepDistiller's code and the DenseNet paper, which gives 1.0 and 0.8 million."""
SMALL = ("wrn-16-1", "wrn-16-3", "resnet-8", "resnet-29-bottleneck", "vgg-8", "densenet-40-12")
SMALL += ("mobilenetv2-half", "shufflenetv2-half")
EACH = [(name, dimensions) for name in SMALL for dimensions in (1, 2)]
EACH += [("cnn1d-10", 1), ("cnn1d-10-statistics", 1), ("mlp-8", 0)]
SIDES = {0: (), 1: (37,), 2: (19, 26)}


def inputs_of(channels: int, dimensions: int, samples: int = 3, seed: int = 1) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, channels, *SIDES[dimensions], generator=generator)


def built(name: str, dimensions: int, *, channels: int = 5, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return build(name, channels, 7, dimensions)


def only_form(name: str) -> int:
    """The dimensions of a model that has one form, or 2."""
    return 0 if name.startswith("mlp") else 1 if name.startswith("cnn1d") else 2


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("position", range(len(FORMS)))
def test_wide_networks_have_the_published_parameters(name: str, position: int) -> None:
    with torch.device("meta"):
        assert count_parameters(build(name, *FORMS[position])) == WIDE[name][position]


@pytest.mark.parametrize(("name", "classes"), OTHERS)
def test_other_networks_keep_their_parameters(name: str, classes: int) -> None:
    with torch.device("meta"):
        assert count_parameters(build(name, 3, classes)) == OTHERS[name, classes]


@pytest.mark.parametrize(("side", "lengths"), [(32, (32, 16, 8)), (50, (50, 25, 13))])
@pytest.mark.parametrize("name", ["wrn-16-1", "wrn-16-3"])
def test_wide_maps_have_the_published_shapes(
    name: str, side: int, lengths: tuple[int, ...]
) -> None:
    widen = int(name[-1])
    with torch.device("meta"):
        outputs = build(name, 6, 10)(torch.empty(2, 6, side, side))
    shapes = [tuple(outputs.maps[f"stage{number}"].shape) for number in (1, 2, 3)]
    widths = (16 * widen, 32 * widen, 64 * widen)
    assert shapes == [(2, w, x, x) for w, x in zip(widths, lengths, strict=True)]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_logits_and_its_stages(name: str) -> None:
    dimensions = only_form(name)
    with torch.device("meta"):
        model = build(name, 4, 7, dimensions)
        outputs = model(torch.empty(2, 4, *SIDES[dimensions]))
    assert outputs.logits.shape == (2, 7)
    assert tuple(outputs.maps) == (*model.stages, "pooled")
    assert all(maps.ndim == dimensions + 2 for name, maps in outputs.maps.items() if name[0] == "s")
    assert outputs.maps["pooled"].shape == (2, model.head.in_features)


@pytest.mark.parametrize(("name", "dimensions"), EACH)
def test_gradients_reach_every_parameter(name: str, dimensions: int) -> None:
    """In evaluation: a bias before a norm of a batch has no gradient, for the norm removes it."""
    model = built(name, dimensions).eval()
    logits = model(inputs_of(5, dimensions)).logits
    (logits * torch.arange(1.0, 8.0)).sum().backward()
    without = [n for n, w in model.named_parameters() if w.grad is None or not w.grad.any()]
    assert without == []


@pytest.mark.parametrize(("name", "dimensions"), EACH)
def test_evaluation_is_deterministic_and_takes_samples_apart(name: str, dimensions: int) -> None:
    model, inputs = built(name, dimensions).double(), inputs_of(5, dimensions).double()
    model(inputs)  # a step of the norms
    model.eval()
    with torch.no_grad():
        together, again = model(inputs), model(inputs)
        alone = model(inputs[1:2])
    assert torch.equal(together.logits, again.logits)
    torch.testing.assert_close(alone.logits, together.logits[1:2], rtol=1e-9, atol=1e-9)
    for stage, maps in alone.maps.items():
        torch.testing.assert_close(maps, together.maps[stage][1:2], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "dimensions"), EACH)
def test_one_seed_gives_one_network(name: str, dimensions: int) -> None:
    first, same, other = (built(name, dimensions, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_maps_are_not_changed_by_what_follows() -> None:
    """Layers work in place: a map must be what its stage gave, not what the next one left."""
    for name, dimensions in EACH:
        model = built(name, dimensions).eval()
        made: list[Any] = []
        for stage in model.stages:
            model.get_submodule(stage).register_forward_hook(
                lambda module, given, maps, made=made: made.append(maps.clone())
            )
        outputs = model(inputs_of(5, dimensions))
        for stage, maps in zip(model.stages, made, strict=True):
            assert torch.equal(outputs.maps[stage], maps), (name, stage)


@pytest.mark.parametrize(("name", "dimensions"), EACH[::3])
def test_state_dicts_come_back_from_safetensors(name: str, dimensions: int, tmp_path: Path) -> None:
    model, other = built(name, dimensions), built(name, dimensions, seed=1)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"), strict=True)
    inputs = inputs_of(5, dimensions)
    assert torch.equal(model.eval()(inputs).logits, other.eval()(inputs).logits)


@pytest.mark.parametrize(
    ("name", "dimensions"), [("wrn-16-1", 1), ("shufflenetv2-half", 2), ("cnn1d-10-statistics", 1)]
)
def test_graphs_have_no_breaks(name: str, dimensions: int) -> None:
    model, inputs = built(name, dimensions).eval(), inputs_of(5, dimensions)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(inputs).logits, model(inputs).logits)
    torch.compiler.reset()


def test_initial_weights_have_the_published_deviation() -> None:
    torch.manual_seed(0)
    for dimensions, area in ((1, 3), (2, 9)):
        model = WideResNet(channels=3, classes=10, dimensions=dimensions, depth=16, widen=3)
        weights = model.stage3[0].conv1.weight  # (192, 96, ...)
        assert weights.std().item() == pytest.approx((2 / (area * 192)) ** 0.5, rel=0.02)
        assert not model.head.bias.any()


def test_channels_are_shuffled_in_turn() -> None:
    maps = torch.arange(6.0).reshape(1, 6, 1)
    assert shuffle(maps).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_fusion_reads_features_and_images() -> None:
    torch.manual_seed(0)
    model = Fusion(features=19, image=(3, 8, 8), classes=4, width=32).eval()
    features, images = torch.randn(5, 19), torch.rand(5, 3, 8, 8)
    outputs = model(features, images)
    assert outputs.logits.shape == (5, 4)
    assert tuple(outputs.maps) == (*model.stages, "pooled")
    assert torch.equal(
        outputs.logits, model.mlp(torch.cat([features, images.reshape(5, 192)], dim=1)).logits
    )
    for changed in ((features + 1, images), (features, images + 1)):
        assert not torch.allclose(model(*changed).logits, outputs.logits)
    with pytest.raises(InvalidSpec, match=r"must be \(C, P, B\), got \(8, 8\)"):
        Fusion(features=19, image=(8, 8), classes=4)
    with pytest.raises(InvalidSpec, match=r"got features \(5, 19\) and images \(4, 3, 8, 8\)"):
        model(features, images[:4])
    with pytest.raises(InvalidSpec, match=r"must be floats, got torch.float32 and torch.uint8"):
        model(features, images.to(torch.uint8))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("wrn_16_1", "wrn-16-1"), ("resnet20", "resnet-20"), ("VGG-8", "vgg-8"), ("mlp8", "mlp-8")],
)
def test_unknown_names_are_answered_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(InvalidSpec, match=f"unknown model '{name}'; did you mean '{hint}'"):
        build(name, 3, 10)


def test_pi_nets_are_no_classifiers() -> None:
    with pytest.raises(InvalidSpec, match="gives images, not classes; use build_pi_net"):
        build("pi-net-signal", 3, 10)
    with pytest.raises(InvalidSpec, match="did you mean 'pi-net-image'"):
        build_pi_net("pinet-image", 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 10, 2), "channels must be a whole number from 1 on, got 0"),
        ((3, -1, 2), "classes must be .* got -1"),
        ((0, 0, 2), "channels .*; classes"),
        ((3, 10, 3), r"WideResNet has no form of 3 dimensions; give 1 for signals .* or 2 for"),
    ],
)
def test_impossible_networks_are_refused(arguments: tuple[int, int, int], words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        build("wrn-16-1", *arguments)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: WideResNet(channels=3, classes=10, depth=18), "6 N \\+ 4"),
        (lambda: CifarResNet(channels=3, classes=10, depth=21), "6 N \\+ 2, such as 8, got 21"),
        (lambda: CifarResNet(channels=3, classes=10, depth=8, bottleneck=True), "9 N \\+ 2"),
        (lambda: DenseNet(channels=3, classes=10, depth=42), "3 N \\+ 4"),
        (lambda: MobileNetV2(channels=3, classes=10, width=0.01), "width must leave"),
        (lambda: build("vgg-8", 3, 10, pools=5), "pools must be from 0 to 4"),
        (lambda: build("vgg-8", 3, 10, depth=9), r"one of \[8, 11, 13, 16, 19\], got 9"),
        (lambda: build("shufflenetv2", 3, 10, size=3.0), "size must be one of"),
        (lambda: build("mlp-8", 3, 10, 0, dropout=1.0), "dropout must be"),
        (lambda: build("mlp-8", 3, 10, 2), "give 0 for vectors"),
        (lambda: build("wrn-16-1", 3, 10, wide=2), "wrn-16-1 does not take these options"),
    ],
)
def test_impossible_options_are_refused(make: Any, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        make()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 3, 32), r"takes images \(n, channels, height, width\), got the shape \(2, 3, 32\)"),
        ((2, 4, 32, 32), "takes 3 channels, got the shape .* with 4"),
        ((2, 3, 32, 3), "too small: this network needs at least 4"),
    ],
)
def test_inputs_it_does_not_take_are_refused(shape: tuple[int, ...], words: str) -> None:
    model = build("wrn-16-1", 3, 10)
    with pytest.raises(InvalidSpec, match=words):
        model(torch.zeros(shape))


def test_pixels_must_be_scaled_first() -> None:
    with pytest.raises(InvalidSpec, match=r"must be floats, got torch\.uint8"):
        build("wrn-16-1", 3, 10)(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize("name", [*MODELS, *PI_NETS])
def test_the_smallest_inputs_are_taken(name: str) -> None:
    with torch.device("meta"):
        if name in PI_NETS:
            model: Any = build_pi_net(name, 2)
        else:
            model = build(name, 2, 3, only_form(name))
        model(torch.empty(4, 2, *[model.smallest] * model.dimensions))


def test_the_examples_of_the_page_give_what_it_says() -> None:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    first, pi_net, *_ = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    *lines, logits, maps = first.strip().split("\n")
    names: dict[str, Any] = {}
    exec("\n".join([*lines, f"shape = {logits}", f"maps = {maps}"]), names)
    assert str(tuple(names["shape"])) == logits.partition("# ")[2].partition(", before")[0]
    assert f"\n{names['maps']}\n" in text
    *lines, images = pi_net.strip().split("\n")
    exec("\n".join([*lines, f"shape = {images}"]), names)
    assert str(tuple(names["shape"])) == images.partition("# ")[2]


def test_the_page_has_every_model_and_its_parameters() -> None:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([^`]+)` \| ([\d,]+) \|", text, re.MULTILINE))
    assert set(rows) == {*MODELS, *PI_NETS}
    with torch.device("meta"):
        for name, printed in rows.items():
            if name in PI_NETS:
                counted = count_parameters(build_pi_net(name, 3), running=True)
            else:
                channels = 57 if only_form(name) == 0 else 3
                counted = count_parameters(build(name, channels, 10, only_form(name)))
            assert f"{counted:,}" == printed, name
