"""What the documents say is true: commands parse, both READMEs name the same, files exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pi_cache.commands.options import CONTEXT
from pipeline.recipes import RECIPES
from tests.pipeline.test_cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    "README.md",
    "README.ko.md",
    "data/README.md",
    "docs/gramian-angular-fields.md",
    "docs/augmentations.md",
    "docs/build-on-demand.md",
    "docs/dask.md",
    "docs/delay-embeddings.md",
    "docs/distillation.md",
    "docs/evaluation.md",
    "docs/experiments.md",
    "docs/exports.md",
    "docs/rendering.md",
    "docs/slurm.md",
    "docs/migration.md",
    "docs/pi-nets.md",
    "docs/recordings.md",
    "docs/results/README.md",
    "docs/remote.md",
    "docs/self-training.md",
    "docs/serving.md",
    "docs/wearables.md",
    *(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/results/*/page.md")),
]
PAGES = [
    f"docs/{name}.md" for name in ("conventions", "format", "joins-and-folds", "losses", "models")
]


def commands(document: str) -> list[str]:
    """The command lines of a document's blocks, without their comments."""
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.split("\n")]
    return [line.partition("#")[0].strip() for line in lines if line.split(" ")[0] in COMMANDS]


@pytest.mark.parametrize(
    ("document", "line"), [(name, line) for name in DOCUMENTS for line in commands(name)]
)
def test_commands_of_documents_parse(
    document: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, command, *arguments = shlex.split(line)
    monkeypatch.chdir(tmp_path)
    if "--spec" in arguments:  # a file that the document has its reader write
        Path(arguments[arguments.index("--spec") + 1]).touch()
    COMMANDS[name].commands[command].make_context(command, arguments, **CONTEXT)


def test_both_quick_starts_have_the_same_commands() -> None:
    def plain(document: str) -> list[str]:
        words = r"imagefolder:\S+|(?<=--note ).*"  # what a user names
        return [re.sub(words, "...", line) for line in commands(document)]

    assert plain("README.md") == plain("README.ko.md")
    assert len(commands("README.md")) > 5


@pytest.mark.parametrize("document", [*DOCUMENTS, *PAGES])
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert ((ROOT / document).parent / target).exists(), target


def test_the_readme_names_every_published_recipe() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in RECIPES if name != "default")
