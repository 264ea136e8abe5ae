"""Time from a signal to its persistence image, beside other libraries in the same process and run.

    python -m benchmarks.signal_to_image [--markdown] [--channels 1500]

A is the diagram (sub-level H0 of 1,024 samples), B the raw 50x50 image. Channels are distinct real
images (CIFAR-10 as JPEG, under $PI_SHARED_DATA or shared/data beside the repository), else
generated: over a few repeated inputs the branch predictor learns them by heart. One thread. On a
shared machine times move by 10-30 %; ours and theirs are taken in turns, so ratios move less.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import io
import os
import platform
import tarfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from pi_cache.specs import ImageSpec
from pipeline.images import draw, select
from pipeline.kernels.cells import Cells, cell_masses
from pipeline.kernels.image import tables
from pipeline.kernels.path import path_h0

SPEC = ImageSpec(pixels=50, sigma=0.05, threshold=0.005)
PEER_CHANNELS = 12
ROUNDS = 7

Diagrams = list[np.ndarray]
Task = Callable[[], object]


def channels(count: int) -> tuple[np.ndarray, str]:
    """Distinct signals (count, 1024) in 0..1, and where they come from."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("PI_SHARED_DATA") or beside) / "cifar10_jpeg"
    archives = sorted(folder.glob("test*.tar.xz"))
    if not archives:
        noise = np.random.default_rng(0).normal(size=(count, 1024)).cumsum(axis=1)
        return (noise - noise.min()) / np.ptp(noise), "random walks (no real data found)"
    from PIL import Image

    images = []
    with tarfile.open(archives[0], "r|xz") as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None and member.name.endswith(".jpg"):
                images.append(np.asarray(Image.open(io.BytesIO(content.read()))))
    step = max(1, 3 * len(images) // count)  # over all classes
    signals = np.stack(images[::step]).transpose(0, 3, 1, 2).reshape(-1, 1024)[:count] / 255
    return np.ascontiguousarray(signals), "CIFAR-10 test images (JPEG)"


def ripser_diagram(signal: np.ndarray) -> np.ndarray:
    from ripser import ripser

    n = len(signal)
    rows = np.concatenate([np.arange(n - 1), np.arange(n)])
    columns = np.concatenate([np.arange(1, n), np.arange(n)])
    values = np.concatenate([np.maximum(signal[:-1], signal[1:]), signal])
    graph = sparse.coo_matrix((values, (rows, columns)), shape=(n, n)).tocsr()
    points = ripser(graph, maxdim=0, distance_matrix=True)["dgms"][0]
    finite = points[np.isfinite(points[:, 1])]
    return finite[finite[:, 1] - finite[:, 0] > SPEC.threshold]


def gudhi_diagram(signal: np.ndarray) -> np.ndarray:
    import gudhi

    complex_ = gudhi.CubicalComplex(vertices=signal)
    complex_.compute_persistence(min_persistence=SPEC.threshold)
    return complex_.persistence_intervals_in_dimension(0)


def numpy_image(points: np.ndarray) -> np.ndarray:
    lower = np.arange(50) / 50
    birth, persistence = points[:, 0], points[:, 1] - points[:, 0]
    y = cell_masses(persistence, lower, 0.02, SPEC.sigma) * persistence[:, None]
    return y.T @ cell_masses(birth, lower, 0.02, SPEC.sigma)


def image_peers(diagrams: Diagrams) -> dict[str, Task]:
    """Images of all diagrams by each library that is installed; without those a task is missing."""
    from persim import PersImage, PersistenceImager

    retired = PersImage([50, 50], SPEC.sigma, {"minBD": 0, "maxBD": 1}, verbose=False)
    variance = [[SPEC.sigma**2, 0], [0, SPEC.sigma**2]]
    imager = PersistenceImager((0, 1), (0, 1), 0.02, kernel_params={"sigma": variance})
    peers: dict[str, Task] = {
        "SciPy's ndtr and BLAS": lambda: [numpy_image(d) for d in diagrams],
        "persim PersImage": lambda: [retired.transform(d) for d in diagrams],
        "persim PersistenceImager": lambda: [imager.transform(d) for d in diagrams],
    }
    try:
        from gudhi.representations import PersistenceImage
    except ImportError:
        pass
    else:
        sampled = PersistenceImage(
            bandwidth=SPEC.sigma, weight=lambda p: p[1], resolution=[50, 50], im_range=[0, 1, 0, 1]
        )
        sampled.fit(diagrams)
        peers["gudhi PersistenceImage (samples)"] = lambda: sampled.transform(diagrams)
    try:
        from gtda.diagrams import PersistenceImage as Filtered
    except ImportError:
        pass
    else:
        padded = np.zeros((len(diagrams), max(map(len, diagrams)), 3))
        for row, diagram in zip(padded, diagrams, strict=True):
            row[: len(diagram), :2] = diagram
        filtered = Filtered(sigma=2.5, n_bins=50, weight_function=lambda x: x, n_jobs=1).fit(padded)
        peers["giotto-tda PersistenceImage (filters)"] = lambda: filtered.transform(padded)
    return peers


def diagram_peers(signals: np.ndarray) -> dict[str, Task]:
    peers: dict[str, Task] = {"ripser": lambda: [ripser_diagram(x) for x in signals]}
    if installed("gudhi"):
        peers["gudhi CubicalComplex"] = lambda: [gudhi_diagram(x) for x in signals]
    return peers


def installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def best_times(tasks: dict[str, tuple[Task, int]]) -> dict[str, float]:
    """Best seconds per item of each (task, items), all tasks in turn in every round."""
    best = dict.fromkeys(tasks, np.inf)
    for _ in range(ROUNDS):
        for name, (task, items) in tasks.items():
            start = time.perf_counter()
            task()
            best[name] = min(best[name], (time.perf_counter() - start) / items)
    return best


def bounds(signals: np.ndarray, persistences: np.ndarray, kind: str) -> dict[str, float]:
    """Seconds per channel that bytes (A) and arithmetic (B) alone would take, measured here.

    A reads the signal once. B adds each point to the rows and all columns it can reach, and
    evaluates a polynomial for each cell of a row and of a column.
    """
    x = np.random.default_rng(0).random((768, 768)).astype(kind)
    data = signals.astype(kind)
    rates = best_times(
        {"flop": (lambda: x @ x, 2 * 768**3), "byte": (lambda: data.max(axis=1), data.nbytes)}
    )
    cells = Cells(0.0, 0.02, 0.02, 50)
    prepared = tables(cells, cells, SPEC.sigma, np.dtype(kind))
    assert prepared is not None
    cell = np.floor(persistences * 50)
    reach = prepared.birth.reach
    rows = np.minimum(cell + reach, 49) - np.maximum(cell - reach, 0) + 1
    degree = prepared.birth.table.shape[1] - 1
    flops = 2 * 50 * (rows + 2 * degree).sum() / len(signals)
    return {
        "A": rates["byte"] * data[0].nbytes,
        "B": rates["flop"] * flops,
        "rate": 1e-9 / rates["flop"],
    }


def measure(count: int) -> tuple[list[str], list[tuple[str, ...]]]:
    """Lines that say what was measured, and rows: work, microseconds, and how many times ours."""
    signals, origin = channels(count)
    points, _ = path_h0(signals, SPEC.threshold)
    finite = points[np.isfinite(points[:, 1])]
    each = len(finite) / len(signals)
    some = signals[:: len(signals) // PEER_CHANNELS][:PEER_CHANNELS]
    diagrams = [ripser_diagram(x).astype(np.float64) for x in some]
    tasks: dict[str, tuple[Task, int]] = {}
    for kind in ("float64", "float32"):
        typed = signals.astype(kind)
        spec = SPEC.replace(precision=kind)
        drawn = path_h0(typed, SPEC.threshold)[0].astype(np.float64)
        tasks[f"A {kind}"] = (lambda x=typed: path_h0(x, SPEC.threshold), len(signals))
        tasks[f"B {kind}"] = (lambda p=drawn, s=spec: blocks(p, offsets_of(p), s), len(signals))
        tasks[f"A+B {kind}"] = (lambda x=typed, s=spec: whole(x, s), len(signals))
    for name, task in diagram_peers(some).items():
        tasks[f"A {name}"] = (task, len(some))
    for name, task in image_peers(diagrams).items():
        tasks[f"B {name}"] = (task, len(some))
    for task, _ in tasks.values():
        task()  # compiles
    best = best_times(tasks)
    best["A+B ripser and persim PersImage"] = best["A ripser"] + best["B persim PersImage"]
    header = [
        f"{len(signals)} distinct channels of {signals.shape[1]} samples: {origin}; "
        f"{each:.0f} points a channel",
        f"{processor()}, one thread, {datetime.date.today()}, Python {platform.python_version()}, "
        + ", ".join(
            f"{name} {installed(name)}"
            for name in ("numpy", "numba", "scipy", "ripser", "persim", "gudhi", "giotto-tda")
            if installed(name)
        ),
    ]
    for kind in ("float64", "float32"):
        least = bounds(signals, finite[:, 1] - finite[:, 0], kind)
        a, b = (best[f"{work} {kind}"] / least[work] for work in "AB")
        header.append(
            f"bound {kind}: A reads its bytes in {least['A'] * 1e6:.2f} us (we take {a:.0f}x), B "
            f"does its arithmetic at the {least['rate']:.0f} Gflop/s of a large matrix product in "
            f"{least['B'] * 1e6:.1f} us (we take {b:.1f}x)"
        )
    return header, [row(name, best) for name in sorted(best, key=lambda n: (n.split()[0], best[n]))]


def row(name: str, best: dict[str, float]) -> tuple[str, ...]:
    work = name.split()[0]
    ratios = [f"{best[name] / best[f'{work} {kind}']:.1f}" for kind in ("float64", "float32")]
    return (work, name.removeprefix(work + " "), f"{best[name] * 1e6:.1f}", *ratios)


def offsets_of(points: np.ndarray) -> np.ndarray:
    """Where diagrams end: the essential class is the last row of each."""
    return np.concatenate([[0], np.flatnonzero(np.isinf(points[:, 1])) + 1])


def blocks(points: np.ndarray, offsets: np.ndarray, spec: ImageSpec, size: int = 256) -> None:
    """Raw images a block at a time, as a build draws them."""
    for start in range(0, len(offsets) - 1, size):
        draw(select(points, offsets[start : start + size + 1], spec), spec)


def whole(signals: np.ndarray, spec: ImageSpec) -> None:
    points, offsets = path_h0(signals, spec.threshold)
    blocks(points, offsets, spec)


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def show(header: list[str], rows: list[tuple[Any, ...]], *, markdown: bool) -> str:
    titles = ("work", "by", "us per channel", "times float64", "times float32")
    table = [titles, *rows]
    if markdown:
        lines = ["| " + " | ".join(cells) + " |" for cells in table]
        lines.insert(1, "| --- | --- | ---: | ---: | ---: |")
        return "\n".join(["\n".join(f"- {line}" for line in header), "", *lines])
    widths = [max(len(cells[k]) for cells in table) for k in range(len(titles))]
    aligned = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in table]
    return "\n".join([*header, "", *aligned])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", action="store_true", help="print a table for a document")
    parser.add_argument("--channels", type=int, default=1500, help="distinct signals (1500)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of the other libraries
    with threadpool_limits(1):
        print(show(*measure(options.channels), markdown=options.markdown))


if __name__ == "__main__":
    main()
