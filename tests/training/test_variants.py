"""Variant stores, from the command that builds them to the batch that takes rows from both."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")  # the pipeline computes the diagrams

from click.testing import CliRunner  # noqa: E402

import pi_cache.cli  # noqa: E402
from pi_cache.errors import InvalidSpec, MismatchedStores, StaleImages, StoreNotFound  # noqa: E402
from pi_cache.reader import Store, open_store  # noqa: E402
from pi_cache.specs import OriginSpec, Status  # noqa: E402
from pipeline.cli import cli  # noqa: E402
from pipeline.sources.variants import IMAGE_VARIANTS, SIGNAL_VARIANTS  # noqa: E402
from tests.pi_cache.made import make_spec  # noqa: E402
from training.augment.augmenter import Augmenter  # noqa: E402
from training.augment.batches import AugmentedBatches  # noqa: E402
from training.augment.contract import check_contract  # noqa: E402
from training.augment.follow import follow_images  # noqa: E402
from training.augment.images import SYMMETRIES, ShuffleChannels, Symmetry  # noqa: E402
from training.augment.mixing import CutMix, Mixup  # noqa: E402
from training.augment.signals import Negate, Reverse  # noqa: E402
from training.augment.variants import open_variant, variant_spec  # noqa: E402
from training.data import PersistenceImageDataset  # noqa: E402
from training.joined import JoinedDataset  # noqa: E402
from training.loader import Loader  # noqa: E402

pytestmark = pytest.mark.torch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "augmentations.md"
PHOTOS = np.random.default_rng(11).integers(0, 256, (12, 9, 9, 3)).astype(np.uint8)


def run(*words: str) -> Any:
    result = CliRunner().invoke(cli, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of random pixels, their store and its flipped variant."""
    folder = tmp_path_factory.mktemp("variants")
    np.save(folder / "photos.npy", PHOTOS)
    words = ["--sample", "image", "--pixels", "12", "--dtype", "float32"]
    words += ["--cache", str(folder / "cache"), "--json"]
    built = run("build-pis", f"array:{folder / 'photos.npy'}", *words, "--variants", "flip")
    assert list(built["variants"]) == ["flip"]
    assert built["variants"]["flip"]["key"] != built["key"]
    (folder / "key").write_text(built["key"])
    return folder


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    return open_store((folder / "key").read_text(), root=folder / "cache")


def built_images(array: np.ndarray, folder: Path, root: Path) -> Any:
    """The images (n, C, P, B) of these samples, computed from the start."""
    np.save(folder / "augmented.npy", array)
    words = ["--sample", "image", "--pixels", "12", "--dtype", "float32"]
    built = run(
        "build-pis", f"array:{folder / 'augmented.npy'}", *words, "--cache", str(root), "--json"
    )
    return PersistenceImageDataset(built["path"])[:][0]


def test_a_batch_of_both_stores_is_that_of_the_augmented_inputs(
    folder: Path, store: Store, tmp_path: Path
) -> None:
    plain, turned = (PersistenceImageDataset(s)[:][0] for s in (store, open_variant(store, "flip")))
    augmenter = Augmenter([Symmetry(), ShuffleChannels()], seed=3)
    record = check_contract(augmenter.augmentations, store.spec, variants=["flip"])
    assert record["stale"] == []
    augmented = augmenter(torch.from_numpy(np.moveaxis(PHOTOS, -1, 1).copy()))
    followed = follow_images(
        plain, augmented.steps, store.spec, store.channels, variants={"flip": turned}
    )
    expected = built_images(np.moveaxis(augmented.values.numpy(), 1, -1), tmp_path, tmp_path / "c")
    assert not torch.allclose(plain, expected, atol=1e-2)
    torch.testing.assert_close(followed, expected, atol=1e-6, rtol=0)


def test_the_symmetries_of_both_sides_are_the_same() -> None:
    assert list(SYMMETRIES) == list(IMAGE_VARIANTS)
    batch = torch.from_numpy(np.moveaxis(PHOTOS, -1, 1).copy())
    for name, transform in IMAGE_VARIANTS.items():
        ours = np.moveaxis(SYMMETRIES[name](batch).numpy(), 1, -1)
        np.testing.assert_array_equal(ours, np.stack([transform(photo) for photo in PHOTOS]))
    generator = torch.Generator().manual_seed(0)
    signals = torch.randn((3, 2, 20), generator=generator)
    for augmentation, name in (
        (Reverse(probability=1), "reverse"),
        (Negate(probability=1), "negate"),
    ):
        ours = augmentation(signals, generator)[0].numpy()
        theirs = [SIGNAL_VARIANTS[name](signal.T).T for signal in signals.numpy()]
        np.testing.assert_array_equal(ours, np.stack(theirs))


def test_a_variant_that_is_not_there_says_how_to_build_it(folder: Path, store: Store) -> None:
    with pytest.raises(StoreNotFound, match="has no variant 'rot90' beside it") as refusal:
        open_variant(store, "rot90")
    command = str(refusal.value).split("`")[1].split()
    assert command[:2] == ["pipeline", "build-pis"]
    built = run(*command[1:], "--pixels", "12", "--json")
    assert built["found"] and not built["variants"]["rot90"]["found"]
    assert open_variant(store, "rot90").key == built["variants"]["rot90"]["key"]


def test_a_lost_shard_of_a_variant_is_computed_again(folder: Path, store: Store) -> None:
    variant = open_variant(store, "flip")
    expected = PersistenceImageDataset(variant)[:][0]
    for name in ("images", "points", "inputs"):
        [shard] = (variant.path / "data.zarr" / name).glob("c.*")
        shard.chmod(0o644)
        shard.unlink()
    words = ["repair", variant.key, "--cache", str(folder / "cache")]
    assert CliRunner().invoke(pi_cache.cli.cli, words, catch_exceptions=False).exit_code == 0
    assert torch.equal(PersistenceImageDataset(open_variant(store, "flip"))[:][0], expected)


def test_samples_that_only_the_plain_store_has_are_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = np.zeros(len(store), np.uint8)
    variant = open_variant(store, "flip")
    status[4] = Status.TIMEOUT
    monkeypatch.setattr(type(variant), "status", property(
        lambda self: status if self.key == variant.key else np.zeros(len(store), np.uint8)
    ))  # fmt: skip
    with pytest.raises(MismatchedStores, match=r"1 samples are usable .* \(000004 TIMEOUT\)"):
        open_variant(store, "flip")


def test_imported_images_have_no_variants() -> None:
    spec = make_spec().replace(origin=OriginSpec(format="png-tree"))
    with pytest.raises(InvalidSpec, match="imported images have no variants"):
        variant_spec(spec, "flip")


def test_a_variant_has_no_variants(store: Store) -> None:
    """The command that would build one is refused, so it is not named."""
    with pytest.raises(InvalidSpec, match="the store is a variant already, flip; open that of"):
        open_variant(open_variant(store, "flip"), "flip")


def test_the_code_of_the_page_runs(tmp_path: Path) -> None:
    """What the page says of itself: the mix is stale, and images follow the flip."""
    words = ["--limit", "20", "--variants", "flip", "--cache", str(tmp_path), "--json"]
    built = run("build-pis", "digits", *words)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec("\n".join(blocks).replace('"3f2a9c"', repr(built["path"])), names)
    assert names["record"]["stale"] == ["Mixup"]
    assert names["images"].shape == (20, 1, 50, 50)
    assert torch.allclose(names["targets"].sum(dim=1), torch.ones(20))
    assert names["augment"].record["rows"] == names["record"]
    assert set(names["batch"]) == {"inputs", "rows", "labels", "index", "targets"}
    assert names["batch"]["inputs"].shape[1:] == (1, 8, 8)
    [(_, flip), (_, mixup)] = names["augmented"].steps
    whole = (mixup.mix.weight == 1) & flip.changed
    assert int(whole.sum()) > 3
    assert torch.equal(names["images"][whole], names["turned"]["images"][whole])


def test_fields_of_a_variant_are_those_of_the_changed_signals(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(2).normal(size=(6, 40, 2)))
    words = [f"array:{tmp_path / 'x.npy'}", "--sample", "signal", "--size", "20"]
    words += ["--cache", str(tmp_path), "--json"]
    plain = open_store(run("build-gafs", *words)["path"])
    with pytest.raises(StoreNotFound, match=r"pipeline build-gafs .* variant=reverse"):
        open_variant(plain, "reverse")
    run("build-gafs", *words, "--source-option", "variant=reverse")
    fields, turned = (
        s.read("images", slice(None)) for s in (plain, open_variant(plain, "reverse"))
    )
    np.testing.assert_allclose(turned, fields[:, :, ::-1, ::-1], atol=1e-3)  # float16


# As a transform of batches


def test_batches_of_a_loader_are_those_of_the_augmented_inputs(
    folder: Path, store: Store, tmp_path: Path
) -> None:
    stores = {"rows": store, "flipped": open_variant(store, "flip")}
    augment = AugmentedBatches(Augmenter([Symmetry()], seed=2), stores)
    dataset = JoinedDataset(stores, names=["rows", "flipped", "inputs", "index"], dtype="stored")
    [batch] = Loader(dataset, len(store), seed=1, transform=augment)
    assert set(batch) == {"rows", "inputs", "index"}
    plain = torch.from_numpy(np.moveaxis(PHOTOS, -1, 1).copy())[batch["index"]]
    turned = (batch["inputs"] != plain).flatten(1).any(dim=1)
    assert 0 < int(turned.sum()) < len(store)
    expected = built_images(np.moveaxis(batch["inputs"].numpy(), 1, -1), tmp_path, tmp_path / "c")
    torch.testing.assert_close(batch["rows"], expected, atol=1e-6, rtol=0)


def test_inputs_that_are_turned_already_are_refused(store: Store) -> None:
    """Turned once more they would be the plain ones, beside the images of the variant."""
    turned_first = {"flipped": open_variant(store, "flip"), "rows": store}
    with pytest.raises(InvalidSpec, match="the first store with inputs, flipped, whose samples"):
        AugmentedBatches(Augmenter([Symmetry()], seed=0), turned_first)
    AugmentedBatches(Augmenter([Symmetry()], seed=0), turned_first, inputs="photographs")


def test_bytes_that_do_not_count_to_255_are_refused(tmp_path: Path) -> None:
    """Those of digits count to 16, and mixed they would be a sixteenth of what they are."""
    words = ["--limit", "8", "--pixels", "8", "--cache", str(tmp_path), "--json"]
    stores = {"rows": open_store(run("build-pis", "digits", *words)["path"])}
    augment = AugmentedBatches(
        Augmenter([Mixup(kept=1.0)], seed=0), stores, classes=10, allow_stale=True
    )
    with pytest.raises(InvalidSpec, match="would be divided by 255, and are values times 16"):
        augment(JoinedDataset(stores, dtype="stored").batch(range(8)))
    delivered = JoinedDataset(stores).batch(range(8))
    mixed = augment(delivered)["inputs"]
    assert torch.equal(mixed, delivered["inputs"].movedim(-1, 1)) and mixed.max() == 1


def test_a_pair_that_does_not_follow_is_refused_before_a_batch_is_read(store: Store) -> None:
    augmenter = Augmenter([Symmetry(), CutMix()], seed=0)
    with pytest.raises(StaleImages, match=r"Symmetry flip: .*--variants flip` and load it; CutMix"):
        AugmentedBatches(augmenter, {"rows": store}, classes=3)
    with pytest.raises(InvalidSpec, match="CutMix mixes labels; say how many classes"):
        AugmentedBatches(augmenter, {"rows": store}, allow_stale=True)
    with pytest.raises(InvalidSpec, match="flipped: a variant of none of the other stores"):
        AugmentedBatches(augmenter, {"flipped": open_variant(store, "flip")})
    augment = AugmentedBatches(augmenter, {"rows": store}, classes=3, allow_stale=True)
    assert augment.record["rows"]["stale"] == ["Symmetry", "CutMix"]
    with pytest.raises(InvalidSpec, match="the batch has no 'inputs', only rows"):
        augment({"rows": torch.zeros(2, 3, 12, 12)})


def test_images_that_nobody_named_are_refused(store: Store) -> None:
    """They would stay as they are beside inputs that are turned."""
    turned = open_variant(store, "flip")
    augment = AugmentedBatches(Augmenter([Symmetry()], seed=0), {"rows": store, "flipped": turned})
    for stores, wrong in (
        ({"rows": store, "flipped": turned, "more": store}, "more"),
        ({"rows": turned, "flipped": turned}, "rows"),
        ({"rows": store}, "flipped"),
    ):
        with pytest.raises(StaleImages, match=f"the images {wrong} are not of the same stores"):
            Loader(JoinedDataset(stores), 4, transform=augment)
