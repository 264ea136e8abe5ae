"""Engines side by side: the bottleneck distance is exact, and a disagreement is found."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cache.errors import InvalidSpec, PiCacheError, SampleError
from pi_cache.specs import DiagramSpec, Status
from pipeline import compare as compare_module
from pipeline.bottleneck import bottleneck
from pipeline.compare import Comparison, Pair, Run, compare, comparison_lines
from pipeline.diagrams import Diagrams
from pipeline.engines import ENGINES, installed
from pipeline.fields import Fields
from pipeline.sources import open_source
from pipeline.sources.arrays import from_arrays
from tests.pipeline.test_cli import command_line, run, run_json


def naive_bottleneck(one: np.ndarray, other: np.ndarray) -> float:
    """Every matching of the points and enough of the diagonal is tried."""
    count = len(one) + len(other)
    best = np.inf
    for order in itertools.permutations(range(count)):
        worst = 0.0
        for k, m in enumerate(order):
            if k < len(one) and m < len(other):
                worst = max(worst, float(np.abs(one[k] - other[m]).max()))
            elif k < len(one):
                worst = max(worst, (one[k, 1] - one[k, 0]) / 2)
            elif m < len(other):
                worst = max(worst, (other[m, 1] - other[m, 0]) / 2)
        best = min(best, worst)
    return float(best)


def points(most: int) -> st.SearchStrategy[np.ndarray]:
    whole = st.tuples(st.integers(0, 6), st.integers(1, 5))
    made = st.lists(whole, max_size=most)
    return made.map(lambda ps: np.array([[b, b + p] for b, p in ps], float).reshape(-1, 2) / 4)


@given(points(3), points(3))
def test_bottleneck_is_the_best_of_all_matchings(one: np.ndarray, other: np.ndarray) -> None:
    assert bottleneck(one, other) == naive_bottleneck(one, other)


@given(points(12), points(12))
def test_bottleneck_is_a_metric(one: np.ndarray, other: np.ndarray) -> None:
    assert bottleneck(one, one[::-1]) == 0
    assert bottleneck(one, other) == bottleneck(other, one)
    shifted = one + 0.0625
    assert bottleneck(one, shifted) <= 0.0625
    assert bottleneck(shifted, other) <= bottleneck(one, other) + 0.0625


@pytest.mark.parametrize("count", [5, 40, 200])
def test_bottleneck_equals_persim(count: int, rng: np.random.Generator) -> None:
    persim = pytest.importorskip("persim")
    for _ in range(5):
        one, other = (
            np.cumsum(rng.random((n, 2)), axis=1) for n in (count, int(rng.integers(1, count)))
        )
        near = np.sort(one + rng.normal(scale=1e-4, size=one.shape), axis=1)
        for against in (other, near):
            expected = persim.bottleneck(one, against)
            assert bottleneck(one, against) == pytest.approx(expected, abs=1e-12)


def test_essential_classes_match_each_other_only() -> None:
    one = np.array([[0, np.inf], [2, np.inf], [0, 1]])
    other = np.array([[2.25, np.inf], [0, np.inf], [0, 1]])
    assert bottleneck(one, other) == 0.25
    assert bottleneck(one, other[1:]) == np.inf
    assert bottleneck(-one, -other) == 0.25, "super-level sets die at -inf"
    assert bottleneck(np.empty((0, 2)), np.empty((0, 2))) == 0


@pytest.mark.parametrize("scale", [5e-324, 1e-320, 1e-310, 1e-300, 1e300])
def test_values_of_any_size_end(scale: float) -> None:
    one, other = np.array([[0, 4], [1, 9]]) * scale, np.array([[0, 6]]) * scale
    assert bottleneck(one, other) == pytest.approx(3 * scale, rel=1e-3, abs=0)


@pytest.mark.parametrize("point", [[0, np.nan], [np.nan, 1], [np.inf, np.inf], [-np.inf, 1]])
def test_what_is_no_diagram_has_no_distance(point: list[float]) -> None:
    one, other = np.array([[0.0, 1.0]]), np.array([[0.0, 1.0], point])
    assert np.isnan(bottleneck(one, other)) and np.isnan(bottleneck(other, one))


def test_large_diagrams_that_nearly_agree_are_quick(rng: np.random.Generator) -> None:
    one = np.cumsum(rng.random((20_000, 2)), axis=1)
    assert 0 < bottleneck(one, one.astype(np.float32)) < 1e-7


# --- engines


@pytest.mark.parametrize("filtration", ["sublevel", "cubical", "rips"])
def test_engines_agree_on_digits(filtration: str) -> None:
    spec = DiagramSpec(filtration=filtration, min_persistence=0.05)
    found = compare(open_source("digits")[:5], spec, time_limit=60)
    assert found.agree and len(found.runs) >= 2 and found.runs[0].engine == "native"
    assert all(run.samples == 5 and run.seconds > 0 and not run.refused for run in found.runs)
    assert [pair.one for pair in found.pairs] == ["native"] * len(found.pairs)
    assert all(pair.largest <= pair.allowed for pair in found.pairs)
    assert (filtration == "cubical") == all(pair.allowed == 0 for pair in found.pairs)


def wrong(fields: Fields, spec: DiagramSpec, **options: Any) -> Diagrams:
    """Exact, but that ripser is wrong about long signals and refuses the longest ones."""
    found = EXACT(fields, spec, **options)
    length = len(fields.values[0])
    if spec.engine != "ripser" or length < 30:
        return found
    if length > 40:
        raise SampleError(Status.TIMEOUT, "took too long")
    return Diagrams(found.points + 0.5, found.offsets)


EXACT = compare_module.compute_diagrams


def pair_of(found: Comparison, other: str) -> Pair:
    return next(pair for pair in found.pairs if pair.other == other)


def run_of(found: Comparison, engine: str) -> Run:
    return next(run for run in found.runs if run.engine == engine)


def unlike(fields: Fields, spec: DiagramSpec, **options: Any) -> Diagrams:
    """Exact, but that ripser gives NaN."""
    found = EXACT(fields, spec, **options)
    return Diagrams(found.points * (np.nan if spec.engine == "ripser" else 1), found.offsets)


def test_nan_is_no_agreement(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setattr(compare_module, "compute_diagrams", unlike)
    found = compare(from_arrays(rng.random((3, 20)), sample="signal"), DiagramSpec())
    pair = pair_of(found, "ripser")
    assert (pair.samples, pair.differing, pair.largest) == (3, 3, np.inf)
    assert not found.agree
    document = next(pair for pair in found.to_dict()["pairs"] if pair["other"] == "ripser")
    assert document["largest"] is None


def refusing(fields: Fields, spec: DiagramSpec, **options: Any) -> Diagrams:
    raise SampleError(Status.TIMEOUT, f"{spec.engine} took too long")


def test_nothing_compared_is_no_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_module, "compute_diagrams", refusing)
    found = compare(open_source("digits")[:2], DiagramSpec())
    assert (found.compared, found.agree) == (0, False)
    assert all(pair["largest"] is None for pair in found.to_dict()["pairs"])
    lines = comparison_lines(found)
    row = next(line for line in lines if line.startswith("native, ripser"))
    assert row.split() == ["native,", "ripser", "-", "-", "0", "-"]
    with pytest.raises(PiCacheError, match="nothing was compared"):
        run("pipeline engines --compare digits --limit 2")


def test_an_engine_that_breaks_costs_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(fields: Fields, spec: DiagramSpec, **options: Any) -> Diagrams:
        if spec.engine == "ripser":
            raise ArithmeticError("did not converge")
        return EXACT(fields, spec, **options)

    monkeypatch.setattr(compare_module, "compute_diagrams", breaking)
    found = compare(open_source("digits")[:2], DiagramSpec())
    refused = run_of(found, "ripser").refused
    assert list(refused.values()) == ["ArithmeticError: did not converge"] * 2


def test_an_engine_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def starting(spec: DiagramSpec, time_limit: float | None) -> None:
        if spec.engine == "native":
            raise SampleError(Status.CRASH, "engine native did not start")

    monkeypatch.setattr(compare_module, "start_engine", starting)
    found = compare(open_source("digits")[:2], DiagramSpec())
    assert found.runs[0].problem == "engine native did not start" and not found.runs[0].samples
    assert found.runs[1].samples == 2
    assert all(pair.one != "native" for pair in found.pairs)
    assert "not started: engine native did not start" in "\n".join(comparison_lines(found))


def test_a_tiny_time_limit_costs_samples_and_not_the_command(rng: np.random.Generator) -> None:
    source = from_arrays(rng.random((2, 400, 3)), sample="cloud")
    found = compare(source, DiagramSpec(filtration="rips"), time_limit=1e-5)
    ripser = run_of(found, "ripser")
    assert (ripser.samples, ripser.problem) == (0, "")
    assert list(ripser.refused) == source.ids
    assert all("over the time limit" in text for text in ripser.refused.values())


def test_a_sample_that_a_build_would_leave_out_costs_itself(tmp_path: Path) -> None:
    """Too short to be embedded; or of values that the precision does not hold."""
    head = "@problemName x\n@univariate true\n@equalLength false\n@classLabel true a\n@data\n"
    rows = ["1,2,0,4,1,3,2,5:a", "1,2:a", "3,1,2,5,0,1,4:a", "1,2,1e300,2,1:a"]
    (tmp_path / "x_TRAIN.ts").write_text(head + "\n".join(rows) + "\n")
    source = open_source(f"ucr:{tmp_path / 'x_TRAIN.ts'}")
    spec = DiagramSpec(
        filtration="rips", embedding_dimension=3, embedding_delay=1, precision="float32"
    )
    found = compare(source, spec)
    assert found.agree and [run.samples for run in found.runs] == [2] * len(found.runs)
    assert list(found.left_out) == [source.ids[1], source.ids[3]]
    short, huge = found.left_out.values()
    assert "too short for an embedding" in short and "beyond float32" in huge
    assert f"left out: 2, such as {source.ids[1]}: a signal" in "\n".join(comparison_lines(found))


def test_the_smallest_disagreement_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(compare_module, "compute_diagrams", wrong)
    head = "@problemName x\n@univariate true\n@equalLength false\n@classLabel true a\n@data\n"
    rows = [",".join(map(str, rng.random(n))) + ":a" for n in (10, 40, 31, 35, 50)]
    (tmp_path / "x_TRAIN.ts").write_text(head + "\n".join(rows) + "\n")
    source = open_source(f"ucr:{tmp_path / 'x_TRAIN.ts'}")
    found = compare(source, DiagramSpec())
    pair = pair_of(found, "ripser")
    assert not found.agree
    assert (pair.samples, pair.differing, pair.values) == (4, 3, 31)
    assert pair.smallest == source.ids[2]
    assert run_of(found, "ripser").refused == {source.ids[4]: "took too long"}
    text = "\n".join(comparison_lines(found))
    assert f"{source.ids[2]}, 31 values" in text and "took too long" in text


def test_a_spec_that_no_engine_covers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_module, "installed", lambda name: False)
    with pytest.raises(InvalidSpec, match="no engine that is installed covers this"):
        compare(open_source("digits")[:1], DiagramSpec())


def test_unusable_samples_are_left_out(rng: np.random.Generator) -> None:
    signals = rng.random((3, 20))
    signals[1, 4] = np.nan
    found = compare(from_arrays(signals, sample="signal"), DiagramSpec())
    assert [run.samples for run in found.runs] == [2] * len(found.runs)
    (why,) = found.left_out.values()
    assert "NaN" in why or "NAN" in why


# --- the command


def test_the_command_lists_what_is_installed() -> None:
    documents = run_json("pipeline engines --json")
    assert [d["name"] for d in documents] == ["native", "ripser", "gudhi", "giotto"]
    assert documents[0]["installed"] and documents[0]["lacks"] == ["rips homology H2"]
    assert documents[1]["lacks"] == ["cubical"]
    assert documents[3]["lacks"] == ["cubical vertices"]
    text = run("pipeline engines").stdout
    assert "up to 8,192 points; single precision" in text
    for document in documents:
        if not document["installed"]:
            assert "pip install" in document["problem"] and document["problem"] in text
        assert document["licence"] in text
    assert "no release works with numpy 2" in text
    assert "9,509 points (16,000 with a small --max-length)" in text


def test_the_command_compares() -> None:
    words = "pipeline engines --compare digits --limit 3 --filtration rips"
    rows = [line.split() for line in run(words).stdout.splitlines() if line]
    document = run_json(f"{words} --json")
    names = [name for name in ENGINES if installed(name)]
    assert [each["engine"] for each in document["runs"]] == names
    assert [each["other"] for each in document["pairs"]] == names[1:]
    assert document["agree"] and document["compared"] == 3 * len(document["pairs"])
    by_engine = {row[0]: row[1:] for row in rows}
    for each in document["runs"]:
        assert (each["samples"], each["refused"], each["problem"]) == (3, {}, "")
        assert float(by_engine[each["engine"]][0]) > 0
        assert by_engine[each["engine"]][1:] == ["3", "none"]
    by_pair = {row[1]: row[2:] for row in rows if row[0] == "native,"}
    for pair in document["pairs"]:
        largest, allowed, samples, smallest = by_pair[pair["other"]]
        assert 0 < pair["largest"] <= pair["allowed"] < 1e-5, "lengths are held as float32"
        assert float(largest) == pytest.approx(pair["largest"], rel=1e-2)
        assert float(allowed) == pytest.approx(pair["allowed"], rel=0.1)
        assert (samples, smallest) == ("3", "none")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--filtration rips --limit 3", "--filtration, --limit: only with --compare"),
        ("--compare digits --engine gudhi", "No such option '--engine'"),
        ("--compare digits --pixels 9", "No such option '--pixels'"),
        ("--compare digits --min-persistence 0.5", "No such option '--min-persistence'"),
    ],
)
def test_an_option_without_effect_is_refused(words: str, message: str) -> None:
    done = command_line("pipeline", "engines", *words.split())
    assert done.returncode == 2 and message in done.stderr


def test_a_disagreement_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(compare_module, "compute_diagrams", wrong)
    np.save(tmp_path / "x.npy", rng.random((2, 35)))
    words = ["--sample", "signal", "--compare", f"array:{tmp_path / 'x.npy'}"]
    with pytest.raises(PiCacheError, match="two engines disagree"):
        run(["pipeline", "engines", *words])
