"""One sample's way from a file to a training batch; read this first.

A photograph in a folder becomes a source, its rows become signals, these have diagrams, the
diagrams become images, the images lie in a store, and a torch batch comes out of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pi_cache.reader import open_store
from pi_cache.specs import DiagramSpec, ImageSpec, Status, StoreSpec
from pipeline.build import build
from pipeline.diagrams import compute_diagrams
from pipeline.fields import channel_names, make_fields
from pipeline.images import draw, normalise, quantise, select
from pipeline.sources import open_source, read_samples
from tests import naive


@pytest.fixture
def photographs(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Two classes of three small pictures each, in a folder with a Korean name."""
    root = tmp_path / "사진"
    for label in ("고양이", "dog"):
        (root / label).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number}.png")
    return root


def test_from_file_to_batch(photographs: Path, tmp_path: Path) -> None:
    # A source knows where its samples lie, and what they are called.
    source = open_source(f"imagefolder:{photographs}")
    assert len(source) == 6
    assert source.label_names == ("dog", "고양이")
    assert source.ids[4] == "고양이/1.png"

    # The sample we follow, as it is read: height, width, channel.
    samples = read_samples(source)
    assert samples.arrays[4].shape == (8, 8, 3)
    assert samples.status[4] == Status.OK

    # What is filtered: each colour channel, read row by row as a signal of 64 values in 0..1.
    diagram = DiagramSpec(filtration="sublevel", scan="rows")
    fields = make_fields(samples, source, diagram)
    signal = fields.values[4 * 3 + 1]  # sample 4, green
    np.testing.assert_array_equal(signal, samples.arrays[4][:, :, 1].reshape(-1) / 255)

    # Its persistence diagram: where components of sub-level sets are born and where they die.
    diagrams = compute_diagrams(fields, diagram)
    points = diagrams[4 * 3 + 1]
    assert sorted(map(tuple, points.tolist())) == sorted(naive.path_h0(signal))
    assert points[-1, 1] == np.inf  # the component that never dies

    # Its persistence image: one Gaussian a point, over (persistence, birth), brightest pixel 1.
    image = ImageSpec(pixels=10, sigma=0.1)
    raw = draw(select(diagrams.points, diagrams.offsets, image), image)
    drawn = quantise(normalise(raw, image), image)[4 * 3 + 1]
    assert drawn.shape == (10, 10)
    assert drawn.dtype == np.float16
    assert drawn.max() == 1

    # All of that for all samples, into a store that is named by what it holds.
    report = build(source, diagram, image, root=tmp_path / "캐시")
    spec = StoreSpec(source=source.spec(), diagram=diagram, image=image)
    assert report.path == tmp_path / "캐시" / "stores" / spec.key

    # The store gives back the image, the diagram, and who the sample is.
    store = open_store(report.path)
    assert store.channels == tuple(channel_names(source, diagram)) == (
        "rows/red/H0",
        "rows/green/H0",
        "rows/blue/H0",
    )  # fmt: skip
    np.testing.assert_array_equal(store.read("images", [4])[0, 1], drawn)
    np.testing.assert_array_equal(store.diagram(4, 1), points)
    assert store.ids[4] == "고양이/1.png"
    assert store.label_names[store.labels[4]] == "고양이"

    # The same command again finds it: nothing is computed twice.
    assert build(source, diagram, image, root=tmp_path / "캐시").found


def test_from_store_to_batch(photographs: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from training.data import PersistenceImageDataset

    source = open_source(f"imagefolder:{photographs}")
    report = build(source, DiagramSpec(), ImageSpec(pixels=10), root=tmp_path)

    # A training job knows the store and nothing of how it was made.
    dataset = PersistenceImageDataset(report.path)
    loader = torch.utils.data.DataLoader(dataset, batch_size=4)
    images, labels = next(iter(loader))
    assert images.shape == (4, 3, 10, 10)
    assert labels.tolist() == [0, 0, 0, 1]
    stored = open_store(report.path).read("images", range(4))
    np.testing.assert_array_equal(images.numpy(), stored.astype(np.float32))
