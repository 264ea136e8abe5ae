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

SIGNAL = f"""async ([values, units, front]) => {{ {SETTING}
  const {{ drawSignal, drawnChannels }} =
    await import(new URL("page/draw.js", document.baseURI));
  const shown = drawnChannels(units, front);
  const said = [];
  g.fillText = (text) => said.push(text);
  const shape = [values.length / units.length, units.length];
  const bottom = {{ low: 0, high: 1, name: "" }};
  drawSignal(Float32Array.from(values), shape, shown, {{ bottom, name: "" }})(g, SIDE, SIDE, ink);
  return [shown, said];
}}"""
"""The channels that are drawn, and what the axes say."""
NAMED = f"""async ([width, name]) => {{ {SETTING}
  const {{ tallImage }} = await import(new URL("page/draw.js", document.baseURI));
  let lowest = 0;
  let said = "";
  g.font = "11px sans-serif";
  g.fillText = (text, x, y) => {{
    if (g.getTransform().b !== 0) return; // upright
    lowest = Math.max(lowest, g.getTransform().f + y + 11);
    said += text;
  }};
  const axes = [0, 1].map(() => ({{ low: 0, high: 0.306, name, ascending: true }}));
  const tall = tallImage(width);
  drawImage(Float32Array.from([0, 1]), [1, 2], axes, [0, 1], false)(g, width, tall, ink);
  return [tall - lowest, said];
}}"""
"""How far above the lower edge the name of the axis at the bottom ends, and what is said there."""


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


def test_an_axis_has_channels_of_one_unit_only(page: Any) -> None:
    shown, said = page.evaluate(SIGNAL, [[1, 900, 2, 3, -800, 2.5], ["g", "deg/s", "g"], 2])
    assert shown == [0, 2], "the one of the image last, and so in front"
    assert {"1", "3"} <= set(said), "and the ends of the axis are those of what is drawn"
    shown, _ = page.evaluate(SIGNAL, [list(range(80)), [""] * 40, 39])
    assert shown == [*range(11), 39], "a few of many"


@pytest.mark.parametrize("width", [120, 165, 185, 205, 230, 300])
def test_the_name_of_an_axis_lies_within_its_picture(page: Any, width: int) -> None:
    room, said = page.evaluate(NAMED, [width, "birth [intensity]"])
    assert room >= 0
    assert "birth" in said


def test_an_empty_cache_says_so(page: Any) -> None:
    assert page.get_by_text("There is no store here yet").is_visible()
