"""Where the page draws the cells of an image and the points of a diagram, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.serving.browser import chromium, visiting
from tests.serving.lab import serving

SETTING = """
const { drawImage, drawDiagram, square, RIGHT, PLOT_RIGHT } =
  await import(new URL("page/draw.js", document.baseURI));
const SIDE = 300;
const canvas = document.createElement("canvas");
canvas.width = canvas.height = SIDE;
const g = canvas.getContext("2d", { willReadFrequently: true });
const ink = { muted: "#777", edge: "#777", accent: "#00f", bad: "#f00" };
"""
IMAGE = f"""async ([rows, columns, shape, values]) => {{ {SETTING}
  const [down, across] = shape;
  const axis = (ascending) => ({{ low: 0, high: 1, name: "", ascending }});
  const axes = [rows, columns].map(axis);
  const draw = drawImage(Float32Array.from(values), shape, axes, [0, 1], false);
  draw(g, SIDE, SIDE, ink);
  const box = square(SIDE, RIGHT);
  const lit = [];
  for (let row = 0; row < down; row += 1) {{
    for (let column = 0; column < across; column += 1) {{
      const x = box.x + (box.w * (column + 0.5)) / across;
      const y = box.y + (box.h * (row + 0.5)) / down;
      if (g.getImageData(x, y, 1, 1).data[0] > 200) lit.push([row, column]);
    }}
  }}
  return lit;
}}"""
"""The cells that are bright, by rows from the top and columns from the left."""
DIAGRAM = f"""async ([points, range]) => {{ {SETTING}
  const given = points.map((value) => (value === null ? Infinity : value));
  drawDiagram(given, range, {{ birth: "", death: "" }})(g, SIDE, SIDE, ink);
  const {{ data }} = g.getImageData(0, 0, SIDE, SIDE);
  const box = square(SIDE, PLOT_RIGHT);
  const middle = (part) => {{
    let [x, y, count] = [0, 0, 0];
    for (let k = 0; k < SIDE * SIDE; k += 1) {{
      const pixel = data.subarray(4 * k, 4 * k + 4);
      if (pixel[part] < 200 || pixel[2 - part] > 60 || pixel[3] < 100) continue;
      [x, y, count] = [x + (k % SIDE), y + Math.floor(k / SIDE), count + 1];
    }}
    return [(x / count - box.x) / box.w, 1 - (y / count - box.y) / box.h];
  }};
  return [middle(2), middle(0)];
}}"""
"""Where the middle of the blue points and that of the red ones lies, from 0 to 1 on both axes."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("empty")
    with (
        chromium() as browser,
        serving(folder, folder) as served,
        visiting(browser, served.url) as visit,
    ):
        yield visit.open()


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("columns", [True, False])
def test_axes_rise_to_the_top_and_to_the_right(page: Any, rows: bool, columns: bool) -> None:
    stored = [0, 1, 0, 0, 0, 0]  # row 0, column 1 of (3, 2)
    lit = page.evaluate(IMAGE, [rows, columns, [3, 2], stored])
    assert lit == [[2 if rows else 0, 1 if columns else 0]]


@pytest.mark.parametrize(("birth", "death"), [(0.25, 0.75), (0.0, 1.0), (0.5, 0.5)])
def test_a_point_is_drawn_at_its_birth_and_death(page: Any, birth: float, death: float) -> None:
    (x, y), _ = page.evaluate(DIAGRAM, [[birth, death], [0, 1]])
    assert (x, y) == (pytest.approx(birth, abs=0.08), pytest.approx(death, abs=0.08))


def test_an_essential_class_is_drawn_above_every_finite_one(page: Any) -> None:
    (_, finite), (birth, above) = page.evaluate(DIAGRAM, [[0.5, 1, 0.5, None], [0, 1]])
    assert birth == pytest.approx(0.5, abs=0.04)
    assert above > finite + 0.02


def test_an_empty_cache_says_so(page: Any) -> None:
    assert page.get_by_text("There is no store here yet").is_visible()
