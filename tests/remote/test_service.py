"""The service itself: read, joined and pulled by its address, with a token, over a bad line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pi_cache import open_store
from pi_cache.cli import cli
from pi_cache.errors import AccessRefused, PiCacheError, StoreNotFound
from pi_cache.remote.pulling import pull
from tests.pi_cache.made import make_spec, make_store
from tests.remote.lab import Line, running, scattered, source
from tests.remote.test_pull import assert_equal
from tests.serving.lab import Served, make_token, serving

pytest.importorskip("starlette")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def stores(root: Path) -> list[Path]:
    return [make_store(root, make_spec(samples)) for samples in (40, 24)]


@pytest.fixture(scope="module")
def service(root: Path, stores: list[Path]) -> Iterator[Served]:
    """A service whose token reads the first store only."""
    token = make_token(root / "tokens", "--store", stores[0].name)
    options = ("--tokens", str(root / "tokens"), "--rate", "0")
    with serving(root, root, *options, token=token) as found:
        yield found


def test_a_served_store_is_the_store(service: Served, stores: list[Path]) -> None:
    address = f"{service.url}/stores/{stores[0].name}"
    found = open_store(address, token=service.token)
    truth = open_store(stores[0])
    for name in truth.columns:
        np.testing.assert_array_equal(found.read_all(name), truth.read_all(name))
    assert found.ids.tolist() == truth.ids.tolist()
    for key in (stores[1].name, "f" * 64):
        with pytest.raises(StoreNotFound, match="or none that you may read"):
            found.beside(key)
    with pytest.raises(AccessRefused, match=r"set \$PI_CACHE_TOKEN"):
        open_store(address)
    log = service.log.read_text()
    assert stores[0].name in log and service.token not in log


def test_the_command_pulls_by_the_start_of_a_key(
    service: Served, stores: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PI_CACHE_TOKEN", service.token)
    for place, key in ((service.url, stores[0].name[:5]), (f"{service.url}/stores", "")):
        words = ["pull", place, key or stores[0].name, "--cache", str(tmp_path / (key or "whole"))]
        done = CliRunner().invoke(cli, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert_equal(Path(done.stdout.strip()), stores[0])
    words = ["pull", service.url, stores[1].name[:8], "--cache", str(tmp_path)]
    with pytest.raises(StoreNotFound, match="no store"):
        CliRunner().invoke(cli, words, catch_exceptions=False)


def test_a_bad_line_to_the_service(service: Served, stores: list[Path], tmp_path: Path) -> None:
    size = sum(path.stat().st_size for path in stores[0].rglob("*") if path.is_file())
    faults = scattered(6, size, 4)
    with running(Line(service.address[1], faults)) as line:
        place = f"{line.url}/stores/{stores[0].name}"
        for _ in range(5):
            with suppress(PiCacheError):  # such as a status that was flipped to a refusal
                done = pull(source(place, service.token), place, tmp_path)
                break
        assert sum(line.met.values()) >= 3
    assert_equal(Path(done.place), stores[0])
