"""Reports of windows of recordings: who did what, channels, what of the image's window is empty."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pi_cache.commands.table import width
from pi_cache.reader import Store, open_store
from pi_cache.sampling.windows import Window
from pi_cache.specs import DiagramSpec, ImageSpec
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.recipes import RECIPES
from pipeline.reports.coverage import (
    channel_coverage,
    coverage,
    empty_lines,
    empty_of,
    warnings_of,
)
from pipeline.reports.inputs import input_facts
from pipeline.reports.text import report_lines, table, window_table
from pipeline.reports.units import input_names, input_units, percent
from pipeline.reports.windows import window_counts
from pipeline.sources import open_source
from tests.pipeline.test_report import made, run
from tests.recordings.made import write_pamap2, write_sisfall

SISFALL = {"window": "10", "step": "10", "channels": "adxl345_x,itg3200_y"}
IMAGE = ImageSpec(pixels=6, birth_range=(-20, 20), persistence_range=(0, 20), sigma=2.0)


@pytest.fixture
def sisfall(tmp_path: Path) -> Store:
    """Windows of two people; the second of them never falls."""
    for name, rows in {"D01_SA01_R01": 40, "F05_SA01_R01": 20, "D01_SA02_R01": 30}.items():
        write_sisfall(tmp_path / "data", name, rows)
    source = open_source(f"sisfall:{tmp_path / 'data'}", **SISFALL)
    options = Options(executor="serial", shard_samples=8)
    report = build(source, DiagramSpec(), IMAGE, root=tmp_path / "cache", options=options)
    return open_store(report.path)


def pamap2(tmp_path: Path, image: ImageSpec) -> Store:
    """Windows by the published preparation: 40 channels in 0..1."""
    write_pamap2(tmp_path / "data", [24] * 600 + [1] * 600, subject=101)
    source = open_source(f"pamap2:{tmp_path / 'data'}", windows="published")
    recipe = RECIPES["tda-kd-pamap2"]
    report = build(source, recipe.diagram, image, root=tmp_path, recipe=recipe.name)
    return open_store(report.path)


def test_windows_are_counted_by_subject_and_class(sisfall: Store) -> None:
    facts = window_counts(sisfall)
    assert facts is not None
    assert (facts["subjects"], facts["recordings"]) == (["SA01", "SA02"], 3)
    assert [facts["codes"][name] for name in facts["classes"]] == ["D01", "F05"]
    assert facts["counts"] == [[4, 2], [3, 0]]
    assert facts["missing"] == {"SA02": [facts["classes"][1]]}
    assert len(facts["absent"]) == 32
    expected = Counter(zip(sisfall.groups, sisfall.labels, strict=True))  # type: ignore[arg-type]
    assert sum(map(sum, facts["counts"])) == sum(expected.values()) == len(sisfall)


def test_the_table_shows_what_is_missing(sisfall: Store) -> None:
    facts = coverage(sisfall)
    lines = report_lines(facts)
    start = next(k for k, line in enumerate(lines) if line.startswith("subject"))
    assert [line.split() for line in lines[start : start + 4]] == [
        ["subject", "D01", "F05", "OK"],
        ["SA01", "4", "2", "6"],
        ["SA02", "3", "-", "3"],
        ["all", "7", "2", "9"],
    ]
    assert "no window of SA02: F05" in lines
    assert any("1 subject has no window of some classes" in line for line in warnings_of(facts))


def test_lost_windows_are_told_of_their_subject(tmp_path: Path) -> None:
    values = np.random.default_rng(2).random((30, 1))
    values[4] = np.nan
    rows = "".join(f"{v:.6f}\n" for v in values[:, 0])
    (tmp_path / "a.csv").write_text("x\n" + rows)
    options = {"window": "10", "step": "10", "rate": "10", "values": "x", "missing": "keep"}
    source = open_source(f"table:{tmp_path / 'a.csv'}", **options)
    report = build(source, DiagramSpec(), IMAGE, root=tmp_path / "cache")
    facts = coverage(open_store(report.path))
    assert facts["windows"]["lost"] == [{"NAN": 1}]
    assert sum(map(sum, facts["windows"]["counts"])) == 2
    assert facts["inputs"][0]["missing"] == pytest.approx(1 / 30)


def test_channels_have_units_and_statistics(sisfall: Store) -> None:
    inputs = input_facts(sisfall)
    assert inputs is not None
    assert [(fact["name"], fact["unit"]) for fact in inputs] == [
        ("adxl345_x", "g"),
        ("itg3200_y", "deg/s"),
    ]
    values = sisfall.read_all("inputs")  # (n, T, C)
    for k, fact in enumerate(inputs):
        assert (fact["min"], fact["max"]) == (values[..., k].min(), values[..., k].max())
        assert fact["mean"] == pytest.approx(values[..., k].mean(), rel=1e-12)
        assert fact["std"] == pytest.approx(values[..., k].std(), rel=1e-12)
        assert (fact["flat"], fact["missing"]) == (0, 0)


def test_coverage_by_channel_adds_up_to_that_of_all(sisfall: Store) -> None:
    facts, channels = coverage(sisfall), channel_coverage(sisfall)
    assert channels is not None
    assert sum(fact["points"] for fact in channels) == facts["points"]
    inside = sum(fact["points"] * fact["points_inside"] for fact in channels)
    assert inside / facts["points"] == pytest.approx(facts["points_inside"])
    assert channels[1]["points_inside"] < channels[0]["points_inside"], "deg/s beside g"
    few = warnings_of({**facts, "points_inside": 0.9})
    assert any("least of itg3200_y/H0" in line for line in few)
    births = np.concatenate([sisfall.diagram(k, 1)[:, 0] for k in range(len(sisfall))])
    deaths = np.concatenate([sisfall.diagram(k, 1)[:, 1] for k in range(len(sisfall))])
    drawn = births[np.isfinite(deaths)]
    assert channels[1]["birth"] == [drawn.min(), drawn.max()]
    assert channels[1]["births_below"] == pytest.approx((drawn < -20).mean())


def test_the_published_recipe_leaves_half_an_axis_empty(tmp_path: Path) -> None:
    image = RECIPES["tda-kd-pamap2"].image
    facts = coverage(pamap2(tmp_path, image))
    assert "half of the birth axis (-1..0) holds no point" in warnings_of(facts)
    assert len(facts["channels"]) == 40
    better = ImageSpec(pixels=8, sigma=0.05)
    assert not any("axis" in line for line in warnings_of(coverage(pamap2(tmp_path, better))))


@pytest.mark.parametrize(
    ("window", "points", "parts"),
    [
        ((-1.0, 1.0), (0.0, 1.0), [[-1, 0]]),
        ((0.0, 1.0), (0.25, 0.5), [[0, 0.25], [0.5, 1]]),
        ((0.0, 1.0), (-2.0, 3.0), []),
        ((0.0, 1.0), (2.0, 3.0), [[0, 1]]),
        ((0.0, 1.0), (None, None), [[0, 1]]),
    ],
)
def test_empty_parts_of_an_axis(window: Any, points: Any, parts: Any) -> None:
    assert empty_of(window, points) == parts


def test_births_at_one_place_are_told_as_that() -> None:
    found = {"window": [0, 1], "share": 1.0, "parts": [[0.0, 1.0]], "points": [0.0, 0.0]}
    assert empty_lines({"birth": found}) == ["every birth is 0: the birth axis tells nothing"]


def test_stores_of_earlier_versions_say_not_counted(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made(tmp_path, rng.random((6, 30)), sample="signal")
    seen = dict(store.manifest.statistics)
    for name in ("inputs", "shown"):
        seen.pop(name)
    old = open_store(store.path)
    object.__setattr__(old.manifest, "statistics", seen)
    object.__setattr__(old.manifest.blueprint, "attributes", {"channels": ["channel/H0"]})
    facts = coverage(old)
    assert facts["channels"] is None and facts["inputs"] is None and facts["windows"] is None
    assert sum("not counted" in line for line in report_lines(facts)) == 2
    assert (input_names(old), input_units(old)) == (["0"], [""])
    part = {"points": [1]}
    object.__setattr__(old.manifest, "statistics", {**seen, "shown": part})
    assert channel_coverage(old) is None, "a part of it was counted"


def test_of_images_no_values_are_counted(tmp_path: Path, rng: np.random.Generator) -> None:
    facts = coverage(made(tmp_path, rng.integers(0, 256, (3, 6, 7), dtype=np.uint8)))
    assert facts["inputs"] == [] and not any("filtered" in line for line in report_lines(facts))


def test_a_report_is_one_line_of_json(sisfall: Store, tmp_path: Path) -> None:
    result = run("report", sisfall.key, "--cache", str(tmp_path / "cache"), "--json")
    facts = json.loads(result.stdout)
    assert facts["windows"]["counts"] == [[4, 2], [3, 0]]
    assert {fact["name"] for fact in facts["channels"]} == {"adxl345_x/H0", "itg3200_y/H0"}
    assert facts["inputs"][0]["unit"] == "g"
    assert "warning: " in result.stderr


def test_shares_never_round_to_none_or_all() -> None:
    shown = [percent(value) for value in (None, 0, 1e-6, 0.5, 0.99999, 1)]
    assert shown == ["-", "0%", "<0.1%", "50.0%", ">99.9%", "100%"]


def test_a_share_of_the_text_never_rounds_to_none_or_all(sisfall: Store) -> None:
    facts = coverage(sisfall) | {"points_inside": 0.00001, "persistence_inside": 0.99999}
    lines = report_lines(facts)
    assert "points_inside        <0.1%" in lines and "persistence_inside   >99.9%" in lines
    told = next(line for line in warnings_of(facts) if line.startswith("the window"))
    assert "holds <0.1% of the points and >99.9% of the persistence" in told


def test_channels_of_other_units_have_no_window_in_common(sisfall: Store) -> None:
    facts = coverage(sisfall) | {"points_inside": 0.1}
    assert any("channels are in g and deg/s, and there is one" in w for w in warnings_of(facts))
    alike = [fact | {"unit": "g"} for fact in facts["inputs"]]
    assert not any("channels are in" in w for w in warnings_of(facts | {"inputs": alike}))


def test_what_was_told_of_an_axis_is_not_told_again(sisfall: Store) -> None:
    part = {"window": [-1, 1], "share": 0.8, "parts": [[-1, 0], [0.4, 1]], "points": [0, 0.4]}
    facts = coverage(sisfall) | {"empty_parts": {"birth": part}}
    told = {"birth": [(-1.0, 0.0)]}
    assert any("80% of the birth axis (-1..0, 0.4..1)" in line for line in warnings_of(facts))
    assert any("30% of the birth axis (0.4..1)" in line for line in warnings_of(facts, told))
    part["parts"] = [[-1, 0], [0.8, 1]]
    assert not any("birth axis" in line for line in warnings_of(facts, told))


ABSENT = "and one that nobody has done at all, in many words"


def counts_of(subjects: int, classes: int) -> dict[str, Any]:
    """What is known of windows; the first subject has none of the first class."""
    names = [f"a class with a long name, number {k}" for k in range(classes)]
    counts = (np.arange(subjects * classes) * 7).reshape(subjects, classes)
    return {
        "recordings": subjects,
        "subjects": [f"{k:02d}호 사람" for k in range(subjects)],
        "classes": names,
        "codes": {name: f"A{k:02d}" for k, name in enumerate([*names, ABSENT])},
        "counts": counts.tolist(),
        "lost": [{}] * subjects,
        "missing": {"00호 사람": names[:1]},
        "absent": [ABSENT] * 9,
    }


@pytest.mark.parametrize(("subjects", "classes"), [(9, 12), (23, 34)])
@pytest.mark.parametrize("letters", [80, 100, 200])
def test_windows_are_told_in_the_width_of_a_terminal(
    subjects: int, classes: int, letters: int
) -> None:
    facts = counts_of(subjects, classes)
    lines = window_table(facts, letters)
    assert max(map(width, lines)) <= letters
    rows = [line for line in lines if line.startswith("01호 사람 ")]
    told = [int(cell) for row in rows for cell in row.split()[2:]]
    assert told == [*facts["counts"][1], sum(facts["counts"][1])]
    starts = [k for k, line in enumerate(lines) if line.startswith("subject")]
    for start in starts:  # columns end at one place, though a Korean letter is two places wide
        assert len({width(line) for line in lines[start : start + subjects + 2]}) == 1


def test_columns_that_are_alike_are_a_line(sisfall: Store, tmp_path: Path) -> None:
    lines = report_lines(coverage(sisfall))
    assert "all channels: constant 0%, clipped low 0%, clipped high 0%, missing 0%" in lines
    alone = made(tmp_path / "alone", np.random.default_rng(1).random((3, 30)), sample="signal")
    assert not any(line.startswith("all channels") for line in report_lines(coverage(alone)))


def test_a_report_is_as_wide_as_the_terminal(
    sisfall: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for letters, widest in ((60, 60), (140, 140), (10, 60)):
        monkeypatch.setenv("COLUMNS", str(letters))
        done = run("report", sisfall.key, "--cache", str(tmp_path / "cache"))
        tables = done.stdout.partition("\nwindows: ")[2].splitlines()[1:]
        tables = [line for line in tables if "by channel" not in line]
        assert widest - 30 < max(map(width, tables)) <= widest


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    signals = np.full((2, 9), np.nan)
    store = made(tmp_path, signals, sample="signal", ids=["a\x1b[2Jb", "c\nd"])
    facts = coverage(store)
    assert all(line.isprintable() for line in [*report_lines(facts), *warnings_of(facts)])
    assert set(facts["problems"]) == {"a\x1b[2Jb", "c\nd"}


def test_wide_tables_are_continued() -> None:
    rows = [["name", *(f"column {k}" for k in range(9))], ["first", *map(str, range(9))]]
    lines = table(rows, 40)
    assert max(map(len, lines)) <= 40
    assert sum(line.startswith("first") for line in lines) == len(lines) / 2 > 1
    assert " ".join(lines).split().count("8") == 2, "in its header and its row"
    assert table([["only"]]) == ["only"]


def test_a_window_is_drawn_in_seconds_and_units(
    sisfall: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from pipeline.figures import draw_explanation, draw_report

    saved: list[Any] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *a, **k: (saved.append(figure), save(figure, *a, **k))
    )
    draw_explanation(sisfall, 1, tmp_path / "x.png")
    draw_report(sisfall, tmp_path / "y.png")
    window = Window.parse(str(sisfall.ids[1]))
    first, page = saved
    assert first.get_suptitle() == (
        f"subject SA01, walking slowly\n{window.recording} from {window.start / 200:.6g} s"
    )
    signal, diagram, image = first.axes[:3]
    assert signal.lines[0].get_xdata() == pytest.approx(np.arange(10) / 200)
    assert (signal.get_xlabel(), signal.get_ylabel()) == ("time [s]", "adxl345_x [g]")
    assert diagram.get_xlabel() == image.get_xlabel() == "birth [g]"
    inside, outside = (points.get_offsets() for points in diagram.collections)
    points = sisfall.diagram(1, 0)
    assert len(inside) + len(outside) == np.isfinite(points[:, 1]).sum()
    numbers = {text.get_text() for axes in page.axes for text in axes.texts}
    assert {"4", "2", "3", "-"} <= numbers


def test_a_page_of_many_channels_has_columns(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from pipeline.figures import draw_report

    store = pamap2(tmp_path, ImageSpec(pixels=8, sigma=0.05))
    draw_report(store, tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 10_000
