"""Whatever is damaged or lost, building again makes the store whole; the only test of two rooms."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pi_cache import catalogue, open_store
from pi_cache.errors import CorruptStore, UnsupportedFormat
from pi_cache.integrity.verification import verify
from pi_cache.layout import Layout
from pi_cache.ledger import finish, missing_shards
from pi_cache.manifest import StoreManifest
from pi_cache.specs import DiagramSpec, ImageSpec
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.sources.arrays import from_arrays
from tests.pi_cache.made import begin_store, fill_store, make_columns, make_spec, make_store

DOCUMENTS = {
    "spec": "spec.json",
    "blueprint": "blueprint.json",
    "manifest": "manifest.json",
    "record": "ledger/000001.json",
    "table record": "ledger/table.json",
}


def flip_version(path: Path) -> None:
    """One bit: version 1 becomes 3."""
    data = path.read_bytes()
    assert data.count(b'"format_version": 1') == 1
    path.write_bytes(data.replace(b'"format_version": 1', b'"format_version": 3'))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(bytes(range(256))),
    "deep": lambda path: path.write_bytes(b"[" * 100_000),
    "deleted": lambda path: path.unlink(),
    "version bit": flip_version,
    "space": lambda path: path.write_bytes(path.read_bytes() + b" "),
}


def built(root: Path, **options: int | bool) -> StoreManifest:
    """A store of twenty small images, three shards unless told."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 9, (20, 6, 6), dtype=np.uint8)
    source = from_arrays(images, sample="image", labels=np.arange(20) % 3)
    how = Options(**{"executor": "serial", "workers": 1, "shard_samples": 8, **options})  # type: ignore[arg-type]
    image = ImageSpec(pixels=4, sigma=0.2)
    return build(source, DiagramSpec(), image, root=root, options=how).manifest


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_damaged_document_never_blocks_a_build(
    tmp_path: Path, document: str, damage: str, finished: bool
) -> None:
    truth = built(tmp_path)
    path = tmp_path / "stores" / truth.key
    DAMAGES[damage](path / DOCUMENTS[document])
    if not finished:
        (path / "manifest.json").unlink(missing_ok=True)
    again = built(tmp_path)
    assert (again.key, again.files) == (truth.key, truth.files)
    assert verify(path) == []
    assert open_store(path).manifest == again
    assert catalogue.read_entry(path).state == "finished"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("document", ["spec", "blueprint"])
def test_other_options_mend_what_the_manifest_has(
    tmp_path: Path, document: str, damage: str
) -> None:
    truth = built(tmp_path)
    path = tmp_path / "stores" / truth.key
    DAMAGES[damage](path / DOCUMENTS[document])
    again = built(tmp_path, shard_samples=16, with_inputs=False)
    assert again.files == truth.files
    assert verify(path) == []


def test_a_lost_blueprint_and_manifest_and_other_sizes(tmp_path: Path) -> None:
    first = built(tmp_path)
    path = tmp_path / "stores" / first.key
    images = open_store(path).read_all("images")
    for name in ("blueprint.json", "manifest.json"):
        (path / name).unlink()
    again = built(tmp_path, shard_samples=16, with_inputs=False)
    assert (first.shards, again.shards) == (3, 2)
    assert verify(path) == []
    np.testing.assert_array_equal(open_store(path).read_all("images"), images)


def test_a_lost_blueprint_is_that_of_the_manifest(tmp_path: Path) -> None:
    build = begin_store(tmp_path, make_spec())
    manifest = fill_store(build)
    for damage in DAMAGES.values():
        damage(build.path / "blueprint.json")
        again = begin_store(tmp_path, make_spec(), Layout(shard_samples=16, chunk_samples=2))
        assert again.blueprint == build.blueprint
        assert missing_shards(again) == [] and finish(again) == manifest
        assert verify(build.path) == []


def test_a_lost_ledger_costs_no_computing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = built(tmp_path)
    shutil.rmtree(tmp_path / "stores" / truth.key / "ledger")

    def computed(*arguments: object) -> list[int]:
        raise AssertionError("shards were looked for")

    monkeypatch.setattr("pipeline.build.missing_shards", computed)
    assert built(tmp_path) == truth
    assert verify(tmp_path / "stores" / truth.key) == []


@pytest.mark.parametrize("samples", [4, 16])
def test_leftovers_of_another_layout_go_to_quarantine(tmp_path: Path, samples: int) -> None:
    path = make_store(tmp_path)
    for name in ("blueprint.json", "manifest.json"):
        (path / name).unlink()
    build = begin_store(tmp_path, make_spec(), Layout(shard_samples=samples, chunk_samples=2))
    manifest = fill_store(build)
    assert verify(path) == []
    records = [f"{k:06d}.json" for k in range(manifest.shards)]
    assert sorted(p.name for p in (path / "ledger").iterdir()) == [*records, "table.json"]
    truth = make_columns(make_spec())["images"]
    np.testing.assert_array_equal(open_store(path).read_all("images"), truth)


def test_a_folder_in_place_of_a_file_is_moved_away(tmp_path: Path) -> None:
    path = make_store(tmp_path)
    shard = path / "data.zarr/images/c.1.0.0.0"
    shard.unlink()
    shard.mkdir()
    fill_store(begin_store(tmp_path, make_spec()))
    assert verify(path) == []


@pytest.mark.parametrize("document", DOCUMENTS.values())
def test_a_version_that_is_really_another_is_refused(tmp_path: Path, document: str) -> None:
    """Refused where it decides; beside a manifest that we read it is damage."""
    path = make_store(tmp_path)
    content = json.loads((path / document).read_bytes())
    content |= {"format_version": 2, "checksum": "0" * 64, "key": "0" * 64}
    (path / document).write_text(json.dumps(content))
    if document == "manifest.json":
        with pytest.raises(UnsupportedFormat, match="manifest format 2 is not supported"):
            verify(path)
    else:
        assert [(f.kind, f.path) for f in verify(path)] == [("corrupt", document)]


def test_the_store_of_another_key_is_refused(tmp_path: Path) -> None:
    spec, other = make_spec(5), make_spec(6)
    make_store(tmp_path / "a", spec)
    path = tmp_path / "b" / "stores" / spec.key
    make_store(tmp_path / "b", other).rename(path)
    with pytest.raises(CorruptStore, match=f"holds store {other.key[:12]}; move it away"):
        open_store(spec.key[:8], root=tmp_path / "b")
    entry = catalogue.read_entry(path)
    assert (entry.state, entry.manifest) == ("damaged", None) and "move it away" in entry.problem
    assert [(f.kind, f.path) for f in verify(path)] == [("corrupt", "manifest.json")]
    assert catalogue.with_diagrams(tmp_path / "b", spec.replace(image=ImageSpec())) is None
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CorruptStore, match="move it away"):
        begin_store(tmp_path / "b", spec)
    (path / "manifest.json").unlink()
    with pytest.raises(CorruptStore, match="move it away"):
        begin_store(tmp_path / "b", spec)
    assert sorted(tmp_path.rglob("*")) == [p for p in before if p != path / "manifest.json"]
    elsewhere = path.rename(tmp_path / "kept aside")
    with pytest.raises(FileNotFoundError):
        open_store(elsewhere)
