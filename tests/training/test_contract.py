"""What each augmentation is said to do to diagrams, proved by computing them again.

An `unchanged` or `permuted` must hold for every sample, real and random with ties; an `invalid`
must have a sample whose diagram differs, so that the table is neither too lax nor too strict.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")  # the pipeline computes the diagrams

from PIL import Image  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402

from pi_cache.errors import SampleError, StaleImages  # noqa: E402
from pi_cache.specs import (  # noqa: E402
    DiagramSpec,
    GramianSpec,
    ImageSpec,
    OriginSpec,
    SourceSpec,
    StoreSpec,
)
from pipeline.bottleneck import bottleneck  # noqa: E402
from pipeline.diagrams import compute_diagrams  # noqa: E402
from pipeline.fields import channel_names, make_fields  # noqa: E402
from pipeline.gramian.fields import gramian_fields  # noqa: E402
from pipeline.sources.arrays import from_arrays  # noqa: E402
from pipeline.sources.base import read_samples  # noqa: E402
from tests.shared import shared_data  # noqa: E402
from training.augment.augmenter import Augmenter  # noqa: E402
from training.augment.base import Augmentation, Drawn  # noqa: E402
from training.augment.catalogue import (  # noqa: E402
    GRAMIAN_SPECS,
    IMAGE_AUGMENTATIONS,
    IMAGE_SPECS,
    SIGNAL_AUGMENTATIONS,
    SIGNAL_SPECS,
    with_tables,
    word,
)
from training.augment.contract import check_contract, effect_of, store_effect  # noqa: E402
from training.augment.corruptions import Corruption  # noqa: E402
from training.augment.follow import follow_images, move_points  # noqa: E402
from training.augment.images import Cutout, PadCrop, ShuffleChannels, Symmetry  # noqa: E402
from training.augment.signals import (  # noqa: E402
    Offset,
    Scaling,
)

pytestmark = pytest.mark.torch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "augmentations.md"
ROUNDING = 1e-6
"""Of births and deaths; values are of the order of 1."""
DIFFERS = 1e-3
"""A bottleneck distance that no rounding explains."""

Diagrams = list[list[np.ndarray]]
"""By sample and channel of the store."""


def store_spec(diagram: DiagramSpec, sample: str, *, channels: int = 3, **more: Any) -> StoreSpec:
    source = SourceSpec(
        kind="array", sample=sample, samples=8, channels=channels, fingerprint="0" * 64
    )
    return StoreSpec(source=source, diagram=diagram, image=ImageSpec(), **more)


@dataclass(frozen=True)
class Data:
    """Samples as a pipeline reads them, and as a network does (channels second)."""

    sample: str
    values: np.ndarray

    @property
    def batch(self) -> Any:
        return torch.from_numpy(np.moveaxis(self.values, -1, 1).copy())

    def changed(self, batch: Any) -> Data:
        return Data(self.sample, np.moveaxis(batch.numpy(), 1, -1))

    def source(self) -> Any:
        return from_arrays(self.values, sample=self.sample)

    def diagrams(self, spec: StoreSpec) -> Diagrams:
        source = self.source()
        samples = read_samples(source)
        found = compute_diagrams(make_fields(samples, source, spec.diagram), spec.diagram)
        each = len(found) // len(self.values)
        return [[found[s * each + j] for j in range(each)] for s in range(len(self.values))]


@cache
def lossless_cifar() -> np.ndarray:
    """The first two exact CIFAR-10 training images (2, 32, 32, 3)."""
    with Image.open(shared_data("cifar10_lossless") / "cifar10_batch_0.png") as picture:
        return np.asarray(picture).reshape(1000, 32, 32, 3)[:2]


@cache
def sisfall() -> np.ndarray:
    """Two windows of the first accelerometer of a real recording (2, 200, 3), in g."""
    with tarfile.open(shared_data("sisfall") / "sisfall_SA01-SA10.tar.xz", "r|xz") as members:
        for member in members:
            if member.name.endswith("D01_SA01_R01.txt"):
                content = members.extractfile(member)
                assert content is not None
                lines = [content.readline().decode() for _ in range(400)]
                break
    counts = np.array([[float(v) for v in line.split(",")[:3]] for line in lines])
    return counts.reshape(2, 200, 3) * 32 / 2**13


def digits() -> np.ndarray:
    """Three handwritten digits (3, 8, 8, 3): 17 levels, so many ties; three views as channels."""
    images = load_digits().images[:9].reshape(3, 3, 8, 8)
    return np.moveaxis((images * 15).astype(np.uint8), 1, -1).copy()


def made_images(*, small: bool) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(7)
    # No pixel is 0: of a cloud, that point would have no angle.
    yield np.maximum(digits(), 1)
    yield rng.integers(1, 5, (4, 6, 9, 3)).astype(np.uint8)
    yield rng.uniform(0.1, 1, (3, 7, 7, 3))


def real_images(*, small: bool) -> Iterator[np.ndarray]:
    yield np.maximum(lossless_cifar()[:, ::4, ::4] if small else lossless_cifar(), 1)


def made_signals(*, small: bool) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(7)
    # Neither these values nor their means are whole: an embedded point at 0 would have no angle.
    yield rng.integers(-2, 3, (4, 59, 3)) + 0.5
    yield rng.normal([0.5, -1, 2], size=(4, 50, 3))


def real_signals(*, small: bool) -> Iterator[np.ndarray]:
    yield sisfall()[:, ::4] if small else sisfall()


DATA = {
    ("image", "made"): made_images,
    ("image", "real"): real_images,
    ("signal", "made"): made_signals,
    ("signal", "real"): real_signals,
}


CATALOGUE = {
    "image": (IMAGE_AUGMENTATIONS, IMAGE_SPECS),
    "signal": (SIGNAL_AUGMENTATIONS, SIGNAL_SPECS),
}


def distance(one: Diagrams, other: Diagrams) -> float:
    """The largest bottleneck distance of a channel of a sample."""
    return max(
        bottleneck(a, b)
        for mine, theirs in zip(one, other, strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )


def same_multisets(one: Diagrams, other: Diagrams) -> bool:
    return all(
        np.array_equal(a[np.lexsort(a.T)], b[np.lexsort(b.T)])
        for mine, theirs in zip(one, other, strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )


def followed(diagrams: Diagrams, steps: Any, spec: StoreSpec, data: Data) -> Diagrams:
    """Diagrams as `follow_images` moves them: each channel is a picture of its own number."""
    names = channel_names(data.source(), spec.diagram)
    numbers = torch.arange(len(names)).float()[None, :, None, None].repeat(len(diagrams), 1, 1, 1)
    moved = follow_images(numbers, steps, spec, names)[:, :, 0, 0].long().tolist()
    return [[found[j] for j in order] for found, order in zip(diagrams, moved, strict=True)]


@pytest.mark.parametrize("data", ["made", "real"])
@pytest.mark.parametrize(
    ("sample", "column"), [(sample, name) for sample, each in CATALOGUE.items() for name in each[1]]
)
def test_the_contract_is_true(sample: str, column: str, data: str) -> None:
    augmentations, specs = CATALOGUE[sample]
    spec = store_spec(specs[column], sample)
    arrays = DATA[sample, data](small=spec.diagram.filtration == "rips")
    every = [(each, each.diagrams(spec)) for each in (Data(sample, array) for array in arrays)]
    for name, augmentation in augmentations.items():
        effect = effect_of(augmentation, spec.diagram, sample)
        if effect.kind == "invalid":
            assert any(differ(augmentation, *pair, spec) for pair in every), name
        if effect.kind != "invalid" or effect.rendered:
            for each, before in every:
                augmented = Augmenter([augmentation], seed=1)(each.batch)
                after = each.changed(augmented.values).diagrams(spec)
                claimed = claim(before, augmented.steps, spec, each)
                assert distance(claimed, after) < ROUNDING, name
                assert not effect.exact or effect.rendered or same_multisets(claimed, after), name


def differ(augmentation: Augmentation, data: Data, before: Diagrams, spec: StoreSpec) -> bool:
    """Whether some diagram of the augmented samples is another one, by more than rounding."""
    augmented = Augmenter([augmentation], seed=1)(data.batch)
    try:
        after = data.changed(augmented.values).diagrams(spec)
    except SampleError as error:  # a point that was set to 0 has no angle, so there is no diagram
        assert spec.diagram.metric == "cosine" and "no cosine distance" in str(error)
        return True
    return any(
        bottleneck(a, b) > DIFFERS
        for mine, theirs in zip(before, after, strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )


def claim(before: Diagrams, steps: Any, spec: StoreSpec, data: Data) -> Diagrams:
    """What the diagrams are said to be: in other places, or with their points moved."""
    [(_, drawn)] = steps
    if drawn.factor is not None or drawn.offset is not None:
        unmoved = effect_of(steps[0][0], spec.diagram, data.sample).kind != "invalid"
        return before if unmoved else moved(before, drawn, spec)
    return followed(before, steps, spec, data)


def moved(diagrams: Diagrams, drawn: Drawn, spec: StoreSpec) -> Diagrams:
    """Diagrams whose points are moved as the signal was; dimensions share its channel."""
    dimensions = len(spec.diagram.homology)
    result = []
    for i, found in enumerate(diagrams):
        rows = []
        for j, points in enumerate(found):
            factor, offset = (
                None if value is None else value[i, j // dimensions].expand(len(points))
                for value in (drawn.factor, drawn.offset)
            )
            points = torch.from_numpy(points.copy())
            rows.append(move_points(points, factor, offset, scale=spec.diagram.scale).numpy())
        result.append(rows)
    return result


@pytest.mark.parametrize("column", GRAMIAN_SPECS)
def test_the_contract_of_gramian_fields_is_true(column: str) -> None:
    gramian = GRAMIAN_SPECS[column]
    spec = gramian_store(gramian)
    names = [f"{channel}/{gramian.name}" for channel in ("x", "y", "z")]
    for name, augmentation in SIGNAL_AUGMENTATIONS.items():
        effect, furthest = store_effect(augmentation, spec), 0.0
        for array in made_signals(small=True):
            batch = Data("signal", array).batch
            augmented = Augmenter([augmentation], seed=1)(batch)
            before, after = fields_of(batch, gramian), fields_of(augmented.values, gramian)
            claimed = follow_images(before, augmented.steps, spec, names)
            furthest = max(furthest, float((claimed - after).abs().max()))
        assert furthest > DIFFERS if effect.kind == "invalid" else furthest < ROUNDING, name


def gramian_store(gramian: GramianSpec) -> StoreSpec:
    source = store_spec(DiagramSpec(), "signal").source
    return StoreSpec(source=source, gramian=gramian)


def fields_of(batch: Any, gramian: GramianSpec) -> Any:
    return torch.from_numpy(gramian_fields(batch.numpy(), gramian.replace(dtype="float64")))


# What a loader calls

ROWS = DiagramSpec(filtration="sublevel", scan="rows")
CUBICAL = DiagramSpec(filtration="cubical")


def test_a_flip_of_row_scans_is_refused_with_the_remedy() -> None:
    with pytest.raises(StaleImages, match="each row is reversed but not their order") as refusal:
        check_contract([Symmetry()], store_spec(ROWS, "image"))
    assert "build its variant with `pipeline build-pis --variants flip` and load it" in str(
        refusal.value
    )
    assert "allow_stale=True, which is written in the record" in str(refusal.value)


def test_every_refusal_is_told_together() -> None:
    with pytest.raises(StaleImages, match=r"Symmetry flip: .*; Cutout: .*; Corruption noise: "):
        check_contract(
            [Symmetry(), Cutout(), Corruption(kind="noise", level=1)], store_spec(ROWS, "image")
        )


def test_the_record_says_what_is_stale() -> None:
    augmentations = [Symmetry(), PadCrop(), ShuffleChannels()]
    record = check_contract(augmentations, store_spec(CUBICAL, "image"), allow_stale=True)
    assert json.loads(json.dumps(record)) == record
    assert record["allow_stale"] is True
    assert record["stale"] == ["PadCrop"]
    assert [row["images"] for row in record["augmentations"]] == [
        "as stored",
        "stale",
        "channels change places",
    ]
    assert record["augmentations"][0]["augmentation"] == {
        "name": "Symmetry",
        "symmetry": "flip",
        "probability": 0.5,
    }


def test_what_is_valid_needs_no_leave() -> None:
    record = check_contract([Symmetry(), Corruption()], store_spec(CUBICAL, "image"))
    assert record["stale"] == [] and record["allow_stale"] is False


def test_a_variant_at_hand_is_used_when_it_comes_first() -> None:
    spec = store_spec(ROWS, "image")
    record = check_contract([Symmetry(), ShuffleChannels()], spec, variants=["flip"])
    assert record["augmentations"][0]["images"] == "from the variant store"
    with pytest.raises(StaleImages, match="and put it first: a variant is of samples as stored"):
        check_contract([ShuffleChannels(), Symmetry()], spec, variants=["flip"])
    with pytest.raises(StaleImages, match="--variants flip-vertical"):
        check_contract([Symmetry(symmetry="flip-vertical")], spec, variants=["flip"])


def test_rendering_mends_what_moves_points() -> None:
    spec = store_spec(DiagramSpec(), "signal")
    augmentations = [Scaling(), Offset()]
    with pytest.raises(StaleImages, match="render the images from the stored diagrams"):
        check_contract(augmentations, spec)
    record = check_contract(augmentations, spec, rendered=True)
    assert {row["images"] for row in record["augmentations"]} == {"rendered from moved points"}


def test_pairs_that_were_dropped_cannot_be_scaled() -> None:
    spec = store_spec(DiagramSpec(min_persistence=0.1), "signal")
    with pytest.raises(StaleImages, match="Scaling: births and deaths are multiplied"):
        check_contract([Scaling()], spec, rendered=True)


def test_images_of_another_kind_of_sample_do_not_follow() -> None:
    with pytest.raises(StaleImages, match="changes images, and the images are made of another"):
        check_contract([Symmetry()], store_spec(DiagramSpec(), "signal"))
    record = check_contract([Symmetry(probability=0)], store_spec(DiagramSpec(), "signal"))
    assert record["stale"] == []


@pytest.mark.parametrize(
    ("given", "unsaid"),
    [((), "filtration"), (("diagram.filtration",), "scan and centre")],
)
def test_of_imported_images_what_was_not_stated_is_not_assumed(
    given: tuple[str, ...], unsaid: str
) -> None:
    origin = OriginSpec(format="png-tree", given=given)
    spec = store_spec(ROWS, "image", origin=origin)
    with pytest.raises(StaleImages, match=f"nobody stated their {unsaid}"):
        check_contract([ShuffleChannels()], spec)


def test_the_page_shows_these_tables() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("<!-- table: ") == 3
    assert with_tables(page) == page, "write it again with training.augment.catalogue.with_tables"


def test_filtrations_that_differ_by_sign_or_construction_go_alike() -> None:
    for name in IMAGE_AUGMENTATIONS:
        words = {spec: word(effect_of(IMAGE_AUGMENTATIONS[name], IMAGE_SPECS[spec], "image"))
                 for spec in IMAGE_SPECS}  # fmt: skip
        for scan in ("rows", "columns", "both"):
            assert words[f"sublevel of {scan}"] == words[f"superlevel of {scan}"]
        assert words["cubical, cells"] == words["cubical, vertices"]
