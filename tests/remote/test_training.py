"""Training on an address: the batches and the weights of the local store, and no library more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from pi_cache import open_store  # noqa: E402
from pi_cache.layout import Layout  # noqa: E402
from pi_cache.sampling.joins import open_together  # noqa: E402
from pi_cache.specs import DiagramSpec, ImageSpec  # noqa: E402
from pipeline.build import Options, build  # noqa: E402
from pipeline.sources import open_source  # noqa: E402
from tests.pi_cache.made import make_spec, make_store  # noqa: E402
from tests.remote.lab import served  # noqa: E402
from training.commands.group import cli  # noqa: E402
from training.data import PersistenceImageDataset  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).resolve().parents[2]
LAYOUTS = {
    "chunked": Layout(shard_samples=16, chunk_samples=4, point_capacity=20_000),
    "mapped": Layout.mapped(shard_samples=1024, point_capacity=20_000),
}


@pytest.fixture(scope="module", params=list(LAYOUTS))
def local(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("학습"), make_spec(120), LAYOUTS[request.param])


@pytest.fixture(scope="module")
def url(local: Path) -> Iterator[str]:
    with served(local.parent) as server:
        yield f"{server.url}/{local.name}"


@pytest.mark.parametrize(("workers", "method"), [(0, None), (2, "fork"), (1, "spawn")])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_batches_are_those_of_the_local_store(
    local: Path, url: str, workers: int, method: str | None
) -> None:
    def batches(store: str | Path, method: str | None) -> list[Any]:
        dataset = PersistenceImageDataset(store, names=["images", "inputs", "labels", "index"])
        loader = dataset.loader(
            16, shuffle=True, seed=3, workers=workers, multiprocessing_context=method
        )
        return [batch for _ in range(2) for batch in loader]

    truth = batches(local, "fork" if workers else None)
    for one, other in zip(batches(url, method), truth, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_address_joins_a_path(local: Path, url: str) -> None:
    joined = open_together({"here": local, "there": url})
    assert joined.members["there"].source.key == local.name


@pytest.fixture(scope="module")
def signals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of noise in three classes, with a variant."""
    folder = tmp_path_factory.mktemp("signals")
    rng, labels = np.random.default_rng(8), np.arange(30) % 3
    images = rng.random((30, 8, 8, 3)) / 2 + labels[:, None, None, None] / 6
    splits = np.where(np.arange(30) % 5 < 3, "train", "test")
    np.savez(folder / "a.npz", data=images, labels=labels, splits=splits)
    source = open_source(f"array:{folder / 'a.npz'}", sample="image")
    options = Options(with_inputs=True)
    return build(source, DiagramSpec(), ImageSpec(pixels=16), root=folder, options=options).path


def test_weights_are_those_of_the_local_store(signals: Path, tmp_path: Path) -> None:
    """And the record of the run says where its store lay, and which files it held."""
    with served(signals.parents[1]) as server:
        address = f"{server.url}/stores/{signals.name}"
        for name, store in (("remote", address), ("local", str(signals))):
            words = f"fit --view pi --model resnet-8 --epochs 2 --set threads=1 --store pi={store}"
            out = ["--out", str(tmp_path / name)]
            done = CliRunner().invoke(cli, [*words.split(), *out], catch_exceptions=False)
            assert done.exit_code == 0, done.output
    one, other = (load_file(tmp_path / n / "last.safetensors") for n in ("remote", "local"))
    assert one.keys() == other.keys() and len(one) > 10
    assert all(torch.equal(one[name], other[name]) for name in one)
    record = json.loads((tmp_path / "remote" / "run.json").read_text())
    text = json.dumps(record)
    assert address in text and open_store(signals).manifest.digest in text


def test_training_there_loads_nothing_of_topology(signals: Path) -> None:
    with served(signals.parents[1]) as server:
        script = (
            "import sys\n"
            "from training.data import PersistenceImageDataset\n"
            "print('urllib3' in sys.modules)\n"
            f"data = PersistenceImageDataset({f'{server.url}/stores/{signals.name}'!r})\n"
            "print(len(list(data.loader(8))))\n"
            "names = {name.partition('.')[0] for name in sys.modules}\n"
            "print(sorted(names & {'numba', 'ripser', 'gudhi', 'gtda', 'persim', 'scipy', 'zarr',"
            " 'joblib', 'dask', 'obstore', 'starlette'}), 'urllib3' in names)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
        )
    assert done.stdout.splitlines() == ["False", "4", "[] True"], done.stderr
