"""Machine code: nothing is compiled by an import, all of a build by warming, nothing is stale."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.kernels import machinecode

ROOT = Path(__file__).resolve().parents[2]

IMPORTED = """
import importlib, pkgutil
import pipeline.cli, pipeline.build, pipeline.kernels
for module in pkgutil.iter_modules(pipeline.kernels.__path__):
    content = vars(importlib.import_module(f"pipeline.kernels.{module.name}"))
    for name, value in content.items():
        assert not getattr(value, "signatures", None), f"{module.name}.{name} is compiled"
"""

WARMED = """
import sys
from pathlib import Path
import numpy as np
from pi_cache.specs import DiagramSpec, ImageSpec, StoreSpec
from pipeline.build import build
from pipeline.kernels.machinecode import cache_folder
from pipeline.shard import warm
from pipeline.sources import open_source

def compiled():
    return {file.name for file in cache_folder().rglob("*.nbc")}

source = open_source("digits")[:9]
for diagram in (
    DiagramSpec(filtration=sys.argv[1]),
    DiagramSpec(filtration=sys.argv[1], precision="float32"),
):
    spec = StoreSpec(source=source.spec(), diagram=diagram, image=ImageSpec(pixels=8))
    warm(spec)
    before = compiled()
    assert before
    build(source, spec.diagram, spec.image, root=Path(sys.argv[2]))
    assert compiled() == before, sorted(compiled() - before)
"""


def run(script: str, cache: Path, *arguments: str) -> None:
    """Run a script in a new interpreter that finds no machine code."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_importing_compiles_nothing(tmp_path: Path) -> None:
    run(IMPORTED, tmp_path)
    assert not list(tmp_path.rglob("*.nb*"))


@pytest.mark.slow
@pytest.mark.parametrize("filtration", ["sublevel", "superlevel", "cubical", "rips"])
def test_warming_compiles_all_that_a_build_needs(filtration: str, tmp_path: Path) -> None:
    run(WARMED, tmp_path / "code", filtration, str(tmp_path / "stores"))


def folder_of(kernels: Path) -> Path:
    spec = importlib.util.spec_from_file_location("copy", kernels / "machinecode.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Path = module.cache_folder()
    return found


def test_code_of_changed_kernels_is_not_found(tmp_path: Path) -> None:
    """numba alone would look at the age of the caller's file only."""
    shutil.copytree(Path(machinecode.__file__).parent, tmp_path / "kernels")
    assert folder_of(tmp_path / "kernels") == machinecode.cache_folder()
    with (tmp_path / "kernels" / "bits.py").open("a") as kernel:
        kernel.write("\n")
    assert folder_of(tmp_path / "kernels") != machinecode.cache_folder()
