"""The words of the command line: every kind opens, every slip is met with the way out."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from pi_cache.errors import SourceError
from pipeline.sources import KINDS, describe_sources, open_source, read_samples
from tests.sources.trees import make_tree

HEAVY = ("sklearn", "PIL", "zarr", "scipy", "numba", "requests", "pooch")


def test_importing_sources_imports_nothing_heavy() -> None:
    code = f"import sys, pipeline.sources; print([m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_described_and_has_its_opener(name: str) -> None:
    kind = KINDS[name]
    module, _, function = kind.opener.partition(".")
    assert callable(getattr(import_module(f"pipeline.sources.{module}"), function))
    assert all((kind.line, kind.layout, kind.labels, kind.splits))


def test_descriptions() -> None:
    assert [document["name"] for document in describe_sources()] == list(KINDS)
    (document,) = describe_sources("cinic10")
    assert document["source"] == "cinic10:FOLDER"
    assert "train|valid|test" in document["layout"]
    with pytest.raises(SourceError, match="did you mean cinic10"):
        describe_sources("cinic")


def test_digits() -> None:
    source = open_source("digits")
    assert (len(source), source.shape, source.maximum) == (1797, (8, 8, 1), 16)
    assert (source.ids[0], source.label_names[9]) == ("digits-0000", "9")
    samples = read_samples(source)
    assert isinstance(samples.arrays, np.ndarray)
    assert samples.arrays.dtype == np.uint8
    assert samples.arrays.max() == 16
    assert not samples.status.any()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("digit", "did you mean digits"),
        ("imagefolders:/x", "did you mean imagefolder:/x"),
        ("Cifar10:/x", "did you mean cifar10:/x"),
        ("mnist", r"'mnist' is no source \(sources: digits, cifar10:FOLDER, .*ucr:FILE\)"),
        ("digits:/x", "is written digits; layout"),
        ("array", "is written array:FILE; layout"),
        ("array:", "is written array:FILE; layout"),
    ],
)
def test_slips(text: str, match: str) -> None:
    with pytest.raises(SourceError, match=match):
        open_source(text)


def test_an_option_of_another_kind() -> None:
    with pytest.raises(SourceError, match="digits has no option mode; it has split"):
        open_source("digits", mode="rgb")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.npy", "array"),
        ("x.npz", "array"),
        ("x.zarr/zarr.json", "array"),
        ("A_TRAIN.ts", "ucr"),
        ("d/A_TRAIN.ts", "ucr"),
        ("d/wnids.txt", "tiny-imagenet"),
        ("d/data_batch_1.bin", "cifar10"),
        ("d/fine_label_names.txt", "cifar100"),
        ("d/cat/0.png", "imagefolder"),
    ],
)
def test_a_bare_path_is_told_its_kind(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    path = tmp_path / name.split("/")[0]
    with pytest.raises(SourceError, match=f"but a path: write {kind}:{path}"):
        open_source(str(path))


def test_a_split_is_a_part(tmp_path: Path) -> None:
    make_tree(tmp_path, ("train/cat", "validation/cat", "test/cat"))
    source = open_source(f"imagefolder:{tmp_path}", split="val")
    assert source.ids == [f"validation/cat/{k}.png" for k in range(3)]
    with pytest.raises(SourceError, match="no samples in split 'valid'; its splits: train, val"):
        open_source(f"imagefolder:{tmp_path}", split="valid")
