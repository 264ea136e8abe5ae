"""Released weights: the names they have, and that they mean the same under ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from pi_cache.errors import InvalidSpec, UnsupportedFormat  # noqa: E402
from training.models import build  # noqa: E402
from training.models.checkpoints import load_released, read_released, rename  # noqa: E402

pytestmark = pytest.mark.torch

CONVOLVE = {1: functional.conv1d, 2: functional.conv2d}
FORMS = [(16, 1, 3, 10, 2), (16, 3, 6, 10, 2), (28, 1, 40, 12, 1), (16, 3, 40, 12, 1)]
TGD = {"group": "block{}.nblockLayer", "norm": "batch_norm", "short": "conv_inp"}
TGD |= {"stem": "conv1", "end": "batch_norm", "head": "fc"}
DISTILLER = {"group": "block{}.layer", "norm": "bn", "short": "convShortcut"}
DISTILLER |= {"stem": "conv1", "end": "bn1", "head": "fc"}
STYLES = {"tgd": TGD, "repdistiller-wrn": DISTILLER}


def released(
    depth: int, widen: int, channels: int, classes: int, dimensions: int, style: dict[str, str]
) -> dict[str, Any]:
    """A state dict with the names and shapes of the released ones, and drawn values."""
    generator, state = torch.Generator().manual_seed(depth + widen), {}

    def draw(*shape: int) -> Any:
        return torch.randn(shape, generator=generator) / 4

    def norm(name: str, width: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = 1 + draw(width), draw(width)
        state[f"{name}.running_mean"] = draw(width)
        state[f"{name}.running_var"] = 1 + draw(width).abs()
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def conv(name: str, before: int, after: int, size: int) -> None:
        state[f"{name}.weight"] = draw(after, before, *[size] * dimensions) / before**0.5

    conv(style["stem"], channels, 16, 3)
    before = 16
    for group, width in enumerate((16 * widen, 32 * widen, 64 * widen), start=1):
        for block in range((depth - 4) // 6):
            name = f"{style['group'].format(group)}.{block}"
            norm(f"{name}.{style['norm']}1", before)
            conv(f"{name}.conv1", before, width, 3)
            norm(f"{name}.{style['norm']}2", width)
            conv(f"{name}.conv2", width, width, 3)
            if before != width:
                conv(f"{name}.{style['short']}", before, width, 1)
            before = width
    norm(style["end"], before)
    state[f"{style['head']}.weight"], state[f"{style['head']}.bias"] = (
        draw(classes, before),
        draw(classes),
    )
    return state


def naive(state: dict[str, Any], inputs: Any, depth: int, style: dict[str, str]) -> list[Any]:
    """Outputs of the three groups and the logits, straight from released names."""
    convolve = CONVOLVE[inputs.ndim - 2]

    def normed(name: str, maps: Any) -> Any:
        parts = [state[f"{name}.{part}"] for part in ("running_mean", "running_var")]
        affine = [state[f"{name}.{part}"] for part in ("weight", "bias")]
        return functional.batch_norm(maps, *parts, *affine).clamp(min=0)

    maps = convolve(inputs, state[f"{style['stem']}.weight"], padding=1)
    given = []
    for group in (1, 2, 3):
        for block in range((depth - 4) // 6):
            name = f"{style['group'].format(group)}.{block}"
            stride = 2 if group > 1 and block == 0 else 1
            active = normed(f"{name}.{style['norm']}1", maps)
            inner = convolve(active, state[f"{name}.conv1.weight"], stride=stride, padding=1)
            inner = normed(f"{name}.{style['norm']}2", inner)
            inner = convolve(inner, state[f"{name}.conv2.weight"], padding=1)
            short = state.get(f"{name}.{style['short']}.weight")
            maps = inner + (maps if short is None else convolve(active, short, stride=stride))
        given.append(maps)
    pooled = normed(style["end"], maps).flatten(2).mean(dim=2)
    return [*given, pooled @ state[f"{style['head']}.weight"].T + state[f"{style['head']}.bias"]]


@pytest.mark.parametrize("layout", STYLES)
@pytest.mark.parametrize("form", FORMS)
def test_released_weights_mean_the_same_here(form: tuple[int, ...], layout: str) -> None:
    depth, widen, channels, classes, dimensions = form
    state = released(*form, style=STYLES[layout])  # type: ignore[call-arg, arg-type]
    model = build(f"wrn-{depth}-{widen}", channels, classes, dimensions)
    load_released(model, state, layout=layout)
    inputs = torch.randn(2, channels, *[13] * dimensions)
    with torch.no_grad():
        outputs = model.eval()(inputs)
    expected = naive(state, inputs, depth, STYLES[layout])
    given = [*(outputs.maps[stage] for stage in model.stages), outputs.logits]
    for ours, theirs in zip(given, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_all_or_nothing_is_loaded() -> None:
    state = released(*FORMS[0], style=TGD)
    model = build("wrn-16-1", 3, 10)
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    state["extra.weight"] = state.pop("fc.bias")
    state["conv1.weight"] = state["conv1.weight"][:, :2]
    with pytest.raises(InvalidSpec) as caught:
        load_released(model, state)
    assert all(
        words in str(caught.value)
        for words in (
            "head.bias is missing",
            "extra.weight is left over",
            "stem.weight has the shape (16, 2, 3, 3), expected (16, 3, 3, 3)",
        )
    )
    assert all(torch.equal(before[name], kept) for name, kept in model.state_dict().items())


def test_wrapped_names_and_old_norms_are_taken() -> None:
    state = {
        f"module.{name}": weights
        for name, weights in released(*FORMS[0], style=TGD).items()
        if "num_batches" not in name
    }
    load_released(build("wrn-16-1", 3, 10), state)


def test_other_layouts_are_refused() -> None:
    with pytest.raises(InvalidSpec, match="unknown layout 'keras'; the layouts are tgd"):
        rename({}, "keras")
    twice = {"conv1.weight": torch.zeros(1), "module.conv1.weight": torch.zeros(1)}
    with pytest.raises(InvalidSpec, match=r"two parameters become 'stem\.weight'"):
        rename(twice, "tgd")


class Harm:
    """What runs a function when it is unpickled."""

    def __reduce__(self) -> Any:
        return print, ("harm",)


def test_released_files_are_read_without_running_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = released(*FORMS[0], style=TGD)
    path = tmp_path / "wrn161_Student.pth.tar"
    torch.save(
        {"model_state_dict": state, "optimizer_state_dict": {"state": {}}, "epoch": 41}, path
    )
    found = read_released(path)
    assert all(torch.equal(found[name], state[name]) for name in state)
    for document, words in (({"epoch": 3}, "no state dict"), ({"a": Harm()}, "no weights")):
        torch.save(document, path)
        with pytest.raises(UnsupportedFormat, match=words):
            read_released(path)
    assert "harm" not in capsys.readouterr().out
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UnsupportedFormat, match="takes no weights from this file"):
        read_released(path)
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        read_released(tmp_path / "absent.pth")
