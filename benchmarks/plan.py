"""What `pipeline plan` says that a build will take, beside what the build takes.

    python -m benchmarks.plan [--only NAME] [--repeat 3]

Each is planned and then built, in this process and on one core, into a folder that is thrown away.
Compared are the seconds of one core, from reading the samples to writing the shards, each the least
of a few repeats in turns. A plan is good where the two differ by a factor of at most 1.5.
"""

from __future__ import annotations

import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.build_rate import unpack_photographs
from benchmarks.machine import duration, heading
from pi_cache.specs import DiagramSpec, ImageSpec, StoreSpec
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.plan import Plan
from pipeline.planning import make_plan
from pipeline.recipes import find_recipe
from pipeline.sources import open_source
from pipeline.sources.arrays import from_arrays
from pipeline.sources.base import Source
from tests.photographs import photographs
from tests.shared import shared_data

GOOD = 1.5
SERIAL = Options(executor="serial")
WINDOW = 250
"""Samples of a window of SisFall, of those at 200 Hz."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A source, opened where a folder may be filled, and what is built from it."""

    name: str
    source: Callable[[Path], Source]
    diagram: DiagramSpec
    image: ImageSpec


def ucr(name: str) -> Callable[[Path], Source]:
    """A data set of the UCR and UEA archives, training and test samples."""
    return lambda folder: open_source(f"ucr:{shared_data('ucr_uea') / name}")


def photos(count: int) -> Callable[[Path], Source]:
    """CIFAR-10 test images in memory."""
    return lambda folder: from_arrays(photographs(count))


def files(folder: Path) -> Source:
    """CIFAR-10 test images as files."""
    return open_source(f"imagefolder:{unpack_photographs(folder)}")


def sisfall(folder: Path) -> Source:
    """Windows (n, WINDOW, 3) of the first accelerometer, in g."""
    archive = shared_data("sisfall") / "sisfall_SA01-SA10.tar.xz"
    windows = []
    with tarfile.open(archive, "r|xz") as members:
        for member in members:
            stream = members.extractfile(member)
            if stream is None or not Path(member.name).name.startswith("D0") or len(windows) > 999:
                continue
            lines = stream.read().decode("ascii").replace(";", "").split("\n")
            rows = [line.split(",")[:3] for line in lines if line.count(",") == 8]
            signal = np.array(rows, np.float64) * 32 / 2**13
            count = len(signal) // WINDOW
            windows += list(signal[: count * WINDOW].reshape(count, WINDOW, 3))
    return from_arrays(np.stack(windows[:1000]), sample="signal")


def tori(count: int, points: int) -> np.ndarray:
    """Clouds (count, points, 3) on a torus, with noise that differs from cloud to cloud."""
    random = np.random.default_rng(0)
    u, v = random.random((2, count, points)) * 2 * np.pi
    around = 2 + np.cos(v)
    clouds = np.stack([around * np.cos(u), around * np.sin(u), np.sin(v)], axis=-1)
    return clouds + 0.1 * random.random((count, 1, 1)) * random.normal(size=clouds.shape)


def circles(count: int, points: int) -> np.ndarray:
    """Clouds (count, points, 2) on noisy circles: one loop lives long."""
    random = np.random.default_rng(0)
    angles = random.random((count, points)) * 2 * np.pi
    clouds = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return clouds + 0.05 * random.normal(size=clouds.shape)


def distances(count: int, points: int) -> np.ndarray:
    """Matrices (count, points, points) of lengths between points in a cube."""
    clouds = np.random.default_rng(0).random((count, points, 3))
    return np.stack([np.linalg.norm(c[:, None] - c[None], axis=2) for c in clouds])


def rips(**changes: object) -> DiagramSpec:
    return DiagramSpec(filtration="rips", **changes)


def embedding(dimension: int, delay: int) -> DiagramSpec:
    return rips(embedding_dimension=dimension, embedding_delay=delay)


def window(longest: float) -> ImageSpec:
    """Lengths up to so much."""
    return ImageSpec(birth_range=(0, longest), persistence_range=(0, longest), sigma=longest / 20)


def of_recipe(name: str, data: str, source: Callable[[Path], Source]) -> Case:
    recipe = find_recipe(name)
    return Case(name=f"{name}: {data}", source=source, diagram=recipe.diagram, image=recipe.image)


def of_rips(name: str, source: Callable[[Path], Source], spec: DiagramSpec, to: float) -> Case:
    return Case(name=f"rips: {name}", source=source, diagram=spec, image=window(to))


def digits(folder: Path) -> Source:
    return open_source("digits")


CASES = [
    of_recipe("pi-net-paper-rips", "200 photographs", photos(200)),
    of_rips("digits", digits, rips(), 1),
    of_rips("GunPoint in R^3, delay 5", ucr("GunPoint"), embedding(3, 5), 3),
    of_rips("GunPoint in R^6, delay 10", ucr("GunPoint"), embedding(6, 10), 3),
    of_rips("BasicMotions in R^3, delay 2", ucr("BasicMotions"), embedding(3, 2), 20),
    of_rips("ItalyPowerDemand in R^2, delay 1", ucr("ItalyPowerDemand"), embedding(2, 1), 3),
    of_rips("ArrowHead in R^4, delay 8", ucr("ArrowHead"), embedding(4, 8), 3),
    of_rips("ArrowHead in R^10, delay 5", ucr("ArrowHead"), embedding(10, 5), 3),
    of_rips("PickupGesture in R^3, delay 4", ucr("PickupGestureWiimoteZ"), embedding(3, 4), 3),
    of_rips("SisFall in R^3, delay 5", sisfall, embedding(3, 5), 2),
    of_rips("100 tori of 500", lambda f: from_arrays(tori(100, 500), sample="cloud"), rips(), 2),
    of_rips("circles of 600", lambda f: from_arrays(circles(80, 600), sample="cloud"), rips(), 2),
    of_rips(
        "300 matrices of 200",
        lambda f: from_arrays(distances(300, 200), sample="distances"),
        rips(metric="precomputed"),
        1,
    ),
    Case(
        name="cubical: digits",
        source=digits,
        diagram=DiagramSpec(filtration="cubical"),
        image=ImageSpec(),
    ),
    Case(
        name="cubical: 2,500 photographs",
        source=photos(2500),
        diagram=DiagramSpec(filtration="cubical"),
        image=ImageSpec(),
    ),
    of_recipe("default", "digits", digits),
    of_recipe("pi-net-cifar10", "2,500 photographs", photos(2500)),
    of_recipe("tgd-cifar10", "5,000 files", files),
    of_recipe("tda-kd-pamap2", "SisFall", sisfall),
]


@dataclass(frozen=True)
class Outcome:
    """Of one case. taken: core seconds of the build, by step. planning: seconds of the plan."""

    plan: Plan
    taken: dict[str, float]
    planning: float

    @property
    def factor(self) -> float:
        """What the build takes, by what the plan says."""
        return sum(self.taken.values()) / self.plan.to_dict()["core_seconds"]


def compare(case: Case, repeat: int = 1) -> Outcome:
    """Plan and build, in turns, so many times; the least of each."""
    plans, built, planning = [], [], []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "data"
        folder.mkdir()
        source = case.source(folder)
        spec = StoreSpec(source=source.spec(), diagram=case.diagram, image=case.image)
        for turn in range(repeat):
            start = time.perf_counter()
            plans.append(make_plan(source, spec, options=SERIAL))
            planning.append(time.perf_counter() - start)
            root = Path(place) / str(turn)
            report = build(source, case.diagram, case.image, root=root, options=SERIAL)
            built.append(core_seconds(report.times))
    return Outcome(
        min(plans, key=lambda plan: plan.to_dict()["core_seconds"]),
        min(built, key=lambda steps: sum(steps.values())),
        min(planning),
    )


def core_seconds(times: Mapping[str, float]) -> dict[str, float]:
    """By step, of the times of a report."""
    return {
        name.removeprefix("core_"): seconds
        for name, seconds in times.items()
        if name.startswith("core_")
    }


def steps(outcome: Outcome) -> str:
    """What was said and what it took, by step, in microseconds of a sample."""
    said = outcome.plan.to_dict()["seconds_per_sample"]
    taken = {name: outcome.taken.get(name, 0.0) / outcome.plan.samples for name in outcome.taken}
    pairs = {
        "read": (said["read"], taken.get("read", 0.0)),
        "diagrams": (said["diagrams"], taken.get("fields", 0.0) + taken.get("diagrams", 0.0)),
        "images": (said["images"], taken.get("images", 0.0)),
        "write": (said["encode"], taken.get("write", 0.0)),
    }
    return ", ".join(f"{name} {a * 1e6:.0f}/{b * 1e6:.0f}" for name, (a, b) in pairs.items())


@click.command(help=__doc__.splitlines()[0])
@click.option("--only", default="", help="Cases with this in their name.")
@click.option("--repeat", default=3, show_default=True)
def main(only: str, repeat: int) -> None:
    """Print a line a case, and how many plans are good."""
    for line in heading(("numpy", "numba")):
        click.echo(line)
    click.echo(
        f"\n{'case':<44} {'samples':>7} {'planned':>8} {'taken':>8} {'factor':>6}  "
        "planned/taken us a sample"
    )
    factors: dict[str, list[float]] = {}
    for case in (case for case in CASES if only in case.name):
        outcome = compare(case, repeat)
        factors.setdefault(case.diagram.filtration, []).append(outcome.factor)
        said, took = outcome.plan.to_dict()["core_seconds"], sum(outcome.taken.values())
        click.echo(
            f"{case.name:<44} {outcome.plan.samples:>7,} {duration(said):>8} {duration(took):>8} "
            f"{outcome.factor:>6.2f}  {steps(outcome)}; planning {duration(outcome.planning)}"
        )
    factors["all"] = [factor for some in factors.values() for factor in some]
    for name, some in factors.items():
        good = sum(1 / GOOD <= factor <= GOOD for factor in some)
        click.echo(f"{name}: {good} of {len(some)} plans are within a factor of {GOOD}")


if __name__ == "__main__":
    main()
