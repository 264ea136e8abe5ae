"""Builds of a few digits by jobs: plans, elements in processes of their own, and what they did."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from pipeline.build import build
from pipeline.buildoptions import Options
from pipeline.cli import cli
from pipeline.cluster.workplan import Planned, read_plan
from pipeline.recipes import find_recipe
from pipeline.sources import open_source

SITE = Path(__file__).parent / "site"
SAMPLES, SHARD = 96, 8
SHARDS = SAMPLES // SHARD


@dataclass(frozen=True)
class Trial:
    """A cache below a folder, with marks of what was computed.

    seconds: that a shard takes. poison, error: shards that end their process, and that raise.
    """

    folder: Path
    seconds: float = 0.0
    poison: tuple[int, ...] = ()
    error: tuple[int, ...] = ()
    more: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.marks.mkdir(parents=True, exist_ok=True)

    @property
    def root(self) -> Path:
        """The cache; its name has what shells and scripts may trip over."""
        return self.folder / "캐시 50%A's"

    @property
    def marks(self) -> Path:
        return self.folder / "marks"

    @property
    def variables(self) -> dict[str, str]:
        """What the jobs find in their environment."""
        return {
            "PYTHONPATH": str(SITE),
            "PI_TEST_MARKS": str(self.marks),
            "PI_TEST_SECONDS": str(self.seconds),
            "PI_TEST_POISON": ",".join(map(str, self.poison)),
            "PI_TEST_ERROR": ",".join(map(str, self.error)),
            **self.more,
        }

    def words(self, command: str = "submit") -> list[str]:
        """The command that builds the digits."""
        size = ["--limit", str(SAMPLES), "--shard-samples", str(SHARD)]
        return [command, "digits", *size, "--cache", str(self.root), "--json"]

    def setup(self) -> list[str]:
        """Options of `submit` that give jobs this environment."""
        lines = (f"export {name}={shlex.quote(text)}" for name, text in self.variables.items())
        return [word for line in lines for word in ("--setup", line)]

    def plan(self) -> Planned:
        """A plan that nobody submits."""
        return read_plan(Path(invoke(*self.words(), "--plan-only")["plan"]))

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """A command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.variables},
            **options,
        )

    def computed(self) -> Counter[int]:
        """How often each shard was begun."""
        return Counter(int(path.name.partition(".")[0]) for path in self.marks.iterdir())


def invoke(*words: str, code: int = 0) -> Any:
    """What a command prints as JSON, in this process."""
    result = CliRunner().invoke(cli, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if result.stdout.strip() else None


def serial_digest(folder: Path) -> str:
    """Of the store of the same digits, built by this process."""
    recipe = find_recipe("default")
    options = Options(executor="serial", shard_samples=SHARD)
    source = open_source("digits")[:SAMPLES]
    return build(source, recipe.diagram, recipe.image, root=folder, options=options).manifest.digest
