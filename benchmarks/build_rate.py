"""Where the time of a build goes: 5,000 photographs by the recipe of TGD, with two workers.

    python -m benchmarks.build_rate [--workers 2] [--repeat 3]

The kernels (diagrams and images) are set beside all that the workers do and beside the wall time
of the work: identifying the data, the shards from the first start to the last end, and finishing.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import click

from pipeline.build import BuildReport, build
from pipeline.buildoptions import Options
from pipeline.recipes import find_recipe
from pipeline.sources import open_source
from tests.shared import shared_data

KERNELS = ("core_diagrams", "core_images")


def unpack_photographs(folder: Path) -> Path:
    """The shared CIFAR-10 test images, as files of class folders."""
    archive = shared_data("cifar10_jpeg") / "test_0000-0499.tar.xz"
    with tarfile.open(archive, "r|xz") as members:
        for member in members:
            path = folder / Path(member.name).parent.name / Path(member.name).name
            stream = members.extractfile(member) if member.isfile() else None
            if stream is not None:
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(stream.read())
    return folder


def describe(report: BuildReport) -> str:
    """One line of figures."""
    times, workers = report.times, report.workers
    kernels = sum(times[name] for name in KERNELS)
    busy = sum(seconds for name, seconds in times.items() if name.startswith("core_"))
    parts = ", ".join(
        f"{name.removeprefix('core_')} {seconds / busy:.0%}"
        for name, seconds in times.items()
        if name.startswith("core_")
    )
    return (
        f"{report.seconds:.2f} s of work; kernels {kernels / workers / report.seconds:.0%} of it, "
        f"{kernels / busy:.0%} of the workers' time ({parts}); identify {times['identify']:.2f} s, "
        f"finish {times['finish']:.2f} s; {report.to_dict()['files']} files, "
        f"{report.peak_memory / 2**20:.0f} MiB at most in a worker"
    )


@click.command()
@click.option("--workers", default=2, show_default=True)
@click.option("--repeat", default=3, show_default=True)
def main(workers: int, repeat: int) -> None:
    """Print the figures of each run; the first one also starts the workers."""
    recipe = find_recipe("tgd-cifar10")
    with tempfile.TemporaryDirectory() as place:
        photographs = Path(place) / "photographs"
        photographs.mkdir()
        source = open_source(f"imagefolder:{unpack_photographs(photographs)}")
        for run in range(repeat):
            report = build(
                source,
                recipe.diagram,
                recipe.image,
                root=Path(place) / str(run),
                options=Options(executor="joblib", workers=workers),
            )
            click.echo(f"run {run + 1}: {describe(report)}")


if __name__ == "__main__":
    main()
