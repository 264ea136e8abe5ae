"""The `pipeline` and `pi-cache` commands as a user types them; every example of every help text."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

import pi_cache.cli
import pipeline.cli
from pi_cache.commands.options import CONTEXT
from pi_cache.reader import open_store
from tests.pipeline.legacy_data import make_examples
from tests.recordings.made import write_sisfall

COMMANDS = {"pipeline": pipeline.cli.cli, "pi-cache": pi_cache.cli.cli}
if find_spec("torch") is not None:
    from training.commands.group import cli as training_cli

    COMMANDS["training"] = training_cli
TRAINING = "tests/training/test_cli.py"
"""Runs the examples of `training`, on networks that it trains."""
KEEPING = ("pin", "unpin", "rm", "gc", "budget")
"""Commands of the cache that change it: their examples run on a copy."""
KEY_IN_HELP = re.compile(r"(/data/pi/stores/|stores/)?3f2a\w*(\.\.\.)?(/spec\.json)?")


def run(words: str | list[str], **options: Any) -> Result:
    name, *arguments = shlex.split(words) if isinstance(words, str) else words
    return CliRunner().invoke(COMMANDS[name], arguments, catch_exceptions=False, **options)


def run_json(words: str | list[str]) -> Any:
    result = run(words)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def examples() -> list[str]:
    """Every example line of every command's help, but those of `training`, see TRAINING."""
    lines = []
    for name in ("pipeline", "pi-cache"):
        for command in COMMANDS[name].commands.values():
            text = (command.epilog or "").removeprefix("\b\nExamples:\n")
            lines += [line.strip() for line in text.splitlines() if line.strip()]
    return lines


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with one store of digits, and a plan of jobs for it."""
    root = tmp_path_factory.mktemp("캐시")
    same = ["digits", "--limit", "60", "--cache", str(root), "--json"]
    run_json(["pipeline", "submit", *same, "--plan-only"])
    built = run_json(["pipeline", "build-pis", *same])
    assert built["samples"] == 60
    return root


@pytest.fixture(scope="module")
def key(cache: Path) -> str:
    return str(run_json(["pi-cache", "ls", "--cache", str(cache), "--json"])[0]["key"])


def test_build_prints_what_scripts_need(cache: Path, tmp_path: Path) -> None:
    command = ["pipeline", "build-pis", "--limit", "40", "--cache", str(tmp_path), "--json"]
    first, again = run_json(command), run_json(command)
    assert {"key", "path", "samples", "status", "seconds", "digest"} <= first.keys()
    assert first["samples"] == 40 and first["status"] == {"OK": 40}
    assert (Path(first["path"]) / "data.zarr" / "zarr.json").exists()
    assert again["found"] and not first["found"]
    assert again["key"] == first["key"]


def test_talk_goes_to_stderr(tmp_path: Path) -> None:
    result = run(["pipeline", "build-pis", "--limit", "16", "--cache", str(tmp_path), "--json"])
    assert len(result.stdout.splitlines()) == 1
    assert "no store under" in result.stderr


def test_options_reach_the_spec(tmp_path: Path) -> None:
    words = (
        "pipeline build-pis digits --limit 16 --filtration cubical --construction vertices "
        "--homology 1 --pixels 7 --sigma 0.2 --birth-range -1,2 --persistence-range 0,3 "
        "--weight power:2 --normalise none --threshold 0.01 --dtype float32 --no-inputs --json"
    )
    built = run_json([*shlex.split(words), "--cache", str(tmp_path)])
    store = open_store(built["path"])
    diagram, image = store.spec.diagram, store.spec.image
    assert (diagram.filtration, diagram.construction) == ("cubical", "vertices")
    assert diagram.homology == (1,)
    assert (image.pixels, image.sigma, image.weight) == (7, 0.2, "power:2.0")
    assert (image.birth_range, image.persistence_range) == ((-1, 2), (0, 3))
    assert (image.normalise, image.threshold, image.dtype) == ("none", 0.01, "float32")
    assert "inputs" not in store.columns


@pytest.mark.parametrize("suffix", ["json", "toml"])
def test_a_saved_spec_says_the_same_as_options(suffix: str, tmp_path: Path) -> None:
    saved = tmp_path / f"spec.{suffix}"
    if suffix == "toml":
        saved.write_text('source = "digits"\nlimit = 16\n[image]\nsigma = 0.125\npixels = 9\n')
    else:
        document = {"source": "digits", "limit": 16, "image": {"sigma": 0.125, "pixels": 9}}
        saved.write_text(json.dumps(document))
    end = ["--cache", str(tmp_path), "--json"]
    from_file = run_json(["pipeline", "build-pis", "--spec", str(saved), *end])
    words = ["--limit", "16", "--sigma", "0.125", "--pixels", "9"]
    assert run_json(["pipeline", "build-pis", "digits", *words, *end])["key"] == from_file["key"]
    resolved = str(Path(from_file["path"]) / "spec.json")
    again = run_json(["pipeline", "build-pis", "--spec", resolved, *end])
    assert again["key"] == from_file["key"] and again["found"]
    changed = run_json(["pipeline", "build-pis", "--spec", resolved, "--sigma", "0.25", *end])
    assert changed["key"] != from_file["key"] and changed["reused_diagrams"]


def test_a_misspelt_field_in_a_saved_spec_is_refused(tmp_path: Path) -> None:
    saved = tmp_path / "spec.json"
    saved.write_text('{"image": {"sigmma": 1}}')
    result = command_line("pipeline", "build-pis", "--spec", str(saved), "--cache", str(tmp_path))
    assert result.returncode == 2
    assert "unknown field 'sigmma'; did you mean 'sigma'?" in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"source": 5}', "source must be text, got 5"),
        ('{"diagram": [1]}', "diagram must be a table"),
        ('{"limit": "abc"}', "limit must be a whole number"),
        ('{"limit": -5}', "limit must be at least 1"),
        ('{"recipe": null}', "recipe must be text"),
        ('{"image": {"pixels": "5.5"}}', "pixels must be a whole number"),
        ('{"diagram": {"centre": "false"}}', "centre must be true or false"),
        ('{"source": {}}', "spec format None is not supported"),
        ("{", "not a readable JSON"),
    ],
)
def test_a_saved_spec_of_wrong_types_is_a_sentence(
    content: str, message: str, tmp_path: Path
) -> None:
    saved = tmp_path / "spec.json"
    saved.write_text(content)
    result = command_line("pipeline", "plan", "--spec", str(saved), "--cache", str(tmp_path))
    assert result.returncode == 2 and message in result.stderr
    assert "Traceback" not in result.stderr


def test_the_spec_of_a_store_builds_that_store(tmp_path: Path, rng: np.random.Generator) -> None:
    """Split, options and limit come back with it; other data are refused, unless named."""
    splits = np.array(["train"] * 6 + ["test"] * 6)
    np.savez(tmp_path / "x.npz", data=rng.normal(size=(12, 20)), splits=splits)
    end = ["--cache", str(tmp_path), "--json"]
    words = ["--split", "test", "--sample", "signal", "--limit", "5", "--recipe", "tda-kd-pamap2"]
    first = run_json(["pipeline", "build-pis", f"array:{tmp_path / 'x.npz'}", *words, *end])
    assert first["samples"] == 5
    spec = str(Path(first["path"]) / "spec.json")
    again = run_json(["pipeline", "build-pis", "--spec", spec, *end])
    assert again["key"] == first["key"] and again["found"]
    assert open_store(first["path"]).spec.recipe == "tda-kd-pamap2"
    rips = ["--filtration", "rips", "--embedding-dimension", "2", "--embedding-delay", "3"]
    assert run_json(["pipeline", "plan", "--spec", spec, *rips, *end])["samples"] == 5
    both = command_line("pipeline", "plan", "--spec", spec, "--recipe", "tgd-cifar10")
    assert both.returncode == 2 and "give one of the two" in both.stderr
    np.savez(tmp_path / "x.npz", data=rng.normal(size=(12, 20)), splits=splits)
    changed = command_line("pipeline", "plan", "--spec", spec)
    assert changed.returncode == 1 and "holds other samples" in changed.stderr
    named = ["pipeline", "plan", f"array:{tmp_path / 'x.npz'}", "--spec", spec, *end]
    assert run_json([*named, "--sample", "signal"])["samples"] == 12


def test_precisions_of_diagram_and_image_are_two_options(tmp_path: Path) -> None:
    end = ["--limit", "16", "--cache", str(tmp_path), "--json"]
    one = run_json(["pipeline", "build-pis", "digits", "--precision", "float32", *end])
    two = run_json(["pipeline", "build-pis", "digits", "--image-precision", "float32", *end])
    specs = [open_store(built["path"]).spec for built in (one, two)]
    assert [s.diagram.precision for s in specs] == ["float32", "float64"]
    assert [s.image.precision for s in specs] == ["float64", "float32"]


def test_a_data_set_without_a_usable_sample_fails(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((3, 20), np.nan))
    words = ["build-pis", f"array:{tmp_path / 'x.npy'}", "--sample", "signal"]
    done = command_line("pipeline", *words, "--cache", str(tmp_path))
    assert done.returncode == 1
    assert "no sample is usable" in done.stderr and "000000" in done.stderr


def test_layout_options_of_a_store_that_is_there_are_answered(tmp_path: Path) -> None:
    end = ["--limit", "16", "--cache", str(tmp_path)]
    run(["pipeline", "build-pis", "digits", *end])
    result = run(["pipeline", "build-pis", "digits", "--mapped", "--no-inputs", *end])
    assert "mapped: this store is compressed" in result.stderr
    again = run(["pipeline", "build-pis", "digits", "--chunk-samples", "1", *end])
    assert "chunk-samples 1: this store has 8 a chunk" in again.stderr
    refused = command_line(
        "pipeline", "build-pis", "digits", "--mapped", "--chunk-samples", "4", *end
    )
    assert refused.returncode == 2
    assert "chunk_samples goes with compressed shards; mapped ones have 1" in refused.stderr
    assert "no-inputs: this store holds the inputs" in result.stderr


def command_line(*words: str) -> subprocess.CompletedProcess[str]:
    """The installed command's entry point, in a process of its own."""
    module = {"pipeline": "pipeline.cli", "pi-cache": "pi_cache.cli"}[words[0]]
    return subprocess.run(
        [sys.executable, "-m", module, *words[1:]], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("pipeline", "build-pis", "--pixels", "many"), 2, "not a valid integer"),
        (("pipeline", "build-pis", "--dtype", "float8"), 2, "Invalid value for '--dtype'"),
        (("pipeline", "build-pis", "--birth-range", "0,x"), 2, "--birth-range"),
        (("pipeline", "build-pis", "--sigma", "-1"), 2, "sigma must be positive"),
        (("pipeline", "build-pis", "no-such:thing"), 2, "is no source"),
        (("pipeline", "build-pis", "--recipe", "tgd"), 2, "did you mean 'tgd-cifar10'?"),
        (("pipeline", "build-pis", "--engine", "ripser", "--filtration", "cubical"), 2, "gudhi"),
        (("pipeline", "explain", "abcd1234", "0"), 1, "no store 'abcd1234'"),
        (("pi-cache", "show", "abcd1234"), 1, "no store 'abcd1234'"),
    ],
)
def test_misuse_and_failure_are_told_apart(
    words: tuple[str, ...], code: int, message: str, tmp_path: Path
) -> None:
    done = command_line(*words, "--cache", str(tmp_path))
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_plan_builds_nothing(tmp_path: Path) -> None:
    planned = run_json(["pipeline", "plan", "digits", "--cache", str(tmp_path), "--json"])
    wanted = {"shards", "files", "bytes", "memory_per_worker", "seconds", "found"}
    assert wanted <= planned.keys()
    assert list(tmp_path.iterdir()) == []
    assert planned["samples"] == 1797 and not planned["found"]


def test_explain_tells_the_cell_of_a_pixel(cache: Path, key: str) -> None:
    end = ["--cache", str(cache), "--json"]
    facts = run_json(["pipeline", "explain", key[:8], "3", "--pixel", "10,25", *end])
    channel = facts["channels"][0]
    assert channel["birth"] == pytest.approx([0.5, 0.52])
    assert channel["persistence"] == pytest.approx([0.2, 0.22])
    store = open_store(key, root=cache)
    assert channel["value"] == pytest.approx(float(store.read("images", [3])[0, 0, 10, 25]))
    assert channel["points"] == len(store.diagram(3, 0))
    assert facts["label"] == "3" and facts["status"] == "OK"


def test_pictures_are_drawn_and_the_same_each_time(cache: Path, key: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for words in (["explain", key, "3"], ["report", key]):
        drawn = []
        for name in ("one.png", "two.png"):
            path = tmp_path / name
            result = run(["pipeline", *words, "--png", str(path), "--cache", str(cache)])
            assert result.exit_code == 0
            drawn.append(path.read_bytes())
        assert drawn[0] == drawn[1]
        assert drawn[0].startswith(b"\x89PNG") and len(drawn[0]) > 10_000


def test_report_counts_the_window(cache: Path, key: str) -> None:
    facts = run_json(["pipeline", "report", key, "--cache", str(cache), "--json"])
    assert facts["points_inside"] == 1.0, "digits lie in 0..1"
    assert facts["status"] == {"OK": 60}


def test_a_window_that_loses_most_points_is_a_warning(tmp_path: Path) -> None:
    words = ["--limit", "30", "--birth-range", "0.9,1", "--cache", str(tmp_path)]
    result = run(["pipeline", "build-pis", *words])
    assert result.exit_code == 0
    share = re.search(r"warning: the window .* holds ([\d.]+)% of the points", result.stderr)
    assert share is not None and float(share[1]) < 50
    assert "--birth-range=0,0." in result.stderr


def test_every_help_ends_with_examples() -> None:
    for name, group in COMMANDS.items():
        for command in group.commands.values():
            text = command.get_help(click.Context(command, info_name=command.name, **CONTEXT))
            assert f"{name} {command.name}" in text.partition("Examples:")[2]


@pytest.mark.parametrize("example", examples())
def test_examples_run(
    example: str, cache: Path, key: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each example of a help text, on data and a store of those names."""
    own = workplace / "cache"
    monkeypatch.setenv("PI_CACHE", str(own))
    monkeypatch.setenv("PI_CACHE_TOKENS", str(workplace / "tokens"))
    if example.split()[1] in KEEPING:
        cache = shutil.copytree(cache, own)
        for place in cache.rglob("*"):
            os.utime(place, (0, 0))  # long ago: what is young is not removed
    words = KEY_IN_HELP.sub(lambda m: str(cache / "stores" / key) + (m[3] or ""), example)
    words, _, _ = words.partition(" | ")
    if example.split()[1] == "serve":
        pytest.skip("runs until it is told to end; see tests/serving/test_command.py")
    if example.split()[1] == "request":
        pytest.skip("asks a service; see tests/serving/test_builds_http.py")
    if example.split()[1] in ("pull", "push"):
        if "://" in words:
            pytest.skip("needs another machine; see tests/remote")
        if example.split()[1] == "pull":  # which takes a cache, and a key in it
            words = words.replace(str(cache / "stores" / key), key)
        other = cache if example.split()[1] == "pull" else workplace / "other"
        words = words.replace("/mnt/lab/pi", str(other))
    if " fetch " in words and "--list" not in words:
        pytest.skip("downloads; see tests/sources/test_fetch.py")
    for place in ("/data/pi", "demo-cache"):
        words = words.replace(place, str(own))
    result = run(shlex.split(words))
    assert result.exit_code == 0, result.output


def test_too_little_memory_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacks(**options: object) -> int:
        raise MemoryError("Unable to allocate 8.00 GiB")

    monkeypatch.setattr(pipeline.cli, "cli", lacks)
    monkeypatch.setattr(pipeline.cli, "_Signals", lambda: SimpleNamespace(seen=False))
    with pytest.raises(SystemExit, match="1"):
        pipeline.cli.main()
    said = capsys.readouterr().err
    assert said.startswith(
        "pipeline: out of memory (Unable to allocate 8.00 GiB); what is finished"
    )


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Persistence images that were made elsewhere, under the names of the examples."""
    folder = tmp_path_factory.mktemp("legacy")
    make_examples(folder)
    return folder


@pytest.fixture
def workplace(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    rng: Any,
    legacy: Path,
) -> Path:
    """A folder with the data that examples name, as the current one."""
    folder = tmp_path_factory.mktemp("work")
    monkeypatch.chdir(folder)
    for place in legacy.iterdir():
        (folder / place.name).symlink_to(place)
    np.savez("windows.npz", data=rng.normal(size=(9, 50, 3)), labels=np.arange(9))
    cifar = folder / "data" / "cifar-10-batches-bin"
    cifar.mkdir(parents=True)
    for name in (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"):
        record = rng.integers(0, 256, (1, 3073), dtype=np.uint8)
        record[:, 0] = 3
        (cifar / name).write_bytes(np.repeat(record, 10_000, axis=0).tobytes())
    write_sisfall(folder / "data" / "SisFall", rows=700)
    return folder
