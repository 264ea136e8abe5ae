"""Batches drawn from the diagrams of a store: the stored images, and those of any other spec."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi_cache.errors import InvalidSpec  # noqa: E402
from pi_cache.reader import Store, open_store  # noqa: E402
from pi_cache.specs import DiagramSpec, ImageSpec  # noqa: E402
from pipeline import images  # noqa: E402
from pipeline.build import build  # noqa: E402
from pipeline.sources.arrays import from_arrays  # noqa: E402
from training import coded, rendered  # noqa: E402
from training.coded import code_points  # noqa: E402
from training.data import PersistenceImageDataset  # noqa: E402
from training.holding.choose import hold  # noqa: E402
from training.holding.drawn import Drawn  # noqa: E402
from training.holding.resident import Resident  # noqa: E402
from training.holding.streaming import Streaming  # noqa: E402
from training.joined import JoinedDataset  # noqa: E402
from training.loader import Loader  # noqa: E402
from training.parts import total_bytes  # noqa: E402
from training.rendered import RenderedImages  # noqa: E402

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
SAMPLES = 30
ORDER = torch.tensor([7, 0, 7, 29, 12])
IMAGE = ImageSpec(pixels=20, dtype="float32")


def make(root: Path, image: ImageSpec = IMAGE) -> Store:
    """A store of small 8-bit pictures of three channels."""
    pixels = np.random.default_rng(3).integers(0, 256, (SAMPLES, 6, 7, 3)).astype(np.uint8)
    source = from_arrays(pixels, sample="image", labels=np.arange(SAMPLES) % 4)
    return open_store(build(source, DiagramSpec(), image, root=root).path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make(tmp_path_factory.mktemp("그림"))


def test_a_batch_is_the_stored_images(store: Store) -> None:
    holder = RenderedImages(store, range(SAMPLES))
    batch = holder.batch(ORDER)
    assert len(holder) == SAMPLES
    assert batch["images"].dtype == torch.float32 and batch["images"].shape == (5, 3, 20, 20)
    expected = store.read("images", ORDER.numpy())
    assert np.abs(batch["images"].numpy() - expected).max() <= 1e-6
    assert batch["index"].tolist() == ORDER.tolist()
    assert batch["labels"].tolist() == store.labels[ORDER.numpy()].tolist()


def test_positions_count_among_the_chosen_samples(store: Store) -> None:
    chosen = [21, 4, 28, 0, 15]
    holder = RenderedImages(store, chosen, channels=[2, 0])
    batch = holder.batch(torch.tensor([4, 1, 0]))
    assert batch["index"].tolist() == [15, 4, 21]
    expected = store.read("images", [15, 4, 21])[:, [2, 0]]
    assert np.abs(batch["images"].numpy() - expected).max() <= 1e-6


def test_samples_and_channels_are_named_as_everywhere(store: Store) -> None:
    mask = np.zeros(SAMPLES, bool)
    mask[[3, 8]] = True
    for samples in (mask, [3, 8], store.ids[[3, 8]].tolist()):
        holder = RenderedImages(store, samples, channels=[store.channels[1]])
        batch = holder.batch(torch.tensor([1, 0]))
        assert len(holder) == 2 and batch["index"].tolist() == [8, 3]
        expected = store.read("images", [8, 3])[:, [1]]
        assert np.abs(batch["images"].numpy() - expected).max() <= 1e-6
    for wrong in ([-1], [SAMPLES], [0.5], ["nobody"], mask[1:], []):
        with pytest.raises(InvalidSpec, match="samples"):
            RenderedImages(store, wrong)
    with pytest.raises(InvalidSpec, match="channel 3 is not in this store"):
        RenderedImages(store, [0], channels=[3])


def test_a_sample_that_is_not_ok_is_no_black_image(tmp_path: Path) -> None:
    pixels = np.random.default_rng(5).random((4, 6, 7, 1))
    pixels[2, 1, 1] = np.nan
    source = from_arrays(pixels, sample="image")
    store = open_store(build(source, DiagramSpec(), IMAGE, root=tmp_path).path)
    with pytest.raises(InvalidSpec, match=r"must be OK: '000002' is NAN; leave out the 1"):
        RenderedImages(store, range(4))
    assert len(RenderedImages(store, store.status == 0)) == 3


def test_another_spec_needs_no_other_store(store: Store) -> None:
    other = ImageSpec(pixels=9, sigma=0.11, weight="one", row_order="descending")
    holder = RenderedImages(store, range(SAMPLES), image=other, dtype=torch.float64)
    points, offsets = store.diagrams(ORDER.numpy())
    flat = np.append(offsets[:, :-1].ravel(), offsets[-1, -1])
    expected = images.render(points, flat, other.replace(dtype="float64")).reshape(5, 3, 9, 9)
    assert np.allclose(holder.batch(ORDER)["images"].numpy(), expected, rtol=0, atol=1e-12)

    holder.sigma = 0.05
    expected = images.render(points, flat, other.replace(dtype="float64", sigma=0.05))
    assert np.allclose(holder.batch(ORDER)["images"].flatten(0, 1).numpy(), expected, atol=1e-12)


def test_sigma_is_learned(store: Store) -> None:
    holder = RenderedImages(store, range(SAMPLES), image=IMAGE.replace(sigma=0.1))
    target = RenderedImages(store, range(SAMPLES)).batch(ORDER)["images"]
    start = holder.sigma
    holder.sigma = sigma = torch.tensor(0.1, requires_grad=True)
    optimiser = torch.optim.Adam([sigma], lr=0.004)
    for _ in range(12):
        optimiser.zero_grad()
        (holder.batch(ORDER)["images"] - target).square().mean().backward()
        optimiser.step()
    assert IMAGE.sigma < sigma.item() < start - 0.02


def test_dataset_maximum_is_that_of_the_store_or_drawn(tmp_path: Path) -> None:
    spec = IMAGE.replace(normalise="dataset-max")
    store = make(tmp_path, spec)
    own = RenderedImages(store, range(SAMPLES)).batch(ORDER)["images"].numpy()
    assert np.abs(own - store.read("images", ORDER.numpy())).max() <= 1e-6
    wider = RenderedImages(store, range(SAMPLES), image=spec.replace(sigma=0.2))
    every = wider.batch(torch.arange(SAMPLES))["images"]
    assert every.max().item() == pytest.approx(1, abs=1e-6)
    given = RenderedImages(store, range(SAMPLES), dataset_max=1e9).batch(ORDER)["images"]
    assert given.max() < 1e-6


def test_points_are_augmented_before_they_are_drawn(store: Store) -> None:
    seen = []

    def only_first(points: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        seen.append((points.shape, offsets.shape, int(offsets[-1, -1])))
        kept = torch.zeros(len(points), 1, dtype=torch.bool)
        kept[offsets[:, :-1].ravel()] = True
        return torch.where(kept, points, points[:, :1])  # no persistence, so not drawn

    batch = RenderedImages(store, range(SAMPLES), augment=only_first).batch(ORDER)
    points, offsets = store.diagrams(ORDER.numpy())
    assert seen == [((len(points), 2), (5, 4), len(points))]
    first = points[offsets[:, :-1].ravel()]
    expected = images.render(first, np.arange(16), IMAGE).reshape(5, 3, 20, 20)
    assert np.abs(batch["images"].numpy() - expected).max() <= 1e-6

    fewer = RenderedImages(store, range(SAMPLES), augment=lambda points, offsets: points[1:])
    with pytest.raises(InvalidSpec, match="must give as many points as it gets"):
        fewer.batch(ORDER)


def test_it_says_what_it_holds_and_lets_go(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered, "BLOCK", 7)  # several blocks
    holder = RenderedImages(store, range(SAMPLES))
    assert "the diagrams of 30 samples take" in holder.why
    assert "codes of 1 B for" in holder.why and "would take 144.0 kB" in holder.why
    expected = store.read("images", ORDER.numpy())
    assert np.abs(holder.batch(ORDER)["images"].numpy() - expected).max() <= 1e-6
    holder.close()
    assert len(holder) == 0


# --- Codes ---------------------------------------------------------------------------------------


def blocks(values: np.ndarray, count: int) -> list[np.ndarray]:
    return np.array_split(values.reshape(-1, 2), count)


@pytest.mark.parametrize(
    ("distinct", "form"),
    [(200, "codes of 1 B"), (256, "codes of 1 B"), (257, "codes of 2 B"), (60_000, "codes of 2 B")],
)
def test_codes_are_exact(distinct: int, form: str) -> None:
    random = np.random.default_rng(distinct)
    numbers = np.append(random.random(distinct - 1) / 3, np.inf)
    deaths = np.append(numbers, random.choice(numbers, 100_000 - distinct))
    values = np.column_stack([random.random(300)[np.arange(100_000) % 250], deaths])
    points = code_points(blocks(values, 9), CPU)
    assert points.form.startswith(form)
    found = points.take(torch.arange(100_000).flip(0)).numpy()
    assert found.dtype == np.float64 and np.array_equal(found[::-1], values)


def test_what_has_too_many_values_is_held_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coded, "MOST", 120)
    values = np.concatenate([np.repeat(0.1, 300), np.random.default_rng(0).random(700)])
    points = code_points(blocks(values, 10), CPU)
    assert points.form == "float64" and points.bytes == 8000, "coded first, then no more"
    assert np.array_equal(points.take(torch.arange(500)).numpy().ravel(), values)
    single = values.astype(np.float32).astype(float)
    points = code_points(blocks(single, 10), CPU)
    assert points.form == "float32" and points.bytes == 4000
    assert np.array_equal(points.take(torch.arange(500)).numpy().ravel(), single)


def test_numbers_beyond_float32_are_held_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coded, "MOST", 120)
    values = np.random.default_rng(0).random((200, 2)) * 1e300
    points = code_points([values], CPU)
    assert points.form == "float64"
    assert np.array_equal(points.take(torch.arange(200)).numpy(), values)


def test_no_points_at_all() -> None:
    points = code_points([], CPU)
    assert points.take(torch.empty(0, dtype=torch.int64)).shape == (0, 2)


# --- In a job ------------------------------------------------------------------------------------


def test_a_loader_takes_it_as_a_holder(store: Store) -> None:
    loader = Loader(RenderedImages(store, range(SAMPLES)), 8, seed=3)
    batches = list(loader)
    index = torch.cat([batch["index"] for batch in batches])
    assert sorted(index.tolist()) == list(range(SAMPLES))
    expected = store.read("images", index.numpy())
    found = torch.cat([batch["images"] for batch in batches]).numpy()
    assert np.abs(found - expected).max() <= 1e-6
    assert "the diagrams of 30 samples" in loader.why


def test_the_code_of_the_documents_runs(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "rendering.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    code = "\n".join(blocks).replace("3f2a9c", str(store.path))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["sigma"].grad is not None and names["images"].shape == (8, 3, 20, 20)
    assert (tmp_path / "run" / "statistics.json").exists()


def test_a_loader_draws_what_a_dataset_would_read(store: Store) -> None:
    dataset = PersistenceImageDataset(store, channels=[2, 0], names=["images", "inputs", "index"])
    loader = Loader(dataset, 7, seed=1, how="rendered")
    assert loader.why.startswith("images rendered on cpu: the diagrams of 30 samples take")
    seen = []
    for batch in loader:
        stored = dataset.batch(batch["index"])
        assert torch.allclose(batch["images"], stored["images"], rtol=0, atol=1e-6)
        assert torch.equal(batch["inputs"], stored["inputs"])
        seen += batch["index"].tolist()
    assert sorted(seen) == list(range(SAMPLES))
    half = next(iter(Loader(dataset, 7, how="rendered", dtype="float16")))
    assert half["images"].dtype == torch.float16
    with pytest.raises(InvalidSpec, match="rendered: no images here have diagrams"):
        Loader(PersistenceImageDataset(store, names=["inputs"]), how="rendered")


def test_sigma_is_set_and_learned_through_a_loader(store: Store) -> None:
    dataset = PersistenceImageDataset(store, names=["images", "index"])
    loader = Loader(dataset, SAMPLES, how="rendered", shuffle=False)
    held = loader.holder
    assert isinstance(held, Drawn)
    held.images["images"].sigma = 0.11
    other = RenderedImages(store, range(SAMPLES), image=IMAGE.replace(sigma=0.11))
    (batch,) = list(loader)
    assert torch.equal(batch["images"], other.batch(torch.arange(SAMPLES))["images"])

    def power(sigma: Any) -> torch.Tensor:
        held.images["images"].sigma = sigma
        (batch,) = list(loader)
        return batch["images"].square().sum()

    sigma = torch.tensor(0.11, requires_grad=True)
    power(sigma).backward()
    slope = (power(0.1101) - power(0.1099)).item() / 0.0002
    assert sigma.grad is not None and sigma.grad.item() == pytest.approx(slope, rel=0.01)


def test_two_stores_are_drawn_together(store: Store, tmp_path: Path) -> None:
    other = make(tmp_path, IMAGE.replace(pixels=9, sigma=0.09))
    joined = JoinedDataset({"rows": store, "small": other})
    loader = Loader(joined, 8, seed=2, how="rendered")
    assert loader.why.count("rendered on cpu") == 2
    seen = []
    for batch in loader:
        stored = joined.batch(batch["index"])
        assert batch["small"].shape[2:] == (9, 9)
        for name in ("rows", "small"):
            assert torch.allclose(batch[name], stored[name], rtol=0, atol=1e-6)
        assert torch.equal(batch["labels"], stored["labels"])
        seen += batch["index"].tolist()
    assert sorted(seen) == list(range(SAMPLES))


def test_images_beside_that_are_not_drawn(store: Store, tmp_path: Path) -> None:
    """Scaled by the maximum of their store, and stored as bytes: each as its store has it."""
    maximum = make(tmp_path / "a", IMAGE.replace(normalise="dataset-max"))
    coarse = make(tmp_path / "b", IMAGE.replace(normalise="dataset-max", dtype="uint8"))
    joined = JoinedDataset({"maximum": maximum, "coarse": coarse})
    (batch,) = list(Loader(joined, SAMPLES, how="rendered", shuffle=False))
    stored = joined[:]
    assert torch.allclose(batch["maximum"], stored["maximum"], rtol=0, atol=1e-6)
    assert batch["coarse"].dtype == torch.float32, "drawn, and not rounded to bytes"
    assert torch.allclose(batch["coarse"], stored["coarse"], rtol=0, atol=0.5 / 255 + 1e-6)
    assert not torch.equal(batch["coarse"], stored["coarse"])
    half = next(iter(Loader(joined, 5, how="rendered", dtype="float16")))
    assert half["coarse"].dtype == half["maximum"].dtype == torch.float16


def test_what_is_not_drawn_is_weighed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs are resident where memory holds them beside the diagrams, and else read from disk."""
    monkeypatch.setattr("training.holding.streaming.SMALL_ROW", 0)
    dataset = PersistenceImageDataset(store, names=["images", "inputs", "labels", "index"])
    inputs = PersistenceImageDataset(store, names=["inputs"])
    diagrams = RenderedImages(store, range(SAMPLES)).bytes
    room = diagrams + 2 * total_bytes(inputs)
    whole = hold(dataset, "rendered", memory=room)
    little = hold(dataset, "rendered", memory=diagrams + total_bytes(inputs), batch_size=4)
    none = hold(dataset, "rendered", memory=0, batch_size=4)
    assert isinstance(whole, Drawn) and isinstance(whole.rest, Resident)
    assert "; inputs resident on cpu, decoded once: " in whole.why
    for tight in (little, none):
        assert isinstance(tight, Drawn) and isinstance(tight.rest, Streaming)
        assert "; inputs streaming, " in tight.why
        assert tight.blocks is tight.rest.blocks is not None
        batches = list(ORDER.split(2))
        for streamed, where in zip(tight.stream(batches), batches, strict=True):
            expected = whole.batch(where)
            assert streamed.keys() == expected.keys()
            for name, values in streamed.items():
                assert torch.equal(values, expected[name])
                assert torch.equal(tight.batch(where)[name], values)
    for held in (whole, little, none):
        held.close()


def test_a_loader_streams_what_memory_does_not_hold(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.holding.choose.free_memory", lambda device: 0)
    monkeypatch.setattr("training.holding.streaming.SMALL_ROW", 0)
    dataset = PersistenceImageDataset(store, names=["images", "inputs", "index"])
    loader = Loader(dataset, 7, seed=4, how="rendered")
    assert isinstance(loader.holder, Drawn) and isinstance(loader.holder.rest, Streaming)
    seen = []
    for _ in range(2):
        for batch in loader:
            stored = dataset.batch(batch["index"])
            assert torch.equal(batch["inputs"], stored["inputs"])
            assert torch.allclose(batch["images"], stored["images"], rtol=0, atol=1e-6)
            seen += batch["index"].tolist()
    assert sorted(seen) == sorted(2 * list(range(SAMPLES)))
    with pytest.raises(InvalidSpec, match="ranks must hold samples in one way"):
        Loader(dataset, 7, how="rendered", ranks=2)


def test_images_alone_need_no_memory_for_the_rest(store: Store) -> None:
    held = hold(PersistenceImageDataset(store, names=["images"]), "rendered", memory=0)
    assert list(held.batch(ORDER)) == ["images"]


def test_closed_it_holds_nothing(store: Store) -> None:
    dataset = PersistenceImageDataset(store, names=["images", "inputs"])
    loader = Loader(dataset, 7, how="rendered")
    held = loader.holder
    assert isinstance(held, Drawn) and isinstance(held.rest, Resident)
    loader.close()
    assert held.rest.tensors == {} and len(held.images["images"]) == 0
    with pytest.raises(InvalidSpec, match="this loader was closed"):
        next(iter(loader))
