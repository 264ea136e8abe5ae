"""Pictures: what is in them, read from the figure before it is saved; and when there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pi_cache.axes import cell_width, lower_edges
from pi_cache.reader import Store, open_store
from pi_cache.specs import DiagramSpec, GramianSpec, ImageSpec
from pipeline.build import build, build_gramian
from pipeline.figures import (
    MOST_ROWS,
    PictureNotDrawn,
    check_picture,
    draw_explanation,
    draw_gallery,
    draw_report,
    shown_range,
)
from pipeline.gramian.figures import draw_explanation as draw_fields
from pipeline.reports.suggestion import LOOKED_AT
from pipeline.reports.units import input_of
from pipeline.sources import open_source
from pipeline.sources.arrays import from_arrays
from tests.pipeline.test_report import made, run

pytest.importorskip("matplotlib")

LEGACY = ImageSpec(
    grid="legacy-persim", weight="relative", row_order="descending", pixels=9, sigma=0.1
)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is saved, as it was then; the files are written too."""
    from matplotlib.figure import Figure

    saved, save = [], Figure.savefig

    def remember(figure: Any, *given: Any, **named: Any) -> None:
        saved.append(figure)
        save(figure, *given, **named)

    monkeypatch.setattr(Figure, "savefig", remember)
    return saved


@pytest.fixture
def colours(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (4, 6, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent/x.png", "there is no folder .*absent"),
        ("x.gif", "a picture is one of png, pdf, svg"),
        ("x", "a picture is one of png, pdf, svg"),
    ],
)
def test_a_picture_that_cannot_be_is_refused_before_the_work(
    name: str, message: str, tmp_path: Path, colours: np.ndarray
) -> None:
    store = made(tmp_path / "cache", colours)
    path = str(tmp_path / name)
    for words in (["explain", store.key, "0"], ["report", store.key], ["demo"]):
        cache = tmp_path / ("cache" if words[0] != "demo" else "untouched")
        with pytest.raises(PictureNotDrawn, match=message):
            run(*words, "--png", path, "--cache", str(cache))
    assert not (tmp_path / "untouched").exists()
    assert not Path(path).exists()


def test_a_failed_write_is_a_sentence(tmp_path: Path, colours: np.ndarray) -> None:
    store = made(tmp_path, colours)
    folder = tmp_path / "taken.png"
    folder.mkdir()
    check_picture(folder)
    with pytest.raises(PictureNotDrawn, match="cannot be written"):
        draw_report(store, folder)


@pytest.mark.parametrize("suffix", ["png", "PDF", "svg"])
def test_every_format_has_the_same_bytes_each_time(
    suffix: str, tmp_path: Path, colours: np.ndarray
) -> None:
    store = made(tmp_path, colours)
    paths = [tmp_path / f"{k}.{suffix}" for k in range(2)]
    for path in paths:
        draw_explanation(store, 1, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    "spec",
    [DiagramSpec(scan="both"), DiagramSpec(filtration="cubical")],
    ids=["scans", "cubical"],
)
def test_each_row_shows_the_plane_it_was_made_of(
    spec: DiagramSpec, tmp_path: Path, colours: np.ndarray, figures: list[Any]
) -> None:
    if spec.filtration == "cubical":
        pytest.importorskip("gudhi")
    store = made(tmp_path, colours, spec)
    draw_explanation(store, 2, tmp_path / "x.png")
    rows = np.reshape(figures[0].axes, (len(store.channels), 3))
    for name, row in zip(store.channels, rows, strict=True):
        plane = next(k for k, colour in enumerate(("red", "green", "blue")) if colour in name)
        assert np.array_equal(row[0].images[0].get_array(), colours[2, ..., plane])
        assert row[0].images[0].get_clim() == (0, 255)
        assert row[0].get_ylabel() == name


def test_signals_show_their_channel(tmp_path: Path, figures: list[Any]) -> None:
    signals = np.random.default_rng(3).random((2, 30, 3))
    store = made(tmp_path, signals, sample="signal")
    draw_explanation(store, 1, tmp_path / "x.png")
    for k, axes in enumerate(figures[0].axes[::3]):
        assert input_of(store, k) == k
        assert np.array_equal(axes.lines[0].get_ydata(), signals[1, :, k])


@pytest.mark.parametrize(
    "image",
    [
        ImageSpec(pixels=9, birth_range=(-1, 2), persistence_range=(0, 0.5)),
        ImageSpec(pixels=1),
        LEGACY,
        LEGACY.replace(birth_range=(-1.0, 1.0)),
    ],
)
def test_pixels_are_centred_on_their_cells(image: ImageSpec) -> None:
    for axis in ("birth", "persistence"):
        low, high = shown_range(image, axis)
        shown = low + (np.arange(image.pixels) + 0.5) * (high - low) / image.pixels
        centres = lower_edges(image, axis) + cell_width(image, axis) / 2
        assert shown == pytest.approx(centres, abs=1e-12)
    if image.grid == "regular":
        assert shown_range(image, "birth") == pytest.approx(image.birth_range)


def test_a_picture_has_the_brightest_pixel_where_its_cell_is(
    tmp_path: Path, figures: list[Any]
) -> None:
    signals = np.tile([0.1, 0.9, 0.1, 0.9], (2, 5)) + np.linspace(0, 0.05, 20)
    store = made(tmp_path, signals, image=LEGACY, sample="signal")
    draw_explanation(store, 0, tmp_path / "x.png")
    shown = figures[0].axes[2].images[0]
    row, column = np.unravel_index(np.argmax(shown.get_array()), (9, 9))
    left, right, low, high = shown.get_extent()
    stored = np.unravel_index(int(store.read("images", [0])[0, 0].argmax()), (9, 9))
    birth, persistence = store.axis("birth")[stored[1]], store.axis("persistence")[stored[0]]
    width = cell_width(LEGACY, "birth")
    assert left + (column + 0.5) * (right - left) / 9 == pytest.approx(birth + width / 2)
    assert low + (row + 0.5) * (high - low) / 9 == pytest.approx(persistence + width / 2)
    assert persistence > 0.5, "persistence runs upwards"


def title(figure: Any) -> str:
    return str(figure.axes[0].get_title())


def test_titles_without_letters_in_any_font_are_numbers(
    tmp_path: Path, figures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.figures.canvas.FONTS", ("DejaVu Sans", "No Such Font"))
    ids = ["plain", "고양이/1.png", "cost $x_$ $", "long/" * 12 + "end.png"]
    store = made(
        tmp_path,
        np.random.default_rng(5).random((4, 30)),
        sample="signal",
        ids=ids,
        labels=np.array([0, 0, 0, 1]),
        label_names=["cat", "개"],
    )
    for sample in range(-3, 4):
        draw_explanation(store, sample, tmp_path / "x.png")
    titles = [title(figure) for figure in figures[3:]]
    assert titles[0] == "plain (cat)"
    assert titles[1] == "sample 1 (cat)"
    assert titles[2] == "cost $x_$ $ (cat)"
    assert titles[3] == "sample 3"
    assert [title(figure) for figure in figures[:3]] == titles[1:]


def test_names_without_letters_in_any_font_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.figures.canvas.FONTS", ("DejaVu Sans", "No Such Font"))
    signals = np.random.default_rng(5).random((2, 30))
    store = made(tmp_path, signals, sample="signal", ids=["plain", "고양이"])
    talk = [
        run(*words, "--png", str(tmp_path / "x.png"), "--cache", str(tmp_path)).stderr
        for words in (("explain", store.key, "0"), ("explain", store.key, "1"))
    ]
    assert "note: " not in talk[0]
    assert "no installed font has the letters of 고양이" in talk[1]
    assert "install one of No Such Font" in talk[1]


def test_a_window_of_which_no_name_can_be_drawn_has_its_number_once(
    tmp_path: Path, figures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.figures.canvas.FONTS", ("DejaVu Sans",))
    (tmp_path / "김.csv").write_text("x,who\n" + "".join(f"{k % 7},사람\n" for k in range(30)))
    options = {"window": "10", "step": "10", "rate": "10", "values": "x", "subject": "who"}
    source = open_source(f"table:{tmp_path / '김.csv'}", **options)
    report = build(source, DiagramSpec(), ImageSpec(pixels=5), root=tmp_path)
    draw_explanation(open_store(report.path), 1, tmp_path / "x.png")
    assert figures[0].get_suptitle() == "sample 1\nfrom 1 s"


def test_long_ids_are_shortened(tmp_path: Path, figures: list[Any]) -> None:
    ids = ["folder/" * 9 + "end.png"]
    store = made(tmp_path, np.eye(1, 9), sample="signal", ids=ids)
    draw_explanation(store, 0, tmp_path / "x.png")
    assert title(figures[0]).startswith("…") and title(figures[0]).endswith("end.png")
    assert len(title(figures[0])) < 35


def test_an_unusable_sample_has_no_image(tmp_path: Path, figures: list[Any]) -> None:
    signals = np.random.default_rng(5).random((2, 30))
    signals[0, 3] = np.inf
    image = ImageSpec(pixels=5, dtype="uint8")
    store = made(tmp_path, signals, image=image, sample="signal")
    draw_explanation(store, 0, tmp_path / "x.png")
    axes = figures[0].axes[2]
    assert not axes.images and axes.texts[0].get_text() == "no image: INF"
    assert title(figures[0]).endswith("(INF)")


def test_a_report_is_drawn_of_samples_from_all_over(
    tmp_path: Path, figures: list[Any], rng: np.random.Generator
) -> None:
    signals = rng.random((LOOKED_AT + 100, 12))
    signals[LOOKED_AT:] += 10  # what lies at the end is seen too
    store: Store = made(tmp_path, signals, sample="signal")
    draw_report(store, tmp_path / "x.png")
    births = figures[0].axes[0].collections[0].get_offsets()[:, 0]
    assert births.max() > 10
    assert figures[0].axes[1].get_title() == f"mean of {LOOKED_AT} samples, all channels"


def test_stores_without_points_or_inputs_are_drawn(tmp_path: Path, figures: list[Any]) -> None:
    store = made(tmp_path, np.full((2, 20), np.nan), sample="signal")
    draw_report(store, tmp_path / "x.png")
    assert figures[0].axes[0].get_title() == "no points"
    draw_explanation(store, 0, tmp_path / "y.png")


def test_a_gallery_shows_different_labels(
    tmp_path: Path, colours: np.ndarray, figures: list[Any]
) -> None:
    store = made(tmp_path, colours, labels=np.array([0, 1, 1, 2]))
    draw_gallery([store], tmp_path / "x.png", samples=3)
    titles = [str(axes.get_title()) for axes in figures[0].axes[::3]]
    assert len({name[-2] for name in titles}) == 3


@pytest.mark.slow
def test_a_picture_of_many_channels_has_an_end(tmp_path: Path, figures: list[Any]) -> None:
    data = np.random.default_rng(5).random((1, 30, MOST_ROWS + 5))
    store = made(tmp_path, data, sample="signal")
    draw_explanation(store, 0, tmp_path / "x.png")
    assert len(figures[0].axes) == 3 * MOST_ROWS
    assert figures[0].get_supxlabel() == f"the first {MOST_ROWS} of {MOST_ROWS + 5} channels"


def test_gramian_fields_of_many_channels_fit_a_page(tmp_path: Path, figures: list[Any]) -> None:
    signals = np.random.default_rng(5).random((1, 20, 16))
    report = build_gramian(
        from_arrays(signals, sample="signal"), GramianSpec(size=6), root=tmp_path
    )
    draw_fields(open_store(report.path), 0, tmp_path / "x.png")
    width, height = figures[0].get_size_inches()
    assert 0.5 < width / height < 2
    named = [axes for axes in figures[0].axes if axes.get_ylabel().startswith("channel")]
    assert sorted(int(axes.get_ylabel()[7:]) for axes in named) == list(range(16))
    titles = [axes.get_title() for axes in figures[0].axes if axes.get_title()]
    assert titles.count("GASF, 6 x 6") == 2, "above each of two columns"


def test_a_page_says_what_is_left_out_of_it(
    tmp_path: Path, figures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in (("MOST_CHANNELS", 2), ("MOST_SUBJECTS", 1), ("MOST_CLASSES", 1)):
        monkeypatch.setattr(f"pipeline.figures.page.{name}", most)
    rows = "".join(f"{k % 7},{k % 5},{k % 3},{k // 10},{k // 20}\n" for k in range(40))
    (tmp_path / "a.csv").write_text("x,y,z,what,who\n" + rows)
    source = open_source(
        f"table:{tmp_path / 'a.csv'}",
        **{"window": "10", "step": "10", "rate": "10", "values": "x,y,z"},
        **{"label": "what", "subject": "who"},
    )
    report = build(source, DiagramSpec(), ImageSpec(pixels=5), root=tmp_path)
    draw_report(open_store(report.path), tmp_path / "x.png")
    labels = {text for axes in figures[0].axes for text in (axes.get_xlabel(), axes.get_ylabel())}
    assert {
        "the first 2 of 3 channels",
        "the first 1 of 2 subjects",
        "the first 1 of 4 classes",
    } <= labels
    titles = [axes.get_title() for axes in figures[0].axes]
    assert any("windows by subject and class: 4 with the status OK" in text for text in titles)
    assert figures[0].get_suptitle() == f"store {report.manifest.key[:12]}: table"
