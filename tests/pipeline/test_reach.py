"""What a window can show, against points that are drawn one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pi_cache.specs import DiagramSpec, ImageSpec
from pipeline.images import render
from pipeline.reach import Reach, gap_share, known_values, lit_share, outside, window_warnings
from pipeline.recipes import find_recipe, told_parts, warnings_for
from pipeline.sources.arrays import from_arrays

SUBLEVEL, SUPERLEVEL = DiagramSpec(), DiagramSpec(filtration="superlevel")
UNIT = (0.0, 1.0)
PUBLISHED = find_recipe("tda-kd-pamap2")
CORRECTED = find_recipe("tda-kd-pamap2-corrected")


def reach_of(diagram: DiagramSpec, image: ImageSpec, values: tuple[float, float] = UNIT) -> Reach:
    found = Reach.of(values, diagram, image)
    assert found is not None
    return found


def lit_slowly(diagram: DiagramSpec, image: ImageSpec, values: tuple[float, float]) -> float:
    """The share of pixels that any one point lights as a byte: every birth and death is tried."""
    grid = np.linspace(*values, 60)
    born, died = (a.reshape(-1) for a in np.meshgrid(grid, grid))
    rising = diagram.filtration != "superlevel"
    keep = died - born > image.threshold if rising else born - died > image.threshold
    points = np.column_stack([born, died])[keep]
    images = render(points, np.arange(len(points) + 1), image.replace(dtype="uint8"))
    return float((images > 0).any(axis=0).mean())


@pytest.mark.parametrize(
    ("diagram", "image", "values"),
    [
        (SUBLEVEL, PUBLISHED.image, UNIT),
        (SUBLEVEL, CORRECTED.image, UNIT),
        (SUBLEVEL, ImageSpec(pixels=40, sigma=0.02, birth_range=(-0.5, 2.0)), (0.25, 1.5)),
        (SUPERLEVEL, ImageSpec(pixels=40, sigma=0.02, birth_range=(-0.5, 2.0)), (0.25, 1.5)),
        (SUPERLEVEL, ImageSpec(pixels=50, sigma=0.01), UNIT),
    ],
    ids=["published", "corrected", "wide", "falling", "unit"],
)
def test_the_share_of_lit_pixels_is_that_of_points_drawn_one_by_one(
    diagram: DiagramSpec, image: ImageSpec, values: tuple[float, float]
) -> None:
    slow = lit_slowly(diagram, image, values)
    assert slow <= lit_share(reach_of(diagram, image, values), image) < slow + 0.1


def test_the_corrected_recipe_lights_almost_twice_as_many_pixels() -> None:
    assert PUBLISHED.lit is not None and CORRECTED.lit is not None
    assert 1.7 < CORRECTED.lit / PUBLISHED.lit < 2
    assert lit_slowly(SUBLEVEL, CORRECTED.image, UNIT) > 1.7 * lit_slowly(
        SUBLEVEL, PUBLISHED.image, UNIT
    )


def test_half_of_the_published_birth_axis_shows_nothing_and_half_is_gaps() -> None:
    empty, gaps = window_warnings(UNIT, PUBLISHED.diagram, PUBLISHED.image)
    assert empty.startswith("no birth can lie in -1..0, 50% of the birth axis -1..1")
    assert "cover 49% of the birth axis" in gaps
    assert gap_share(PUBLISHED.image, "birth") == pytest.approx(1 - 63 / 128)
    assert gap_share(PUBLISHED.image, "persistence") == pytest.approx(1 / 64)
    assert gap_share(PUBLISHED.image.replace(pixels=1), "birth") == 0
    assert window_warnings(UNIT, CORRECTED.diagram, CORRECTED.image) == []


@pytest.mark.parametrize(
    ("values", "diagram", "image", "words"),
    [
        (UNIT, SUBLEVEL, {}, []),
        (None, SUBLEVEL, {"birth_range": (-9, 9)}, []),
        (UNIT, DiagramSpec(filtration="rips"), {"birth_range": (-9, 9)}, []),
        (UNIT, SUBLEVEL, {"birth_range": (-0.05, 1.0)}, []),
        (UNIT, SUBLEVEL, {"birth_range": (-0.5, 1.5)}, ["in -0.5..0 and 1..1.5, 50% of"]),
        (UNIT, SUBLEVEL, {"persistence_range": (0.0, 4.0)}, ["persistence can lie in 1..4, 75%"]),
        (UNIT, SUBLEVEL, {"persistence_range": (0, 4), "essential": "clip:4"}, []),
        (UNIT, SUPERLEVEL, {"persistence_range": (0, 4), "essential": "clip:-3"}, []),
        (UNIT, SUBLEVEL, {"birth_range": (0.0, 0.6)}, []),
        (UNIT, SUBLEVEL, {"birth_range": (0.0, 0.3)}, ["births can lie in 0..1: 70% of that"]),
        ((-1.0, 1.0), DiagramSpec(centre=True), {"birth_range": (0.0, 0.3)}, []),
    ],
)  # fmt: skip
def test_what_is_told_of_a_window(
    values: Any, diagram: DiagramSpec, image: dict[str, Any], words: list[str]
) -> None:
    told = window_warnings(values, diagram, ImageSpec(**image))
    assert len(told) == len(words), told
    assert all(word in line for word, line in zip(words, told, strict=True))


def test_shares_of_one_interval_in_another() -> None:
    assert outside((0, 4), (1, 2)) == 0.75
    assert outside((0, 4), (5, 6)) == outside((0, 4), (-2, -1)) == 1
    assert outside((1, 2), (0, 4)) == 0


def test_the_range_of_values_is_known_where_it_is_scaled() -> None:
    photographs = from_arrays(np.zeros((2, 3, 3, 1), np.uint8))
    windows = from_arrays(np.zeros((2, 9, 1)), sample="signal")
    assert known_values(photographs, SUBLEVEL) == UNIT
    assert known_values(windows, SUBLEVEL) is None
    for scale, values in {"published": UNIT, "fitted:minmax": UNIT, "fitted:zscore": None}.items():
        object.__setattr__(windows, "options", {"scale": scale})
        assert known_values(windows, SUBLEVEL) == values
    object.__setattr__(windows, "options", {"scale": "published"})
    assert known_values(windows, DiagramSpec(centre=True, scale=2.0)) == (-0.5, 0.5)


def test_windows_of_another_scale_than_the_recipe_s_are_told() -> None:
    windows = from_arrays(np.zeros((2, 9, 1)), sample="signal")
    given = windows, CORRECTED.diagram, CORRECTED.image
    assert warnings_for(CORRECTED, *given) == []
    object.__setattr__(windows, "options", {"scale": "none"})
    (line,) = warnings_for(CORRECTED, *given)
    assert line.startswith("this recipe is for values in 0..1, which scale=none does not give")
    lines = warnings_for(PUBLISHED, windows, PUBLISHED.diagram, PUBLISHED.image)
    assert not any("can lie in" in line for line in lines), "of such values that is not known"
    assert told_parts(PUBLISHED, windows, PUBLISHED.diagram, PUBLISHED.image) == {}
    object.__setattr__(windows, "options", {"scale": "published"})
    assert warnings_for(CORRECTED, *given) == []
    first, *_ = warnings_for(PUBLISHED, windows, PUBLISHED.diagram, PUBLISHED.image)
    assert first.endswith("tda-kd-pamap2-corrected is the same without that")
    told = told_parts(PUBLISHED, windows, PUBLISHED.diagram, PUBLISHED.image)
    assert told == {"birth": [(-1.0, 0.0)]}
    mended = PUBLISHED.image.replace(grid="regular", birth_range=UNIT)
    assert warnings_for(PUBLISHED, windows, PUBLISHED.diagram, mended) == []
