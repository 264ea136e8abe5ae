"""The command prints data on stdout, talk on stderr, and says in its exit status what it met."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pi_cache import cli
from tests.pi_cache.made import begin_store, make_spec, make_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_store(tmp_path)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.cli, [str(a) for a in arguments])


def test_ls(path: Path) -> None:
    begin_store(path.parents[1], make_spec(7))
    result = run("ls", "--cache", path.parents[1])
    assert result.exit_code == 0
    assert f"{path.name[:12]}  finished" in result.stdout
    assert "unfinished" in result.stdout
    assert result.stderr == f"2 stores in {path.parents[1]}\n"
    rows = json.loads(run("ls", "--cache", path.parents[1], "--json").stdout)
    assert {row["state"] for row in rows} == {"finished", "unfinished"}


def test_show(path: Path) -> None:
    result = run("show", path.name[:8], "--cache", path.parents[1])
    assert result.exit_code == 0
    for text in (path.name, "sigma 0.05", "걷기 5", "train 16", "pi_cache.open_store(", "x, y, z"):
        assert text in result.stdout
    document = json.loads(run("show", path, "--json").stdout)
    assert document["samples"] == sum(document["status"].values()) == 20


def test_verify_exit_status_tells_what_is_wrong(path: Path) -> None:
    assert run("verify", path).exit_code == 0
    (path / "data.zarr/images/c.0.0.0.0").write_bytes(b"")
    assert run("verify", path).exit_code == 4
    (path / "data.zarr/images/c.1.0.0.0").unlink()
    (path / "foreign").write_bytes(b"")
    result = run("verify", path)
    assert result.exit_code == 4 + 8 + 32
    assert "1 corrupt, 1 missing, 1 orphan" in result.stderr
    (found,) = json.loads(run("verify", path, "--json").stdout)
    assert [item["kind"] for item in found["findings"]] == ["corrupt", "missing", "orphan"]
    assert found["complete"] and found["bytes_read"] < found["bytes"]


@pytest.mark.parametrize("command", ["ls", "show", "verify", "repair"])
def test_help_ends_with_examples(command: str) -> None:
    result = run(command, "-h")
    assert result.exit_code == 0
    assert f"Examples:\n    pi-cache {command}" in result.output
    assert run(command, "--nonsense").exit_code == 2


def test_an_error_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pi-cache", "show", "abcd", "--cache", str(tmp_path)])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"pi-cache: no store 'abcd' under {tmp_path}; pi-cache ls lists the stores\n"
