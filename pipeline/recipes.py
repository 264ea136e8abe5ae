"""Named, exact recipes of published work, and the defaults of this project.

A recipe is a diagram spec and an image spec, with where they come from. `published` is what the
source states or its released code does; `chosen` is what it leaves open and we had to fix. What its
window cannot show follows from the specs (`pipeline.reach`); `traps` are what does not.
`describe_diagram` and `describe_image` put any two specs in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pi_cache.errors import InvalidSpec
from pi_cache.nearest import hint
from pi_cache.specs import DiagramSpec, ImageSpec, differences
from pipeline.engines import holds_single
from pipeline.reach import (
    Interval,
    Reach,
    known_values,
    lit_share,
    text_of,
    unused_parts,
    window_warnings,
)
from pipeline.sources.base import Source

CHANGED = ", changed"
"""What follows the name of a recipe in a store that was made by it and in part otherwise."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How published persistence images were made, or, for `default`, how we make ours.

    values: the range that the filtered values have, where the source states it. traps: what goes
    wrong with these images, found by others or by us. corrected: the recipe without the faults of
    the window. also: other values of a field, by its dotted name, that are the recipe too; () for
    any.
    """

    name: str
    sample: str
    summary: str
    citation: str
    published: tuple[str, ...]
    chosen: tuple[str, ...] = ()
    diagram: DiagramSpec
    image: ImageSpec
    values: Interval | None = None
    traps: tuple[str, ...] = ()
    corrected: str = ""
    also: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """What to know before using it: of its window, as the specs tell, and its traps."""
        return [*_of_window(self, self.values, self.diagram, self.image), *self.traps]

    @property
    def lit(self) -> float | None:
        """The share of its pixels that a point can light, None where that does not follow."""
        reach = None if self.values is None else Reach.of(self.values, self.diagram, self.image)
        return None if reach is None else lit_share(reach, self.image)


def _legacy(**changes: object) -> ImageSpec:
    """An image as scikit-tda's PersImage made it, divided by its own maximum."""
    return ImageSpec(
        grid="legacy-persim",
        weight="relative",
        normalise="own-max",
        row_order="descending",
        **changes,  # type: ignore[arg-type]
    )


_LEGACY_GRID = (
    "image: scikit-tda PersImage (its cells do not tile the window), weight persistence / largest "
    "persistence, highest persistence in row 0, divided by its own maximum"
)
_AS_RELEASED = {"image.dtype": ("float64",)}
_SINGLE = "values rounded to single precision before the topology, as ripser does"
_UNIT = (0.0, 1.0)
_PAMAP2_TRAPS = (
    "each image is divided by its own maximum, so a nearly flat channel looks as strong as a lively"
    " one; --normalise dataset-max keeps amplitudes",
    "windows=published cuts windows across dropped rows, as published; add gaps=cut for none",
    "subject 109 has 92 windows of one class, so its fold says little",
)

_PAMAP2_DIAGRAM = DiagramSpec(filtration="sublevel", precision="float32")

_RECIPES = (
    Recipe(
        name="default",
        sample="image",
        summary="the defaults: sub-level H0 of rows, one unit window, regular grid",
        citation="Adams et al., Persistence images, JMLR 18(8), 2017",
        published=("image: exact integrals over cells, linear weight (section 4)",),
        chosen=("window 0..1 on both axes", "sigma 0.05", "divided by its own maximum"),
        diagram=DiagramSpec(),
        image=ImageSpec(),
    ),
    Recipe(
        name="pi-net-cifar10",
        sample="image",
        summary="the 20 sample images released with PI-Net: sub-level H0 of rows, 3 channels",
        citation="Som et al., PI-Net, CVPR Workshops 2020, arXiv 1906.01769",
        published=(
            "each channel in [0, 1], read row by row as one signal of 1,024 values",
            _SINGLE,
            "pairs of persistence over 0.005",
            _LEGACY_GRID,
            "50 x 50 pixels, sigma 0.05, window 0..1",
        ),
        chosen=("stored as float32; the release holds float64",),
        traps=(
            "JPEG copies of CIFAR-10 give other images (mean correlation 0.94 with those of the"
            " lossless data): use the binary release",
        ),
        diagram=DiagramSpec(filtration="sublevel", scan="rows", precision="float32"),
        image=_legacy(pixels=50, sigma=0.05, threshold=0.005, dtype="float32"),
        values=_UNIT,
        also=_AS_RELEASED,
    ),
    Recipe(
        name="pi-net-paper-rips",
        sample="image",
        summary="the text of PI-Net: H1 of the cloud (x, y, intensity) of each channel",
        citation="Som et al., PI-Net, CVPR Workshops 2020, arXiv 1906.01769, section 3",
        published=(
            "each channel is a cloud of 1,024 points (x, y, intensity)",
            "Vietoris-Rips homology of dimension 1, 50 x 50 pixels",
            "its released images were not made this way: see pi-net-cifar10",
        ),
        chosen=(
            "x, y and intensity all run from 0 to 1",
            "window: birth 0..0.3, persistence 0..0.15",
            "sigma 0.01, linear weight, regular grid, divided by its own maximum",
        ),
        diagram=DiagramSpec(filtration="rips", homology=(1,)),
        image=ImageSpec(
            pixels=50, birth_range=(0.0, 0.3), persistence_range=(0.0, 0.15), sigma=0.01
        ),
    ),
    Recipe(
        name="tgd-cifar10",
        sample="image",
        summary="topology-guided distillation: sub-level H0 of rows and of columns, 6 channels",
        citation="Jeon et al., TGD, GRaM workshop at ICML 2024, arXiv 2407.05316",
        published=(
            "each channel divided by 255, read row by row (first 3 channels) and column by column",
            _SINGLE,
            "pairs of persistence over 0.02",
            _LEGACY_GRID,
            "50 x 50 pixels, sigma 0.01, window 0..0.3, 255 times the value truncated to uint8",
            "columns are truly columns; the released notebook's transpose has no effect",
        ),
        traps=(
            "the window holds 34 % of the points of 20 lossless CIFAR-10 images, and 1 to 2 % of"
            " the channels are so faint in it that their own maximum is rounding noise: --floor"
            " 1e-6 makes those zeros",
            "JPEG copies of CIFAR-10 give other images (mean correlation 0.45 with those of the"
            " lossless data): use the binary release",
        ),
        diagram=DiagramSpec(filtration="sublevel", scan="both", precision="float32"),
        image=_legacy(
            pixels=50,
            birth_range=(0.0, 0.3),
            persistence_range=(0.0, 0.3),
            sigma=0.01,
            threshold=0.02,
            dtype="uint8",
            rounding="truncate",
        ),
        values=_UNIT,
    ),
    Recipe(
        name="tda-kd-pamap2",
        sample="signal",
        summary="TDA_KD on PAMAP2: sub-level H0 of each of 40 sensor channels",
        citation="Jeon et al., Asilomar 2022; TPKD, EAAI 2024, arXiv 2407.05315",
        published=(
            "windows of 100 samples, each channel scaled by fixed constants to [0, 1] beforehand",
            _SINGLE,
            "pairs of persistence over 0.01",
            _LEGACY_GRID,
            "64 x 64 pixels, sigma 0.015, birth -1..1, persistence 0..1",
        ),
        chosen=("stored as float32; the release holds float64",),
        traps=_PAMAP2_TRAPS,
        diagram=_PAMAP2_DIAGRAM,
        image=_legacy(
            pixels=64, birth_range=(-1.0, 1.0), sigma=0.015, threshold=0.01, dtype="float32"
        ),
        values=_UNIT,
        corrected="tda-kd-pamap2-corrected",
        also=_AS_RELEASED,
    ),
    Recipe(
        name="tda-kd-pamap2-corrected",
        sample="signal",
        summary="tda-kd-pamap2 with a window that fits its signals (not published)",
        citation="Jeon et al., Asilomar 2022; TPKD, EAAI 2024, arXiv 2407.05315; window by us",
        published=(
            "windows of 100 samples, each channel scaled by fixed constants to [0, 1] beforehand",
            _SINGLE,
            "pairs of persistence over 0.01",
            "weight persistence / largest persistence, highest persistence in row 0, divided by its"
            " own maximum",
            "64 x 64 pixels, sigma 0.015, persistence 0..1",
        ),
        chosen=(
            "birth 0..1, not -1..1: signals scaled to [0, 1] have no birth below 0",
            "regular grid, whose cells tile the window; those of PersImage leave half of -1..1 out",
            "sigma and pixels stay: a cell is 1/64 wide on both axes, as published (there the width"
            " follows from the upper end alone), and sigma is 0.96 of it in both",
            "stored as float32",
        ),
        traps=_PAMAP2_TRAPS,
        diagram=_PAMAP2_DIAGRAM,
        image=ImageSpec(
            pixels=64,
            sigma=0.015,
            threshold=0.01,
            weight="relative",
            normalise="own-max",
            row_order="descending",
            dtype="float32",
        ),
        values=_UNIT,
        also=_AS_RELEASED,
    ),
    Recipe(
        name="sublevel-set-tda",
        sample="signal",
        summary="the demonstration signals of Sublevel-Set-TDA, with published diagrams and images",
        citation="itsmeafra/Sublevel-Set-TDA (MIT), commit 47f6000",
        published=(
            "signals minus their mean, divided by the largest magnitude of all signals beforehand "
            "(or here, with --centre --scale VALUE)",
            _SINGLE,
            "pairs of persistence over 0.001 in the diagrams, over 0.08 in the images",
            _LEGACY_GRID,
            "100 x 100 pixels, sigma 0.015, birth -0.7..0.7, persistence 0..0.7",
        ),
        chosen=("stored as float32; the release holds float64",),
        diagram=DiagramSpec(filtration="sublevel", precision="float32", min_persistence=1e-3),
        image=_legacy(
            pixels=100,
            birth_range=(-0.7, 0.7),
            persistence_range=(0.0, 0.7),
            sigma=0.015,
            threshold=0.08,
            dtype="float32",
        ),
        values=(-1.0, 1.0),
        also={**_AS_RELEASED, "diagram.centre": (True,), "diagram.scale": ()},
    ),
)

RECIPES = {recipe.name: recipe for recipe in _RECIPES}


def warnings_for(
    recipe: Recipe, source: Source, diagram: DiagramSpec, image: ImageSpec
) -> list[str]:
    """What to know before images of a source are made by a recipe, or by what was made of it.

    Where the range of the values is not known it is taken to be the recipe's, unless the source
    says that they were scaled otherwise.
    """
    found = _of_window(recipe, _values_of(recipe, source, diagram), diagram, image)
    known, scale = known_values(source, diagram), source.options.get("scale")
    if recipe.values and _scaled_otherwise(source, diagram):
        found.append(
            f"this recipe is for values in {text_of(recipe.values)}, which scale={scale} does not"
            " give; see scale in `pipeline sources`"
        )
    if known is not None and scale == "fitted:minmax" and found:
        found.append(
            f"scale={scale} gives {text_of(known)} to the part that it was fitted on; others may"
            " leave it: pipeline report counts their points"
        )
    return found


def _scaled_otherwise(source: Source, diagram: DiagramSpec) -> bool:
    """Whether values were scaled, or not, by a rule that leads to no known range."""
    known = known_values(source, diagram)
    return known is None and source.options.get("scale") is not None and diagram.scale == 1.0


def _values_of(recipe: Recipe, source: Source, diagram: DiagramSpec) -> Interval | None:
    """The range of the values that are filtered, as far as it is known."""
    if _scaled_otherwise(source, diagram):
        return None
    return known_values(source, diagram) or recipe.values


def told_parts(
    recipe: Recipe, source: Source, diagram: DiagramSpec, image: ImageSpec
) -> dict[str, list[Interval]]:
    """The parts of each axis of which `warnings_for` says that no point can lie in them."""
    values = _values_of(recipe, source, diagram)
    reach = None if values is None else Reach.of(values, diagram, image)
    return {} if reach is None else unused_parts(reach, image)


def _of_window(
    recipe: Recipe, values: Interval | None, diagram: DiagramSpec, image: ImageSpec
) -> list[str]:
    hint = f"; {recipe.corrected} is the same without that" if recipe.corrected else ""
    return window_warnings(values, diagram, image, hint)


def find_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises InvalidSpec with the nearest name."""
    if name not in RECIPES:
        raise InvalidSpec(f"no recipe {name!r}{hint(name, RECIPES)}; recipes: {', '.join(RECIPES)}")
    return RECIPES[name]


def recorded_name(name: str, diagram: DiagramSpec, image: ImageSpec) -> str:
    """The name under which a store of these specs keeps a recipe: with CHANGED unless it is that.

    name: as it was asked for. A name that is no recipe's stays as it is.
    """
    recipe = RECIPES.get(name)
    if recipe is None or not changes_of(recipe, diagram, image):
        return name
    return name + CHANGED


def bare_name(recorded: str) -> str:
    """The name of the recipe that a store keeps, changed or not."""
    return recorded.removesuffix(CHANGED)


def changes_of(recipe: Recipe, diagram: DiagramSpec, image: ImageSpec) -> dict[str, Any]:
    """The values of the fields in which specs differ from a recipe, by dotted name."""
    found = differences(recipe.diagram, diagram, "diagram.")
    found |= differences(recipe.image, image, "image.")
    also: Mapping[str, tuple[Any, ...]] = recipe.also
    if recipe.diagram.scan is None:
        also = {"diagram.scan": ("rows",), **also}  # what a spec of images resolves none to
    return {
        name: theirs
        for name, (_, theirs) in found.items()
        if name not in also or (also[name] and theirs not in also[name])
    }


def describe_diagram(spec: DiagramSpec, channels: Sequence[str] = ()) -> list[str]:
    """The way from a sample to its diagrams, in words; and their names, where they are known."""
    what = {
        "sublevel": "sub-level sets of a path graph",
        "superlevel": "super-level sets of a path graph",
        "cubical": f"cubical sub-level sets, pixels as {spec.construction}",
        "rips": _rips_words(spec),
    }[spec.filtration]
    scan = {
        None: "",
        "rows": ", each channel read row by row",
        "columns": ", each channel read column by column",
        "both": ", each channel read row by row and column by column",
    }[spec.scan]
    lines = [f"{what}{scan}; homology {', '.join(f'H{k}' for k in spec.homology)}"]
    if spec.embedding_dimension is not None:
        lines.append(
            f"delay embedding of dimension {spec.embedding_dimension}, delay {spec.embedding_delay}"
        )
    if spec.centre or spec.scale != 1.0:
        lines.append(f"{'mean subtracted, then ' if spec.centre else ''}divided by {spec.scale:g}")
    engine = "giotto-ph" if (spec.engine, spec.filtration) == ("giotto", "rips") else spec.engine
    computed = f"computed by the {engine} engine"
    if holds_single(spec):
        does = "holds lengths" if engine == "native" else "computes"
        computed = f"{engine} {does} in single precision"
    lines.append(
        f"values rounded to {spec.precision} first; {computed}; "
        f"pairs of persistence over {spec.min_persistence:g} kept"
    )
    if channels:
        lines.append(f"{len(channels)} channels: {', '.join(channels)}")
    return lines


def _rips_words(spec: DiagramSpec) -> str:
    what = {
        "euclidean": "a cloud",
        "precomputed": "a distance matrix",
    }.get(spec.metric, f"a cloud under the {spec.metric} metric")
    longest = "" if spec.max_length is None else f", edges up to {spec.max_length:g}"
    return f"Vietoris-Rips complexes of {what}{longest}"


def describe_image(spec: ImageSpec) -> list[str]:
    """The way from a diagram to its image, in words."""
    birth, persistence = spec.birth_range, spec.persistence_range
    order = "lowest" if spec.row_order == "ascending" else "highest"
    stored = f"{spec.dtype}, {spec.rounding}" if spec.dtype == "uint8" else spec.dtype
    return [
        f"{spec.pixels} x {spec.pixels} pixels, birth {birth[0]:g}..{birth[1]:g} (columns), "
        f"persistence {persistence[0]:g}..{persistence[1]:g} (rows, {order} first), "
        f"{spec.grid} grid",
        f"Gaussian of standard deviation {spec.sigma:g} integrated over each cell, weight "
        f"{spec.weight}; persistence over {spec.threshold:g}; essential classes: {spec.essential}",
        f"normalised: {spec.normalise}; stored as {stored}",
    ]
