"""Which store a request means: found as `pipeline plan` finds it, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pi_cache.errors import InvalidSpec, SourceError
from pi_cache.specs import StoreSpec
from pipeline.ondemand import answer_request, find_store
from tests.pipeline.test_cli import run_json

DIGITS = {"source": "digits", "limit": 24}


def find(root: Path, *sources: dict[str, Any], **asked: Any) -> list[Any]:
    return list(find_store({**asked, "sources": list(sources or [DIGITS])}, root, {}))


@pytest.fixture
def waves(tmp_path: Path, rng: np.random.Generator) -> dict[str, Any]:
    """Signals, as an administrator lists them."""
    np.save(tmp_path / "waves.npy", rng.normal(size=(6, 20, 1)))
    return {
        "source": f"array:{tmp_path / 'waves.npy'}",
        "source_options": {"sample": "signal"},
    }


def test_a_request_means_the_store_that_a_plan_means(tmp_path: Path) -> None:
    root = tmp_path / "root"
    planned = run_json(
        ["pipeline", "plan", "digits", "--limit", "24", "--cache", str(root), "--json"]
    )
    found, estimate = find(root)
    assert found["keys"] == [planned["key"]] == [StoreSpec.from_document(found["spec"]).key]
    assert estimate["key"] == planned["key"] and estimate["adds"]["files"] > 0
    assert not root.exists()


def test_images_by_the_largest_of_all_need_another_store_first(tmp_path: Path) -> None:
    found, _ = find(tmp_path, image={"normalise": "dataset-max"})
    spec = StoreSpec.from_document(found["spec"])
    raw = spec.replace(image=spec.image.replace(normalise="none", dtype="float32"))
    assert found["keys"] == [raw.key, spec.key]


def test_a_recipe_and_changes_upon_it(tmp_path: Path) -> None:
    found, _ = find(tmp_path, recipe="tgd-cifar10", image={"sigma": 0.125})
    assert found["spec"]["recipe"] == "tgd-cifar10, changed"
    assert found["spec"]["image"]["sigma"] == 0.125


def test_gramian_fields_of_signals(tmp_path: Path, waves: dict[str, Any]) -> None:
    found, estimate = find(tmp_path, waves, gramian={"size": 10})
    assert found["spec"]["gramian"]["size"] == 10 and "diagram" not in found["spec"]
    assert estimate["samples"] == 6


def test_the_source_with_these_samples_is_taken(tmp_path: Path, waves: dict[str, Any]) -> None:
    first, _ = find(tmp_path)
    spec = first["spec"]
    asked = {"fingerprint": spec["source"]["fingerprint"], "key": spec["key"]}
    gone = {"source": f"array:{tmp_path / 'gone.npy'}"}
    found, _ = find(tmp_path, gone, {**DIGITS, "limit": 8}, DIGITS, **asked)
    assert found["source"] == 2 and found["spec"] == spec
    with pytest.raises(SourceError, match=r"no source that is offered here .*gone\.npy"):
        find(tmp_path, gone, waves, **asked)


def test_a_spec_of_another_release_is_another_store(tmp_path: Path) -> None:
    first, _ = find(tmp_path)
    fingerprint = first["spec"]["source"]["fingerprint"]
    with pytest.raises(InvalidSpec, match="this release computes another store"):
        find(tmp_path, fingerprint=fingerprint, key="0" * 64)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"recipe": "nope"}, "no recipe 'nope'"),
        ({"image": {"pixels": 0}}, "pixels must lie in 1..1024"),
        ({"image": {"sigma": "wide"}}, "sigma"),
        ({"image": {"birth_range": "all"}}, "birth_range"),
        ({"diagram": {"filtration": "nope"}}, "filtration must be one of"),
        ({"diagram": {"scale": "dataset-max"}}, "scale"),
        ({"diagram": {"homology": "H1"}}, "homology"),
        ({"gramian": {}}, "Gramian angular fields are of signals"),
        ({"sources": [{**DIGITS, "split": "nope"}]}, "no samples in split 'nope'"),
        ({"sources": [{**DIGITS, "source_options": {"variant": "nope"}}]}, "nope"),
        ({"sources": [{"source": "array:/nowhere/x.npy"}]}, r"x\.npy"),
    ],
)
def test_what_means_no_store_is_told(asked: dict[str, Any], message: str, tmp_path: Path) -> None:
    question = {"asked": {"sources": [DIGITS], **asked}, "root": str(tmp_path), "how": {}}
    answers = [json.loads(answer) for answer in answer_request(json.dumps(question))]
    assert len(answers) == 1 and message.replace("\\", "") in answers[0]["refused"]
    assert answers[0]["kind"] in {"InvalidSpec", "SourceError", "UnknownSource"}
