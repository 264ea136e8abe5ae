"""The engines for people: what is installed, what each covers, and what it cannot do here."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from pi_cache.errors import EngineNotInstalled
from pi_cache.specs import DiagramSpec
from pipeline.engines import ENGINES, Cover, Engine, lacks, module_of
from pipeline.engines.limits import largest_whole

UNIT = {"cubical": "pixels", "rips": "points"}


def describe_engines() -> list[dict[str, Any]]:
    """What is known of each engine, as plain values; imports every one that is installed.

    problem: why it cannot be used here, with the remedy; "" where it can.
    """
    return [_describe(engine) for engine in ENGINES.values()]


def _describe(engine: Engine) -> dict[str, Any]:
    problem = ""
    try:
        module_of(engine)
    except EngineNotInstalled as error:
        problem = str(error)
        if engine.notes:
            problem += f"; numpy here is {version('numpy')}"
    return {
        "name": engine.name,
        "summary": engine.summary,
        "installed": not problem,
        "versions": engine.versions(),
        "licence": engine.licence,
        "covers": {name: asdict(cover) for name, cover in engine.covers.items()},
        "lacks": lacks(engine),
        "problem": problem,
        "notes": list(engine.notes),
    }


def engine_lines(document: dict[str, Any]) -> list[str]:
    """One engine of `describe_engines` in a few lines."""
    versions = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    state = versions if document["installed"] else "not usable here"
    lines = [f"{document['name']:<8} {document['summary']}; {state}; {document['licence']}"]
    covers = ENGINES[document["name"]].covers
    for name, cover in covers.items():
        whole = largest_whole(DiagramSpec(filtration=name, engine=document["name"]))
        lines.append(f"{'':<8} {name}: {_cover_words(name, cover, whole)}")
    if document["lacks"]:
        lines.append(f"{'':<8} not: {', '.join(document['lacks'])}")
    if document["problem"]:
        lines.append(f"{'':<8} {document['problem']}")
    return lines + [f"{'':<8} {note}" for note in document["notes"]]


def _cover_words(filtration: str, cover: Cover, whole: int) -> str:
    words = ["H0" if not cover.homology else f"H0 to H{cover.homology}"]
    if cover.constructions:
        words.append(" and ".join(cover.constructions))
    if cover.metrics:
        words.append(", ".join(cover.metrics))
    words.append(f"up to {whole:,} {UNIT.get(filtration, 'values')}")
    if whole < cover.largest:
        words[-1] += f" ({cover.largest:,} with a small --max-length)"
    words.append("single precision" if cover.single else "exact in double precision")
    return "; ".join(words)
