"""What a build adds is known beforehand, and refused where there is no room, before any work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import pipeline.cli
from pi_cache import catalogue, files
from pi_cache.errors import StorageFull
from pi_cache.keeping.space import Need, set_budget, used_bytes
from pi_cache.ledger import open_build
from pi_cache.specs import DiagramSpec, ImageSpec, StoreSpec
from pipeline import prepare as prepare_module
from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.cutting import choose_layout, raw_image, store_columns
from pipeline.growth import Growth, growth_of
from pipeline.measuring import measure
from pipeline.planning import make_plan
from pipeline.sources import open_source
from pipeline.sources.base import Source
from tests.faults.struck import installed

IMAGE = ImageSpec(pixels=12, sigma=0.1)
MAXIMUM = IMAGE.replace(normalise="dataset-max")


@pytest.fixture(scope="module")
def digits() -> Source:
    return open_source("digits")[:200]


def options(**given: Any) -> Options:
    return Options(**{"executor": "serial", "shard_samples": 64, **given})


def built(source: Source, root: Path, image: ImageSpec = IMAGE, **given: Any) -> Path:
    how = options(**given)
    return build(source, DiagramSpec(), image, root=root, options=how).path


def spec_of(source: Source, image: ImageSpec = IMAGE) -> StoreSpec:
    return StoreSpec(source=source.spec(), diagram=DiagramSpec(), image=image)


def growth(source: Source, image: ImageSpec = IMAGE, **given: Any) -> Growth:
    how = options()
    spec = spec_of(source, image)
    columns = store_columns(source, spec, with_inputs=True)
    layout = choose_layout(source, spec, None, how)
    return growth_of(source, columns, layout, **{"before": None, **given})


def taken(path: Path) -> Need:
    """What a store really takes."""
    everything = [path, *path.rglob("*")]
    size = sum(place.stat().st_size for place in everything if place.is_file())
    folders = [place for place in everything if place.name != "quarantine"]
    return Need(bytes=size, files=len(folders))


def test_an_estimate_is_about_what_a_store_takes(digits: Source, tmp_path: Path) -> None:
    path = built(digits, tmp_path)
    real = taken(path)
    measured = growth(digits).need(measure(digits, spec_of(digits)))
    assert 0.8 < measured.bytes / real.bytes < 1.4
    assert real.files <= measured.files <= real.files + 1
    raw = growth(digits).need()
    pixels = 200 * (12 * 12 * 2 + 64 + 2 * 8 + 1)
    assert raw.bytes == pixels + growth(digits).document_bytes(4) and raw.files == measured.files


@pytest.mark.parametrize("shard_samples", [8, 64])
def test_a_tiny_store_is_mostly_documents(
    digits: Source, tmp_path: Path, shard_samples: int
) -> None:
    few = digits[:20]
    path = built(few, tmp_path, shard_samples=shard_samples)
    layout = catalogue.read_manifest(path).layout
    columns = store_columns(few, spec_of(few), with_inputs=True)
    grows = growth_of(few, columns, layout, before=None)
    estimate = grows.need(measure(few, spec_of(few)))
    assert 0.8 < estimate.bytes / taken(path).bytes < 1.25


def test_a_shard_that_lost_bytes_counts_as_missing(digits: Source, tmp_path: Path) -> None:
    path = built(digits, tmp_path)
    (path / "manifest.json").unlink()
    shard = path / "data.zarr" / "images" / "c.1.0.0.0"
    shard.write_bytes(shard.read_bytes()[:-1])
    one = growth(digits, before=open_build(path)).need()
    (path / "data.zarr" / "inputs" / "c.2.0.0.0").unlink()
    two = growth(digits, before=open_build(path)).need()
    assert one.files > 0 and two.files == 2 * one.files and two.bytes > 1.8 * one.bytes


def test_a_resumed_build_counts_what_is_missing(digits: Source, tmp_path: Path) -> None:
    path = built(digits, tmp_path)
    manifest = catalogue.read_manifest(path)
    (path / "manifest.json").unlink()
    done = growth(digits, before=open_build(path))
    assert done.is_known and done.need() == Need(bytes=0, files=0)
    for k in (1, 2):
        (path / "ledger" / f"{k:06d}.json").unlink()
    half = growth(digits, before=open_build(path)).need()
    assert half.files == 2 * (len(manifest.columns) + 1)
    arrays = sum(entry.size for name, entry in manifest.files.items() if "/c.1" in name)
    records = 2 * (800 + 280 * len(manifest.columns))
    assert half.bytes == pytest.approx(2 * arrays + records, rel=0.2)


def test_reused_diagrams_count_as_the_donor_has_them(digits: Source, tmp_path: Path) -> None:
    donor = built(digits, tmp_path)
    for image in (IMAGE.replace(sigma=0.2), IMAGE.replace(pixels=24), IMAGE.replace(dtype="uint8")):
        estimate = growth(digits, image, donor=donor).need()
        path = built(digits, tmp_path, image)
        assert 0.6 < estimate.bytes / taken(path).bytes < 1.8, image


def test_mapped_images_count_whole(digits: Source, tmp_path: Path) -> None:
    donor, spec = built(digits, tmp_path), spec_of(digits, IMAGE.replace(sigma=0.2))
    how = options(mapped=True)
    columns = store_columns(digits, spec, with_inputs=True)
    layout = choose_layout(digits, spec, None, how)
    estimate = growth_of(digits, columns, layout, before=None, donor=donor).need()
    path = built(digits, tmp_path, spec.image, mapped=True)
    assert 0.8 < estimate.bytes / taken(path).bytes < 1.4


class Disk(files.System):
    """The system, on a file system with so many free blocks of 4 kB and free inodes."""

    def __init__(self, blocks: int, inodes: int = 10**6) -> None:
        self.blocks, self.inodes = blocks, inodes

    def statvfs(self, path: Any) -> Any:  # type: ignore[override]
        Path(path).stat()
        return SimpleNamespace(
            f_frsize=4096, f_blocks=10**6, f_bavail=self.blocks, f_files=10**6, f_favail=self.inodes
        )


@pytest.fixture
def full() -> Iterator[Disk]:
    disk = Disk(10)
    with installed(disk):
        yield disk


def test_no_room_is_told_before_anything_is_written(
    digits: Source, tmp_path: Path, full: Disk
) -> None:
    with pytest.raises(StorageFull, match=r"its file system has 41\.0 kB free; give another"):
        built(digits, tmp_path)
    assert list(tmp_path.iterdir()) == []
    full.blocks, full.inodes = 10**6, 12
    with pytest.raises(StorageFull, match="it needs 50 inodes and 12 are free"):
        built(digits, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_who_insists_builds(digits: Source, tmp_path: Path, full: Disk) -> None:
    assert built(digits, tmp_path, space_check=False).exists()
    built(digits, tmp_path)  # found: it takes nothing


def test_a_budget_is_kept(digits: Source, tmp_path: Path) -> None:
    built(digits, tmp_path)
    used = used_bytes(tmp_path)
    set_budget(tmp_path, used + used // 2)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StorageFull, match="are used, and the budget of this root is"):
        built(digits, tmp_path, IMAGE.replace(sigma=0.3))
    assert sorted(tmp_path.rglob("*")) == before
    set_budget(tmp_path, 3 * used)
    built(digits, tmp_path, IMAGE.replace(sigma=0.3))


def test_what_compresses_well_is_measured_and_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raw sizes refuse nothing: where they do not fit, a few samples are measured."""
    from pipeline.sources.arrays import from_arrays

    source = from_arrays(np.tile(np.arange(30.0), (100, 1)), sample="signal")
    image = ImageSpec(pixels=80)
    raw = growth(source, image).need()
    made = []

    def counted(*given: Any, **named: Any) -> Any:
        made.append(given)
        return measure(*given, **named)

    monkeypatch.setattr(prepare_module, "measure", counted)
    with installed(Disk(raw.bytes // 4096)):
        built(source, tmp_path / "little", image)
    assert len(made) == 1
    built(source, tmp_path / "much", image)
    assert len(made) == 1


def test_both_stores_of_a_dataset_maximum_need_room(digits: Source, tmp_path: Path) -> None:
    cost = measure(digits, spec_of(digits, MAXIMUM))
    alone = growth(digits, MAXIMUM).need(cost)
    planned = make_plan(digits, spec_of(digits, MAXIMUM), options=options(), root=tmp_path)
    assert planned.adds.bytes > 1.9 * alone.bytes and planned.adds.files == 2 * alone.files
    with installed(Disk(planned.adds.bytes // 4096)), pytest.raises(StorageFull, match="free"):
        built(digits, tmp_path, MAXIMUM)
    assert list(tmp_path.iterdir()) == []
    built(digits, tmp_path, MAXIMUM)
    raw = tmp_path / "stores" / spec_of(digits, raw_image(MAXIMUM)).key
    assert (raw / "manifest.json").exists()


def test_a_plan_warns_and_shows_the_room(tmp_path: Path, full: Disk) -> None:
    words = ["plan", "digits", "--limit", "60", "--cache", str(tmp_path)]
    shown = CliRunner().invoke(pipeline.cli.cli, words)
    assert shown.exit_code == 0
    assert "warning: there is no room for this build: it needs about" in shown.stderr
    assert "41.0 kB, 1,000,000 inodes free" in shown.stdout
    full.blocks = 10**6
    set_budget(tmp_path, 10**7)
    shown = CliRunner().invoke(pipeline.cli.cli, words)
    assert "warning" not in shown.stderr
    assert "0.0 kB used of a budget of 10.0 MB" in shown.stdout
    document = json.loads(CliRunner().invoke(pipeline.cli.cli, [*words, "--json"]).stdout)
    assert document["room"]["budget"] == 10**7 and document["adds"]["bytes"] > 0
