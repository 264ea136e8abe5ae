"""Who may import whom: read from the imports, and from what a training job really loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("pi_cache", "pipeline", "training")
TOPOLOGY = {"ripser", "gudhi", "gtda", "gph", "persim", "giotto"}
NOT_IN_TRAINING = TOPOLOGY | {"numba", "scipy", "sklearn", "joblib", "dask", "distributed", "zarr"}
ALLOWED = {
    "pi_cache": {"numpy", "zarr", "numcodecs", "google_crc32c", "click", "platformdirs"},
    "training": {"numpy", "torch", "safetensors", "click", "matplotlib", "datasets"},
}
REPORTS = {"scipy", "sklearn"}
"""Besides, of training/reports; inside functions, see `test_training_never_loads_topology`."""
SERVICE = {"starlette", "uvicorn", "h11", "prometheus_client"}
REMOTE = {"urllib3", "obstore"}
FOLDERS = {
    "training/reports": REPORTS,
    "pi_cache/serving": SERVICE,
    "pi_cache/remote": REMOTE,
}
"""What the files below a folder may import besides."""


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, at its top or inside a function; names of this package whole."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)


def outside(path: Path) -> set[str]:
    """Top-level names of what a file imports that is neither ours nor Python's own."""
    names = {name.partition(".")[0] for name in imports(path)}
    return names - set(sys.stdlib_module_names) - set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_know_only_the_contract(room: str) -> None:
    forbidden = {"pi_cache": {"pipeline", "training"}, "pipeline": {"training"}}
    for path in modules(room):
        tops = {name.partition(".")[0] for name in imports(path)}
        assert not tops & forbidden.get(room, {"pipeline"}), path


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_its_dependencies(room: str) -> None:
    for path in modules(room):
        more = {
            name for folder in FOLDERS if ROOT / folder in path.parents for name in FOLDERS[folder]
        }
        assert outside(path) <= ALLOWED[room] | more, path


def test_one_module_imports_zarr() -> None:
    importers = [p for room in ROOMS for p in modules(room) if "zarr" in outside(p)]
    assert importers == [ROOT / "pi_cache" / "store.py"]


def test_one_room_imports_topology_libraries() -> None:
    importers = {p.relative_to(ROOT / "pipeline") for p in modules("pipeline") if topology(p)}
    assert importers == {Path("engines") / f"{name}.py" for name in ("ripser", "gudhi", "giotto")}


def topology(path: Path) -> set[str]:
    """The topology libraries that a file imports."""
    return outside(path) & TOPOLOGY


def test_the_reader_needs_no_zarr() -> None:
    assert outside(ROOT / "pi_cache" / "reader.py") <= {"numpy", "numcodecs"}


def test_kernels_are_pure() -> None:
    """Arrays in, arrays out: no files, no specs, no checks."""
    for path in modules("pipeline/kernels"):
        assert not any(name.startswith("pi_cache") for name in imports(path)), path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = getattr(node.func, "id", getattr(node.func, "attr", ""))
                assert called != "open", f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import pi_cache, pi_cache.reader", NOT_IN_TRAINING | {"torch"} | SERVICE | REMOTE),
        ("import pipeline.cli", NOT_IN_TRAINING | {"torch", "matplotlib", "PIL"}),
        ("import pi_cache.cli", NOT_IN_TRAINING | {"torch"} | SERVICE | REMOTE),
    ],
)
def test_imports_stay_light(statement: str, absent: set[str]) -> None:
    assert not loaded_by(statement) & absent


def test_training_never_loads_topology() -> None:
    pytest.importorskip("torch")
    paths = sorted((ROOT / "training").glob("*/[a-z]*.py"))
    names = [f"training.{path.parent.name}.{path.stem}" for path in paths]
    rooms = ", ".join(["training.data", *(n for n in names if ".examples." not in n)])
    assert not loaded_by(f"import {rooms}") & (NOT_IN_TRAINING | {"matplotlib"})


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in memory after a statement, in a new interpreter."""
    script = f"{statement}\nimport sys\nprint(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("room", ROOMS)
def test_dangerous_calls_are_absent(room: str) -> None:
    """No unpickling of user data, no extractall, no renaming over, no code from strings."""
    banned = {"eval", "exec"}
    for path in modules(room):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                bare = getattr(node.func, "id", "")
                name = getattr(node.func, "attr", bare)
                owner = getattr(getattr(node.func, "value", None), "id", "")
                assert bare not in banned, f"{path}:{node.lineno} {bare}"
                assert name != "extractall", f"{path}:{node.lineno}"
                assert (owner, name) not in {("pickle", "load"), ("pickle", "loads")}, path
                if (owner, name) == ("np", "load"):
                    given = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
                    assert given.get("allow_pickle") is False, f"{path}:{node.lineno}"
