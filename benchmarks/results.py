"""An experiment of docs/results from raw data to its tables: stores, runs, report; one command.

    python -m benchmarks.results cifar10-jpeg
    python -m benchmarks.results sisfall

Raw data lie under $PI_SHARED_DATA, or `shared/data` beside the repository. Stores and runs lie in
data/results, and the tables and figures beside the plan, in docs/results/NAME. Killed and called
again it goes on. The commands that it runs are printed, and are what a user would type.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data" / "results"
CACHE = DATA / "cache"
FOLDS = DATA / "sisfall-folds.json"
RESULTS = ROOT / "docs" / "results"

WINDOWS = ("window=3s", "step=1.5s", "resample=mean:4", "scale=fitted:minmax",
           "channels=adxl345_x,adxl345_y,adxl345_z", "fit_on=subjects:SA01,SA02")  # fmt: skip


def shared_data(name: str) -> Path:
    """The folder of one data set."""
    beside = ROOT.parent / "shared" / "data"
    folder = Path(os.environ.get("PI_SHARED_DATA") or beside) / name
    if not folder.is_dir():
        raise click.ClickException(f"no {name} data in {folder}; set PI_SHARED_DATA")
    return folder


def unpack(archive: Path, folder: Path) -> None:
    """The members of an archive under a folder; an archive that was unpacked is left as it is."""
    done = folder / f".{archive.name}.done"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "r|xz") as members:
        for member in members:
            members.extract(member, folder, filter="data")
    done.touch()


def call(*words: str | Path) -> None:
    """Run a command of this project, printed as a user would type it."""
    name, *rest = [str(word) for word in words]
    click.echo(f"$ {shlex.join([name, *rest])}")
    modules = {"pipeline": "pipeline.cli", "pi-cache": "pi_cache.cli", "training": "training.cli"}
    environment = {**os.environ, "PI_CACHE": str(CACHE)}
    subprocess.run([sys.executable, "-m", modules[name], *rest], check=True, env=environment)


def cifar10_jpeg() -> None:
    """The stores of the CIFAR-10 plan."""
    photographs = DATA / "cifar10-jpeg"
    for archive in sorted(shared_data("cifar10_jpeg").glob("*.tar.xz")):
        unpack(archive, photographs)
    source = f"imagefolder:{photographs / 'cifar10'}"
    call("pipeline", "build-pis", source, "--recipe", "tgd-cifar10", "--dtype", "uint8")


def sisfall() -> None:
    """The stores and the folds of the SisFall plan."""
    recordings = DATA / "sisfall"
    for archive in sorted(shared_data("sisfall").glob("*.tar.xz")):
        unpack(archive, recordings)
    options = [word for option in WINDOWS for word in ("--source-option", option)]
    folder = recordings / "SisFall_dataset"
    recipe = ("--recipe", "tda-kd-pamap2-corrected", "--pixels", "32")
    call("pipeline", "build-pis", f"sisfall:{folder}", *options, *recipe)
    if not FOLDS.exists():
        people = ("--leave-one-group-out", "--always-train", "SA01,SA02")
        validation = ("--validation", "0.2", "--groups")
        call("pi-cache", "folds", "5a7a78c3cc23", *people, *validation, "--out", FOLDS)


EXPERIMENTS: dict[str, tuple[Callable[[], None], Sequence[str]]] = {
    "cifar10-jpeg": (
        cifar10_jpeg,
        ("--metric", "accuracy", "--metric", "nll", "--figure", "reliability"),
    ),
    "sisfall": (sisfall, ("--pairs", "folds", "--figure", "confusion")),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", type=click.Choice(sorted(EXPERIMENTS)))
@click.option("--seeds", help="Such as 0,1: fewer than the plan's.")
def main(name: str, seeds: str | None) -> None:
    """Build what NAME needs, run its plan, and write its tables."""
    prepare, report = EXPERIMENTS[name]
    prepare()
    runs = DATA / "runs" / name
    fewer = () if seeds is None else ("--seeds", seeds)
    call("training", "repeat", RESULTS / f"{name}.toml", "--out", runs, *fewer)
    call("training", "report", runs, "--baseline", "student", *report, "--out", RESULTS / name)


if __name__ == "__main__":
    main()
