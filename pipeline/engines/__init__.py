"""Who computes diagrams: this project's kernels and three libraries, a module each.

This room is the only importer of topology libraries, and imports one when it is asked for. Every
engine gives the same diagrams in the same form, up to the precision in which it holds lengths.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from pi_cache.errors import EngineNotInstalled, InvalidSpec
from pi_cache.specs import CONSTRUCTIONS, FILTRATIONS, METRICS, PRECOMPUTED, DiagramSpec


@dataclass(frozen=True, kw_only=True)
class Cover:
    """What an engine does of one filtration.

    homology: the highest dimension. largest: values of a signal, pixels of an image or points of a
    cloud, at most; of a cloud, that is where `max_length` leaves hardly an edge, and `limits` says
    how many edges have room. single: values are held as float32.
    constructions: what a pixel can be. metrics: lengths between points.
    """

    homology: int
    largest: int
    single: bool = False
    constructions: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine and what it covers, by filtration.

    libraries: the packages that compute, as they are installed. install: the line that does.
    notes: what else a user should know.
    """

    name: str
    summary: str
    licence: str
    covers: Mapping[str, Cover]
    libraries: tuple[str, ...] = ()
    install: str = 'pip install "pi-cache[pipeline]"'
    notes: tuple[str, ...] = field(default=())

    def versions(self) -> dict[str, str]:
        """Of its libraries, where they are installed."""
        found = {}
        for name in self.libraries:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
        return found


_PATHS = ("sublevel", "superlevel")
_RIPS_METRICS = (*METRICS, PRECOMPUTED)


def _paths(largest: int, *, single: bool = False) -> dict[str, Cover]:
    return {name: Cover(homology=0, largest=largest, single=single) for name in _PATHS}


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            name="native",
            summary="this project's own kernels; many fields at a time",
            licence="MIT",
            covers={
                **_paths(2**27),
                "cubical": Cover(homology=1, largest=2**24, constructions=CONSTRUCTIONS),
                "rips": Cover(homology=1, largest=8192, single=True, metrics=_RIPS_METRICS),
            },
            libraries=("numba",),
        ),
        Engine(
            name="ripser",
            summary="ripser.py",
            licence="MIT",
            covers={
                **_paths(2**24, single=True),
                "rips": Cover(homology=2, largest=16_000, single=True, metrics=_RIPS_METRICS),
            },
            libraries=("ripser",),
        ),
        Engine(
            name="gudhi",
            summary="GUDHI, with edge collapse",
            licence="MIT, for the parts that are used here",
            covers={
                **_paths(2**24),
                "cubical": Cover(homology=1, largest=2**24, constructions=CONSTRUCTIONS),
                "rips": Cover(homology=2, largest=75_000, metrics=_RIPS_METRICS),
            },
            libraries=("gudhi",),
            install='pip install "pi-cache[gudhi]"',
        ),
        Engine(
            name="giotto",
            summary="giotto-tda for paths and cells, giotto-ph for rips",
            licence="AGPL-3.0",
            covers={
                **_paths(2**24),
                "cubical": Cover(homology=1, largest=2**24, constructions=("cells",)),
                "rips": Cover(homology=2, largest=23_000, single=True, metrics=_RIPS_METRICS),
            },
            libraries=("giotto-tda", "giotto-ph"),
            install='pip install "pi-cache[giotto]" (AGPL-3.0; Python 3.12 or older, numpy < 2)',
            notes=(
                "no release works with numpy 2 or Python 3.13: give it an environment of its own, "
                "which reads and writes the same stores",
            ),
        ),
    )
}
"""The engines by name."""


def engine_of(spec: DiagramSpec) -> Engine:
    """The engine of the spec, its library imported.

    Raises InvalidSpec where the engine does not cover the spec, naming those that do, the installed
    ones first, and EngineNotInstalled with the line that installs it.
    """
    engine = ENGINES[spec.engine]
    lack = missing(engine, spec)
    if lack is not None:
        others = [other.name for other in ENGINES.values() if missing(other, spec) is None]
        others.sort(key=installed, reverse=True)
        use = f"use {_or([marked(name) for name in others])}" if others else "nor does another one"
        raise InvalidSpec(f"engine {engine.name} does not compute {lack}; {use}")
    module_of(engine)
    return engine


def missing(engine: Engine, spec: DiagramSpec) -> str | None:
    """What of the spec the engine does not cover, in words; None where it covers all."""
    cover = engine.covers.get(spec.filtration)
    if cover is None:
        return spec.filtration
    if max(spec.homology) > cover.homology:
        return f"{spec.filtration} homology H{max(spec.homology)}"
    if spec.construction is not None and spec.construction not in cover.constructions:
        return f"{spec.filtration} {spec.construction}"
    if spec.filtration == "rips" and spec.metric not in cover.metrics:
        return f"rips of metric {spec.metric}"
    return None


def lacks(engine: Engine) -> list[str]:
    """What an engine does not cover of all that a spec can ask for, in words."""
    specs = [
        *(DiagramSpec(filtration=name) for name in FILTRATIONS),
        *(DiagramSpec(filtration="cubical", construction=name) for name in CONSTRUCTIONS),
        DiagramSpec(filtration="rips", homology=(2,)),
    ]
    found = (missing(engine, spec) for spec in specs)
    return list(dict.fromkeys(lack for lack in found if lack is not None))


def module_of(engine: Engine) -> ModuleType:
    """The module of this room that computes, its library imported. Raises EngineNotInstalled."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries warn of their own dependencies
            return import_module(f"{__name__}.{engine.name}")
    except ImportError as error:
        if (error.name or "").startswith("pipeline"):
            raise  # a mistake of ours
        raise EngineNotInstalled(
            f"engine {engine.name} is not installed ({error}); {engine.install}"
        ) from None


def installed(name: str) -> bool:
    """Whether the engine of that name can be used here."""
    try:
        module_of(ENGINES[name])
    except EngineNotInstalled:
        return False
    return True


def marked(name: str) -> str:
    """The name of an engine for a remedy: what is not installed is marked so."""
    return name if installed(name) else f"{name} (not installed)"


def holds_single(spec: DiagramSpec) -> bool:
    """Whether the engine of the spec holds lengths or values as float32."""
    cover = ENGINES[spec.engine].covers.get(spec.filtration)
    return cover is not None and cover.single


def _or(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
