"""One of each augmentation and of each filtration: the table of what goes with what.

`contract_table` is what docs/augmentations.md shows; the tests prove each of its cells.
"""

from __future__ import annotations

from collections.abc import Mapping

from pi_cache.specs import FORM_NAMES, FORMS, DiagramSpec, GramianSpec
from training.augment.base import Augmentation
from training.augment.contract import effect_of
from training.augment.corruptions import Corruption
from training.augment.effects import INVALID, Effect
from training.augment.images import SYMMETRIES, Cutout, PadCrop, ShuffleChannels, Symmetry
from training.augment.mixing import CutMix, Mixup
from training.augment.randaugment import RandAugment
from training.augment.signals import (
    GaussianNoise,
    Negate,
    Offset,
    Removal,
    Reverse,
    Scaling,
    Shift,
)

BOTH_AUGMENTATIONS: dict[str, Augmentation] = {
    "shuffle-channels": ShuffleChannels(probability=1.0),
    "mixup": Mixup(),
    "partial mixup": Mixup(kept=0.5),
    "noise level 1": Corruption(kind="noise", level=1),
    "missing level 1": Corruption(kind="missing", level=1),
    "blur level 1": Corruption(kind="blur", level=1),
    "any corruption of level 0": Corruption(),
}
IMAGE_AUGMENTATIONS: dict[str, Augmentation] = {
    **{name: Symmetry(symmetry=name, probability=1.0) for name in SYMMETRIES},
    "pad-crop": PadCrop(),
    "cutout": Cutout(size=4),
    "cutmix": CutMix(),
    "randaugment": RandAugment(),
    **BOTH_AUGMENTATIONS,
}
SIGNAL_AUGMENTATIONS: dict[str, Augmentation] = {
    "reverse": Reverse(probability=1.0),
    "negate": Negate(probability=1.0),
    "offset": Offset(limit=0.5),
    "scaling": Scaling(limit=0.5),
    "removal": Removal(share=0.5),
    "noise": GaussianNoise(),
    **{f"shift, {fill}": Shift(share=0.3, fill=fill) for fill in ("edge", "zero", "wrap")},
    **BOTH_AUGMENTATIONS,
}

IMAGE_SPECS: dict[str, DiagramSpec] = {
    **{
        f"{filtration} of {scan}": DiagramSpec(filtration=filtration, scan=scan)
        for filtration in ("sublevel", "superlevel")
        for scan in ("rows", "columns", "both")
    },
    **{
        f"cubical, {construction}": DiagramSpec(filtration="cubical", construction=construction)
        for construction in ("cells", "vertices")
    },
    **{
        f"rips, {metric}": DiagramSpec(filtration="rips", metric=metric)
        for metric in ("euclidean", "manhattan", "chebyshev", "cosine")
    },
}
SIGNAL_SPECS: dict[str, DiagramSpec] = {
    **{
        filtration + (", centred" if centre else ""): DiagramSpec(
            filtration=filtration, centre=centre, scale=2.0 if centre else 1.0
        )
        for filtration in ("sublevel", "superlevel")
        for centre in (False, True)
    },
    **{
        f"rips, {metric}" + (", centred" if centre else ""): DiagramSpec(
            filtration="rips",
            embedding_dimension=3,
            embedding_delay=2,
            metric=metric,
            centre=centre,
        )
        for metric in ("euclidean", "manhattan", "chebyshev", "cosine")
        for centre in (False, True)
    },
}
RANGES: dict[str, str | tuple[float, float]] = {
    "own range": "window",
    "range -8,8": (-8.0, 8.0),
    "range -8,6": (-8.0, 6.0),
}
GRAMIAN_SPECS = {
    f"{FORM_NAMES[form]}, {name}": GramianSpec(form=form, range=between, size=20)
    for form in FORMS
    for name, between in RANGES.items()
}


def word(effect: Effect) -> str:
    """One cell of the table."""
    if effect.kind != INVALID:
        return effect.kind if effect.exact else f"{effect.kind} ~"
    if effect.variant:
        return "invalid, variant"
    return "invalid, moved points" if effect.rendered else INVALID


def contract_table(table: str) -> str:
    """The table of `image`, `signal` or `gramian`, as Markdown: a row for each augmentation.

    Filtrations that go with every augmentation in the same way share a column.
    """
    tables: dict[str, tuple[dict[str, Augmentation], Mapping[str, DiagramSpec | GramianSpec]]] = {
        "image": (IMAGE_AUGMENTATIONS, IMAGE_SPECS),
        "signal": (SIGNAL_AUGMENTATIONS, SIGNAL_SPECS),
        "gramian": (SIGNAL_AUGMENTATIONS, GRAMIAN_SPECS),
    }
    augmentations, specs = tables[table]
    sample = "image" if table == "image" else "signal"
    columns = {
        name: tuple(word(effect_of(each, spec, sample)) for each in augmentations.values())
        for name, spec in specs.items()
    }
    return _markdown(list(augmentations), _merged(columns))


def _merged(columns: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Columns of the same cells as one, under all their names."""
    names: dict[tuple[str, ...], list[str]] = {}
    for name, cells in columns.items():
        names.setdefault(cells, []).append(name)
    return {"; ".join(found): cells for cells, found in names.items()}


def _markdown(rows: list[str], columns: Mapping[str, tuple[str, ...]]) -> str:
    lines = ["| augmentation | " + " | ".join(columns) + " |", "| --- " * (1 + len(columns)) + "|"]
    for name, cells in zip(rows, zip(*columns.values(), strict=True), strict=True):
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """A page of Markdown whose tables, each between `<!-- table: NAME -->` and an end, are new."""
    for name in ("image", "signal", "gramian"):
        before, begin, rest = page.partition(f"<!-- table: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        page = before + begin + contract_table(name) + "\n" + end + after
    return page
