"""Distance matrices as samples: checked one by one, and built like clouds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pi_cache.errors import InvalidSpec, SourceError
from pi_cache.reader import open_store
from pi_cache.specs import DiagramSpec, ImageSpec, Status, StoreSpec
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.engines.common import lengths
from pipeline.sources import read_samples
from pipeline.sources.arrays import from_arrays
from tests.pipeline.test_cli import run, run_json

IMAGE = ImageSpec(pixels=6)
RIPS = DiagramSpec(filtration="rips")


def matrices(rng: np.random.Generator, samples: int = 6, points: int = 12) -> np.ndarray:
    return np.stack([lengths(rng.random((points, 3)), "euclidean") for _ in range(samples)])


def test_distances_from_file_to_store(tmp_path: Path, rng: np.random.Generator) -> None:
    """The diagrams are those of the clouds, and the saved spec builds the store again."""
    clouds = rng.random((6, 12, 3))
    np.savez(tmp_path / "d.npz", data=np.stack([lengths(c, "chebyshev") for c in clouds]))
    np.savez(tmp_path / "c.npz", data=clouds)
    end = ["--filtration", "rips", "--cache", str(tmp_path / "cache"), "--json"]
    given = run_json(
        ["pipeline", "build-pis", f"array:{tmp_path / 'd.npz'}", "--sample", "distances", *end]
    )
    words = ["--sample", "cloud", "--metric", "chebyshev", *end]
    computed = run_json(["pipeline", "build-pis", f"array:{tmp_path / 'c.npz'}", *words])
    one, other = (open_store(built["path"]) for built in (given, computed))
    assert given["status"] == {"OK": 6}
    assert (one.spec.diagram.metric, other.spec.diagram.metric) == ("precomputed", "chebyshev")
    assert one.key != other.key
    np.testing.assert_array_equal(one.read_all("images"), other.read_all("images"))
    np.testing.assert_array_equal(one.read_all("inputs")[0], lengths(clouds[0], "chebyshev"))
    spec = Path(given["path"]) / "spec.json"
    assert json.loads(spec.read_text())["diagram"]["metric"] == "precomputed"
    again = run_json(["pipeline", "build-pis", "--spec", str(spec), *end[2:]])
    assert again["found"] and again["key"] == given["key"]
    picture = str(tmp_path / "0.png")
    shown = run(
        ["pipeline", "explain", given["key"], "0", "--cache", str(tmp_path / "cache"),
         "--png", picture]
    )  # fmt: skip
    assert shown.exit_code == 0 and Path(picture).exists()


def test_what_is_no_distance_matrix_has_a_status(tmp_path: Path, rng: np.random.Generator) -> None:
    given = matrices(rng, 7)
    given[1, 2, 3] += 1e-3
    given[2, 4, 4] = 0.5
    given[3, 0, 1] = given[3, 1, 0] = -1
    given[4, 0, 1] = given[4, 1, 0] = np.nan
    given[5, 0, 1] = given[5, 1, 0] = np.inf
    given[6] = 0
    source = from_arrays(given, sample="distances")
    samples = read_samples(source)
    assert [Status(int(code)).name for code in samples.status] == [
        "OK", "WRONG_SHAPE", "WRONG_SHAPE", "WRONG_SHAPE", "NAN", "INF", "CONSTANT",
    ]  # fmt: skip
    assert samples.problems[1].startswith("is not symmetric at (2, 3)")
    assert samples.problems[2].startswith("has a distance other than 0 at (4, 4)")
    assert samples.problems[3].startswith("has a negative distance at (0, 1)")
    report = build(source, RIPS, IMAGE, root=tmp_path, options=Options(executor="serial"))
    assert dict(report.manifest.status)["OK"] == 1


def test_integers_are_distances_too(rng: np.random.Generator, tmp_path: Path) -> None:
    steps = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))[None].astype(np.int32)
    source = from_arrays(steps, sample="distances")
    report = build(source, RIPS, IMAGE, root=tmp_path, options=Options(executor="serial"))
    diagram = open_store(report.path).diagram(0, 0)
    np.testing.assert_array_equal(diagram, [[0, 1]] * 4 + [[0, np.inf]])


def test_distances_are_square_and_go_with_rips_alone(rng: np.random.Generator) -> None:
    with pytest.raises(SourceError, match="must be image or signal or cloud, got 'distances'"):
        from_arrays(rng.random((2, 5, 6)), sample="distances")
    with pytest.raises(SourceError, match="sample=distances"):
        from_arrays(rng.random((2, 5, 5)))
    source = from_arrays(matrices(rng), sample="distances").spec()
    for spec, message in (
        (DiagramSpec(), "sublevel needs signals or images, not distance matrices"),
        (DiagramSpec(filtration="cubical"), "cubical needs images, not distance matrices"),
        (RIPS.replace(metric="cosine"), "cosine does not apply"),
    ):
        with pytest.raises(InvalidSpec, match=message):
            StoreSpec(source=source, diagram=spec, image=IMAGE)
    clouds = from_arrays(rng.random((2, 5, 5)), sample="cloud").spec()
    with pytest.raises(InvalidSpec, match="precomputed needs distance matrices, not clouds"):
        StoreSpec(source=clouds, diagram=RIPS.replace(metric="precomputed"), image=IMAGE)
