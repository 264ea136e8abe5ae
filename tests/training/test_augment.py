"""Augmentations against slow, obvious ones: NumPy, Pillow and SciPy, a sample at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from pi_cache.errors import InvalidSpec  # noqa: E402
from pi_cache.specs import DiagramSpec, SourceSpec, StoreSpec  # noqa: E402
from training.augment.augmenter import Augmenter  # noqa: E402
from training.augment.base import Drawn, Mix  # noqa: E402
from training.augment.corruptions import (  # noqa: E402
    KINDS,
    LEVELS,
    Corruption,
    blur,
    check_identity,
)
from training.augment.draws import symmetric_beta  # noqa: E402
from training.augment.follow import follow_images, follow_targets, move_points  # noqa: E402
from training.augment.images import SYMMETRIES, Cutout, PadCrop, ShuffleChannels, Symmetry  # noqa: E402
from training.augment.mixing import CutMix, Mixup  # noqa: E402
from training.augment.randaugment import OPERATIONS, RandAugment, operate  # noqa: E402
from training.augment.signals import (  # noqa: E402
    GaussianNoise,
    Negate,
    Offset,
    Removal,
    Reverse,
    Scaling,
    Shift,
    mix1,
    mix2,
)

pytestmark = pytest.mark.torch

ORACLES = {
    "flip": np.fliplr,
    "flip-vertical": np.flipud,
    "rot180": lambda image: np.rot90(image, 2),
    "transpose": lambda image: image.swapaxes(0, 1),
    "anti-transpose": lambda image: np.rot90(image.swapaxes(0, 1), 2),
    "rot90": np.rot90,
    "rot270": lambda image: np.rot90(image, -1),
}


def generator(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def bytes_of(n: int = 8, c: int = 3, h: int = 12, w: int = 12, seed: int = 0) -> Any:
    return torch.randint(0, 256, (n, c, h, w), dtype=torch.uint8, generator=generator(seed))


def signals_of(n: int = 8, c: int = 6, t: int = 50, seed: int = 0) -> Any:
    return torch.randn((n, c, t), generator=generator(seed))


def once(augmentation: Any, batch: Any, seed: int = 0) -> tuple[Any, Drawn]:
    result: tuple[Any, Drawn] = augmentation(batch, generator(seed))
    return result


# Images


@pytest.mark.parametrize("name", SYMMETRIES)
def test_symmetries_are_those_of_numpy(name: str) -> None:
    batch = bytes_of(h=5, w=9)
    turned, _ = once(Symmetry(symmetry=name, probability=1.0), batch)
    for image, got in zip(batch.numpy(), turned.numpy(), strict=True):
        expected = ORACLES[name](np.moveaxis(image, 0, -1))
        np.testing.assert_array_equal(np.moveaxis(got, 0, -1), expected)


def test_a_symmetry_turns_those_that_it_says() -> None:
    batch = bytes_of(200)
    turned, drawn = once(Symmetry(symmetry="rot90", probability=0.3), batch)
    assert turned.dtype == torch.uint8
    assert 30 < drawn.changed.sum() < 90
    expected = torch.stack(
        [x.rot90(1, (1, 2)) if y else x for x, y in zip(batch, drawn.changed, strict=True)]
    )
    assert torch.equal(turned, expected)


@settings(max_examples=20)
@given(st.integers(1, 5), st.sampled_from([None, 0.0, 1.0]), st.integers(0, 99))
def test_a_crop_is_one_of_the_padded_image(padding: int, fill: float | None, seed: int) -> None:
    batch = bytes_of(3, 2, 6, 7, seed)
    cropped, _ = once(PadCrop(padding=padding, fill=fill), batch, seed)
    assert cropped.dtype == torch.uint8
    for image, got in zip(batch.numpy(), cropped.numpy(), strict=True):
        widths = [(0, 0), (padding, padding), (padding, padding)]
        padded = (
            np.pad(image, widths, mode="edge")
            if fill is None
            else np.pad(image, widths, constant_values=round(255 * fill))
        )
        places = [(i, j) for i in range(2 * padding + 1) for j in range(2 * padding + 1)]
        assert any((padded[:, i : i + 6, j : j + 7] == got).all() for i, j in places)


def test_crops_reach_every_place() -> None:
    batch = torch.arange(49.0).reshape(1, 1, 7, 7).repeat(500, 1, 1, 1)
    cropped, _ = once(PadCrop(padding=1), batch)
    assert len({tuple(image.flatten().tolist()) for image in cropped}) == 9


def test_cutout_fills_one_square_that_the_edge_may_cut() -> None:
    batch = torch.ones((300, 2, 12, 12))
    cut, _ = once(Cutout(size=4, fill=0.5), batch)
    areas = []
    for image in cut:
        assert torch.equal(image[0], image[1])
        rows, columns = (image[0] == 0.5).nonzero(as_tuple=True)
        sides = (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1)
        assert len(rows) == sides[0] * sides[1] and max(sides) <= 4
        areas.append(len(rows))
    assert max(areas) == 16 and min(areas) == 4  # a centre in a corner leaves half of each side
    assert once(Cutout(fill=0.5), bytes_of())[0].eq(128).any()


def test_channels_are_shuffled_as_it_says() -> None:
    batch = bytes_of(50)
    shuffled, drawn = once(ShuffleChannels(probability=0.8), batch)
    for image, order, got in zip(batch, drawn.order, shuffled, strict=True):
        assert torch.equal(image[order], got)
    assert len({tuple(order.tolist()) for order in drawn.order}) == 6


# RandAugment, against Pillow


def pillow(name: str, image: np.ndarray, strength: float) -> np.ndarray:
    """One operation by Pillow, as the authors call it, on (H, W, 3) bytes."""
    from PIL import Image, ImageEnhance, ImageOps

    picture = Image.fromarray(image)
    width, height = picture.size
    factor = 1 + 0.9 * strength
    shift_x, shift_y = (int(strength * (150 / 331) * side) for side in (width, height))
    affine = {
        "shear-x": (1, 0.3 * strength, 0, 0, 1, 0),
        "shear-y": (1, 0, 0, 0.3 * strength, 1, 0),
        "translate-x": (1, 0, shift_x, 0, 1, 0),
        "translate-y": (1, 0, 0, 0, 1, shift_y),
    }
    if name in affine:
        moved = picture.transform((width, height), Image.Transform.AFFINE, affine[name])
        return np.asarray(moved)
    by_name = {
        "identity": lambda: picture,
        "auto-contrast": lambda: ImageOps.autocontrast(picture),
        "equalize": lambda: ImageOps.equalize(picture),
        "rotate": lambda: picture.rotate(30 * strength),
        "solarize": lambda: ImageOps.solarize(picture, 255 * (1 - abs(strength))),
        "color": lambda: ImageEnhance.Color(picture).enhance(factor),
        "posterize": lambda: ImageOps.posterize(picture, 8 - round(4 * abs(strength))),
        "contrast": lambda: ImageEnhance.Contrast(picture).enhance(factor),
        "brightness": lambda: ImageEnhance.Brightness(picture).enhance(factor),
        "sharpness": lambda: ImageEnhance.Sharpness(picture).enhance(factor),
    }
    return np.asarray(by_name[name]())


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("magnitude", [-30, -9, 0, 5, 17])
def test_operations_are_those_of_pillow(name: str, magnitude: int) -> None:
    rng = np.random.default_rng(3)
    smooth = np.linspace(0, 200, 32)[:, None, None] + rng.uniform(0, 40, (32, 32, 3))
    few, many = rng.integers(90, 93, (32, 32, 3)), rng.integers(0, 256, (32, 32, 3))
    images = np.stack([many, smooth, few]).astype(np.uint8)
    levels = torch.from_numpy(np.moveaxis(images, -1, 1).astype(np.float32))
    strength = torch.full((3,), magnitude / 30, dtype=torch.float64)
    ours = np.moveaxis(operate(name, levels, strength).numpy(), 1, -1)
    for image, got in zip(images, ours, strict=True):
        expected = pillow(name, image, magnitude / 30)
        # Pillow moves pixels by numbers of 16 binary places, so a few on a border differ.
        agreed = (got == expected).mean()
        assert agreed == 1.0 or (name in ("rotate", "shear-x", "shear-y") and agreed > 0.99), agreed


def test_each_image_has_its_own_operations() -> None:
    image = bytes_of(1, h=32, w=32).repeat(64, 1, 1, 1)
    augmented, _ = once(RandAugment(), image)
    assert augmented.dtype == torch.uint8
    assert len({tuple(each.flatten().tolist()) for each in augmented}) > 40
    floats, _ = once(RandAugment(), image / 255)
    assert torch.equal((floats * 255).round().to(torch.uint8), augmented)


def test_grouped_operations_are_those_of_single_images() -> None:
    """One operation in a group of images gives what it gives alone."""
    batch = bytes_of(6, h=16, w=16).float()
    strength = torch.linspace(-1, 1, 6, dtype=torch.float64)
    for name in OPERATIONS:
        together = operate(name, batch, strength, 7.0)
        alone = [operate(name, batch[i : i + 1], strength[i : i + 1], 7.0) for i in range(6)]
        assert torch.equal(together, torch.cat(alone)), name


def test_grey_images_are_augmented_too() -> None:
    augmented, _ = once(RandAugment(count=4), bytes_of(32, 1))
    assert augmented.shape == (32, 1, 12, 12)
    with pytest.raises(InvalidSpec, match="takes 1 or 3 channels, got 6"):
        once(RandAugment(), bytes_of(c=6))


# Mixing


@pytest.mark.parametrize("batch", [bytes_of(), signals_of()], ids=["bytes", "signals"])
def test_mixup_is_a_weighted_sum(batch: Any) -> None:
    mixed, drawn = once(Mixup(alpha=0.4, both=True), batch)
    wide = batch / 255 if batch.dtype == torch.uint8 else batch
    for i, got in enumerate(mixed):
        weight = drawn.mix.weight[i]
        expected = weight * wide[drawn.mix.first[i]] + (1 - weight) * wide[drawn.mix.second[i]]
        torch.testing.assert_close(got, expected)
    for rows in (drawn.mix.first, drawn.mix.second):
        assert sorted(rows.tolist()) == list(range(8))


def test_partial_mixup_keeps_what_it_says() -> None:
    _, drawn = once(Mixup(kept=0.9), signals_of(64))
    assert int((drawn.mix.weight < 1).sum()) == 64 - 57
    assert drawn.mix.first.tolist() == list(range(64))


def test_with_replacement_four_tenths_stay_mixed() -> None:
    mixed = [
        float((once(Mixup(kept=0.9, replacement=True), signals_of(64, 1, 2), k)[1].mix.weight < 1)
              .float().mean())
        for k in range(200)
    ]  # fmt: skip
    assert np.mean(mixed) == pytest.approx((1 - 1 / 64) ** 57, abs=0.01)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_weights_have_the_moments_of_beta(alpha: float) -> None:
    weights = symmetric_beta(40_000, alpha, generator()).double()
    assert bool(((weights >= 0) & (weights <= 1)).all())
    assert float(weights.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(weights.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)


def test_cutmix_has_a_box_of_another_image() -> None:
    batch = torch.arange(300.0)[:, None, None, None].expand(300, 2, 10, 14).contiguous()
    mixed, drawn = once(CutMix(), batch)
    for i, image in enumerate(mixed):
        inside = image[0] != i
        if not inside.any():
            continue
        assert set(image[0][inside].tolist()) == {float(drawn.mix.second[i])}
        rows, columns = inside.nonzero(as_tuple=True)
        box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
        assert int(box) == int(inside.sum())
        assert float(drawn.mix.weight[i]) == pytest.approx(1 - int(box) / 140)
    assert once(CutMix(), bytes_of())[0].dtype == torch.uint8


def test_half_of_the_batches_are_cut() -> None:
    cut = [bool((once(CutMix(probability=0.5), bytes_of(4), k)[1].mix.weight < 1).any())
           for k in range(200)]  # fmt: skip
    assert 70 < sum(cut) < 130


# Signals


def test_removal_fills_one_stretch() -> None:
    batch = signals_of(200)
    removed, _ = once(Removal(share=0.2, fill=0.1), batch)
    lengths = set()
    for signal, got in zip(batch, removed, strict=True):
        times = (got != signal).any(dim=0).nonzero()[:, 0]
        lengths.add(len(times))
        if len(times):
            assert int(times[-1] - times[0]) + 1 == len(times) <= 10
            assert (got[:, times] == 0.1).all()
    assert lengths == set(range(11))


def test_removal_strikes_one_sensor() -> None:
    batch = signals_of(100)
    removed, _ = once(Removal(share=0.5, sensor=3), batch)
    changed = (removed != batch).any(dim=2).tolist()
    struck = {tuple(channels) for channels in changed}
    assert struck - {(False,) * 6} == {(True,) * 3 + (False,) * 3, (False,) * 3 + (True,) * 3}
    with pytest.raises(InvalidSpec, match="6 channels are no whole number of sensors of 4"):
        once(Removal(sensor=4), batch)


@pytest.mark.parametrize("fill", ["edge", "zero", "wrap"])
def test_a_shift_is_that_of_numpy(fill: str) -> None:
    batch = signals_of(60, 2, 20)
    shifted, _ = once(Shift(share=0.25, fill=fill), batch)
    found = set()
    for signal, got in zip(batch.numpy(), shifted.numpy(), strict=True):
        candidates = {k: shifted_by_numpy(signal, k, fill) for k in range(-5, 6)}
        found |= {k for k, expected in candidates.items() if np.array_equal(got, expected)}
    assert found == set(range(-5, 6))


def shifted_by_numpy(signal: np.ndarray, shift: int, fill: str) -> np.ndarray:
    rolled = np.roll(signal, shift, axis=1)
    if fill == "wrap" or not shift:
        return rolled
    empty = slice(0, shift) if shift > 0 else slice(shift, None)
    rolled[:, empty] = 0 if fill == "zero" else signal[:, [0 if shift > 0 else -1]]
    return rolled


def test_noise_has_its_deviation() -> None:
    batch = signals_of(4, 3, 5000) * torch.tensor([1.0, 10.0, 0.0])[:, None]
    added = once(GaussianNoise(deviation=0.2), batch)[0] - batch
    for channel, expected in enumerate([0.2, 2.0, 0.0]):
        assert float(added[:, channel].std()) == pytest.approx(expected, rel=0.03)
    absolute = once(GaussianNoise(deviation=0.2, relative=False), batch)[0] - batch
    assert float(absolute[:, 2].std()) == pytest.approx(0.2, rel=0.03)


def test_exact_changes_of_signals() -> None:
    batch = signals_of(100)
    reversed_, drawn = once(Reverse(), batch)
    assert torch.equal(reversed_[drawn.changed], batch[drawn.changed].flip(2))
    assert torch.equal(reversed_[~drawn.changed], batch[~drawn.changed])
    negated, drawn = once(Negate(), batch)
    assert torch.equal(negated[drawn.changed], -batch[drawn.changed])
    moved, drawn = once(Offset(limit=0.3), batch)
    torch.testing.assert_close(moved - batch, drawn.offset[:, :, None].expand_as(batch))
    assert 0.25 < float(drawn.offset.abs().max()) <= 0.3
    scaled, drawn = once(Scaling(limit=0.3), batch)
    assert torch.equal(scaled, batch * drawn.factor[:, :, None])
    with pytest.raises(InvalidSpec, match="Negate needs floats"):
        once(Negate(), (batch * 10).to(torch.uint8))


def test_mix1_and_mix2_are_what_the_paper_names() -> None:
    assert [each.name for each in mix1()] == ["Removal", "Shift"]
    assert [each.name for each in mix2()] == ["Removal", "GaussianNoise", "Shift"]
    assert mix1(Removal(share=0.3))[0] == Removal(share=0.3)


# Corruptions


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [bytes_of(), bytes_of() / 255, signals_of()])
def test_level_0_is_the_identity(kind: str, batch: Any) -> None:
    corruption = Corruption(kind=kind, level=2)
    check_identity(corruption, batch, generator())
    assert once(Corruption(kind=kind), batch)[0] is batch


@pytest.mark.parametrize(("kind", "sample"), LEVELS)
def test_levels_take_more_and_more(kind: str, sample: str) -> None:
    batch = bytes_of(16, h=32, w=32) / 255 if sample == "image" else signals_of(16, t=200)
    errors = [
        float((once(Corruption(kind=kind, level=level), batch)[0] - batch).pow(2).mean())
        for level in range(len(LEVELS[kind, sample]) + 1)
    ]
    assert errors[0] == 0 and errors == sorted(set(errors))


@pytest.mark.parametrize("deviation", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("shape", [(2, 3, 9, 11), (2, 3, 40), (1, 1, 2, 2)])
def test_blur_is_that_of_scipy(deviation: float, shape: tuple[int, ...]) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    values = torch.rand(shape, generator=generator(), dtype=torch.float64)
    sigma = [0, 0] + [deviation] * (len(shape) - 2)
    expected = ndimage.gaussian_filter(values.numpy(), sigma, mode="nearest", truncate=4.0)
    np.testing.assert_allclose(blur(values, deviation).numpy(), expected, atol=1e-14)


def test_as_many_points_are_missing_in_every_sample() -> None:
    struck = once(Corruption(kind="missing", level=2, fill=0.1), signals_of(20, 6, 100))[0] == 0.1
    assert struck.sum(dim=2).eq(22).all()
    assert (struck == struck[:, :1]).all()
    images = once(Corruption(kind="missing", amount=0.5, fill=1.0), bytes_of() // 2)[0]
    assert images.dtype == torch.uint8
    assert images.eq(255).all(dim=1).sum(dim=(1, 2)).eq(72).all()


def test_noise_of_images_stays_in_range() -> None:
    noisy, _ = once(Corruption(kind="noise", level=5), bytes_of())
    assert noisy.dtype == torch.float32 and float(noisy.min()) >= 0 and float(noisy.max()) <= 1
    grey = torch.full((4, 3, 64, 64), 0.5)
    added = once(Corruption(kind="noise", level=5), grey)[0] - grey
    assert float(added.std()) == pytest.approx(0.10, rel=0.02)


def test_normalised_images_are_refused() -> None:
    normalised = (bytes_of() / 255 - 0.5) / 0.25
    with pytest.raises(InvalidSpec, match="corrupt first, normalise afterwards"):
        once(Corruption(level=1), normalised)


# Everything together

EVERY_IMAGE = [
    Symmetry(), PadCrop(), Cutout(), RandAugment(), ShuffleChannels(), CutMix(), Mixup(),
    Corruption(level=1),
]  # fmt: skip
EVERY_SIGNAL = [
    *mix2(), Reverse(), Negate(), Offset(), Scaling(), ShuffleChannels(), Mixup(),
    Corruption(kind="blur", level=1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("augmentations", "batch"), [(EVERY_IMAGE, bytes_of()), (EVERY_SIGNAL, signals_of())]
)
def test_all_randomness_is_that_of_the_generator(augmentations: list[Any], batch: Any) -> None:
    kept, state = batch.clone(), torch.get_rng_state()
    one, other = Augmenter(augmentations, seed=5), Augmenter(augmentations, seed=5)
    first, saved = one(batch).values, one.state_dict()
    second = one(batch).values
    assert torch.equal(first, other(batch).values)
    assert not torch.equal(first, second)
    other.load_state_dict(saved)
    assert torch.equal(second, other(batch).values)
    assert torch.equal(batch, kept)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    ("augmentations", "batch"), [(EVERY_IMAGE, bytes_of()), (EVERY_SIGNAL, signals_of())]
)
def test_all_of_it_runs_on_a_gpu(augmentations: list[Any], batch: Any) -> None:
    augmented = Augmenter(augmentations, seed=5, device="cuda")(batch.cuda())
    assert augmented.values.is_cuda and augmented.values.shape == batch.shape
    assert bool(augmented.values.isfinite().all())


@pytest.mark.parametrize(
    ("augmentation", "batch", "message"),
    [
        (Symmetry(), signals_of(), r"Symmetry takes batches \(samples, channels, height, width\)"),
        (
            Shift(),
            bytes_of(),
            r"Shift takes batches \(samples, channels, T\), got \(8, ",
        ),
        (Mixup(), bytes_of().long(), "Mixup takes uint8 or floats, got torch.int64"),
        (Symmetry(symmetry="rot90"), bytes_of(h=5), "rot90 with a probability needs square"),
        (Corruption(level=5), signals_of(), "noise of a signal has levels 0..3, got 5"),
        (Corruption(kind="missing", level=1, fill=2), bytes_of(), "fill of an image must lie in"),
    ],
)
def test_batches_of_other_axes_are_refused(augmentation: Any, batch: Any, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        once(augmentation, batch)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Symmetry(symmetry="mirror"), "symmetry must be one of flip, .*, got 'mirror'"),
        (lambda: Symmetry(probability=1.5), r"probability must lie in 0..1, got 1.5"),
        (lambda: PadCrop(padding=-1), "padding must not be negative"),
        (lambda: RandAugment(operations=("invert",)), "no operation 'invert'; there are identity"),
        (lambda: RandAugment(magnitude=31), "magnitude must lie in 0..30"),
        (lambda: Mixup(alpha=0), "alpha must be positive"),
        (lambda: Shift(fill="mean"), "fill must be one of edge, zero, wrap"),
        (lambda: Removal(sensor=0), "sensor must be at least 1 channel"),
        (lambda: Scaling(limit=1.0), "limit must lie in 0..1, below 1"),
        (lambda: Corruption(kind="fog"), "kind must be one of noise, missing, blur"),
        (lambda: Corruption(level=1, amount=0.1), "give a level or an amount, not both"),
        (lambda: Corruption(kind="missing", level=4), r"level of missing must lie in 0..3"),
        (lambda: Corruption(kind="missing", amount=1.2), "is a share in 0..1"),
        (lambda: Corruption(kind="missing", fill=float("nan")), "fill must be a finite number"),
        (lambda: Augmenter([torch.flip], seed=0), "is no Augmentation"),
    ],
)
def test_parameters_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        make()


# What follows

NAMES = [f"{scan}/{c}/H0" for scan in ("rows", "columns") for c in ("red", "green", "blue")]


def store_spec(scan: str) -> StoreSpec:
    source = SourceSpec(kind="cifar10", sample="image", samples=8, channels=3, fingerprint="0" * 64)
    return StoreSpec(source=source, diagram=DiagramSpec(scan=scan))


def numbered(n: int, channels: int) -> Any:
    """Images whose pixels say their sample and channel."""
    numbers = 10 * torch.arange(n)[:, None] + torch.arange(channels)
    return numbers.float()[:, :, None, None].expand(n, channels, 2, 2).contiguous()


def test_images_follow_a_transposition_and_a_shuffle() -> None:
    spec, images = store_spec("both"), numbered(2, 6)
    exchange = (Symmetry(symmetry="transpose"), Drawn(changed=torch.tensor([True, False])))
    shuffle = (ShuffleChannels(), Drawn(order=torch.tensor([[2, 0, 1], [0, 1, 2]])))
    followed = follow_images(images, [exchange, shuffle], spec, NAMES)[:, :, 0, 0]
    assert followed.tolist() == [[5, 3, 4, 2, 0, 1], [10, 11, 12, 13, 14, 15]]


def test_turned_images_come_from_the_variant() -> None:
    images, variant = numbered(3, 3), numbered(3, 3) + 0.5
    steps = [(Symmetry(), Drawn(changed=torch.tensor([True, False, True])))]
    followed = follow_images(
        images, steps, store_spec("rows"), NAMES[:3], variants={"flip": variant}
    )
    assert followed[:, 0, 0, 0].tolist() == [0.5, 10.0, 20.5]


def test_mixed_images_and_targets_have_the_weights_of_the_inputs() -> None:
    mix = Mix(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([0.75, 1.0]))
    steps = [(Mixup(), Drawn(mix=mix))]
    followed = follow_images(numbered(2, 3), steps, store_spec("rows"), NAMES[:3])
    assert followed[:, 0, 0, 0].tolist() == [2.5, 10.0]
    targets = follow_targets(torch.tensor([2, 0]), 3, steps)
    assert targets.tolist() == [[0.25, 0, 0.75], [1, 0, 0]]
    with pytest.raises(InvalidSpec, match=r"labels lie in -1..2, expected 0..2; leave out"):
        follow_targets(torch.tensor([2, -1]), 3, steps)


def test_channels_that_were_not_delivered_are_asked_for() -> None:
    images, changed = numbered(2, 3), torch.tensor([True, False])
    steps = [(Symmetry(symmetry="transpose"), Drawn(changed=changed))]
    with pytest.raises(InvalidSpec, match="channel columns/red/H0 is needed"):
        follow_images(images, steps, store_spec("both"), NAMES[:3])
    steps = [(ShuffleChannels(), Drawn(order=torch.tensor([[1, 0, 2], [0, 1, 2]])))]
    with pytest.raises(InvalidSpec, match="deliver all channels to shuffle them"):
        follow_images(images[:, :2], steps, store_spec("rows"), NAMES[:2])


def test_points_move_as_the_signal_did() -> None:
    points = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    factor, offset = torch.tensor([2.0, 1.0]), torch.tensor([0.5, 1.0])
    assert move_points(points, factor).tolist() == [[2, 4], [3, 5]]
    moved = move_points(points, None, offset, scale=0.5)
    assert moved.tolist() == [[2, 3], [5, 7]]
