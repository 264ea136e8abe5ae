"""Methods by name and by words of a command line; settings that are refused."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from pi_cache.errors import InvalidSpec
from training.commands.distill import distill
from training.methods import METHODS, describe, make_method, picked
from training.methods.catalogue import KINDS, PARSERS
from training.presets import PRESETS

pytestmark = pytest.mark.torch

WITH_LAYERS = ("at", "sp", "amd", "amd-gl", "tgd", "tpkd")
PAGES = Path(__file__).resolve().parents[2] / "docs" / "methods"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_its_plain_values(name: str) -> None:
    method = make_method(name)
    assert make_method(**json.loads(json.dumps(method.to_dict()))) == method
    described = json.loads(json.dumps(describe(METHODS[name])))
    settings = described["settings"]
    assert make_method(name, **settings) == method
    words = {
        n: ",".join(map(str, v)) if isinstance(v, list) else str(v) for n, v in settings.items()
    }
    assert make_method(name, **words) == method
    assert described["summary"].endswith(".")
    assert described["terms"][:2] == ["ce", "kd"]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_a_page(name: str) -> None:
    text = (PAGES / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| `{name}` \| .*\[[^]]*\]\((\S+\.md)\)", text, re.MULTILINE)
    assert found is not None
    page = (PAGES / found[1]).read_text(encoding="utf-8")
    assert f"training distill {name} " in page
    for setting in describe(METHODS[name])["settings"]:
        assert f"`{setting}`" in page + text, setting


def lines() -> list[str]:
    """The command lines of all pages."""
    texts = [page.read_text(encoding="utf-8") for page in sorted(PAGES.glob("*.md"))]
    blocks = [block for text in texts for block in re.findall(r"```\n(.*?)```", text, re.DOTALL)]
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("line", lines())
def test_commands_of_pages(line: str) -> None:
    program, command, *words = shlex.split(line)
    assert (program, command) == ("training", "distill")
    told = distill.make_context("distill", words).params
    settings = dict(word.split("=", 1) for word in told["method_settings"])
    method = make_method(told["method"], **settings)
    method.check_teachers(len(told["teachers"]))
    assert told["start"] or not method.needs_start
    assert told["preset"] in PRESETS or told["epochs"]
    assert all(picked(method, teacher) for teacher in told["teachers"])


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_to_headings(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]+)#?([^)]*)\)", page.read_text(encoding="utf-8")):
        text = (page.parent / target).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        plain = {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
        assert not anchor or anchor in plain, (target, anchor)


def test_every_kind_of_setting_can_be_told() -> None:
    assert set(KINDS) == set(PARSERS)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ({"weights": "0.5, 0.3,0.2"}, {"weights": (0.5, 0.3, 0.2)}),
        ({"weights": [0.5, 0.5]}, {"weights": (0.5, 0.5)}),
        ({"layers": "stage1,stage2:stage3"}, {"layers": ("stage1", "stage2:stage3")}),
        ({"layers": "last"}, {"layers": ("last",)}),
        ({"ce_weight": "none"}, {"ce_weight": None}),
        ({"ce_weight": "0.5", "product": "False"}, {"ce_weight": 0.5, "product": False}),
        ({"patches": "9", "temperature": 3}, {"patches": 9, "temperature": 3.0}),
    ],
)
def test_words(words: dict[str, Any], values: dict[str, Any]) -> None:
    method = make_method("tpkd", **words)
    assert {name: getattr(method, name) for name in values} == values


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("tgdd", {}, r"unknown method 'tgdd'; did you mean 'tgd'\?; there are kd, eskd"),
        ("TDA_KD", {}, "did you mean 'tda-kd'"),
        ("kd", {"kd_weigth": 0.5}, "no setting 'kd_weigth'; did you mean 'kd_weight'"),
        ("kd", {"temperature": "hot", "x": 1}, "temperature must be a number, got 'hot'; .*'x'"),
        ("kd", {"temperature": True}, "temperature must be a number, got True"),
        ("kd", {"temperature": 0}, "temperature must be a finite number above 0, got 0.0"),
        ("kd", {"kd_weight": "nan"}, "kd_weight must be a finite number from 0 on, got nan"),
        ("kd", {"kd_weight": -0.1}, "kd_weight must be a finite number from 0 on"),
        ("kd", {"kd_weight": 1.2}, "give ce_weight too where kd_weight is above 1"),
        ("kd", {"kd_reduction": "mean"}, "kd_reduction must be one of batch_mean, element_mean"),
        ("tgd", {"weights": "0.9,0.2"}, r"must add up to 1, got 0.9 \+ 0.2 = 1.1"),
        ("tgd", {"weights": "inf,-inf"}, r"must add up to 1, got inf \+ -inf = nan"),
        ("tgd", {"weights": "1e308,1e308"}, "must add up to 1, got .* = inf"),
        ("tgd", {"weights": "1.5,-0.5"}, "weight 2 of teachers must be a finite number from 0"),
        ("multi", {"weights": "0.5,0.5"}, "weights are for weighting=weighted, got averaged"),
        ("multi", {"weighting": "weighted"}, "must add up to 1"),
        ("multi", {"weighting": "entropie"}, "did you mean 'entropy'"),
        ("tpkd", {"patches": 3}, "a square number in a grid, got 3"),
        ("tpkd", {"patches": "inf"}, "patches must be a whole number, got 'inf'"),
        ("kd", {"kd_weight": 10**400}, "kd_weight must be a number, got 1000"),
        ("tpkd", {"patches": "3.5"}, "patches must be a whole number, got '3.5'"),
        ("tpkd", {"product": "maybe"}, "product must be true or false, got 'maybe'"),
        ("tpkd", {"layers": 3}, "layers must be names joined by commas, got 3"),
        ("tpkd", {"layout": "rows"}, "layout must be one of grid, bands"),
        ("amd-gl", {"local": 2, "grid": 0}, "local must lie in 0..1, got 2.0; grid must be"),
        ("afd", {"size": 0}, "size must be a whole number from 1 on"),
        ("fitnet", {"layer": "all"}, "layer must be one layer"),
        (
            "at",
            {"power": 0.5, "reduction": "sum"},
            "power must be .* from 1 on, got 0.5; reduction",
        ),
        *[(name, {"layers": ","}, "layers must name one") for name in WITH_LAYERS],
        ("afd", {"student_layers": []}, "student_layers must name one layer at least"),
        ("afd", {"teacher_layers": ""}, "teacher_layers must name one layer at least"),
    ],
)
def test_refusals(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        make_method(name, **settings)


@pytest.mark.parametrize(
    ("name", "settings", "teachers", "message"),
    [
        ("kd", {}, 2, "kd learns from 1 teacher, got 2"),
        ("tgd", {}, 1, "tgd learns from 2 teachers or more, got 1"),
        ("tgd", {}, 3, r"3 teachers need as many weights, got 2 \(0.99 \+ 0.01\); set weights"),
        ("multi", {"weighting": "weighted", "weights": "0.5,0.5"}, 3, "3 teachers need as many"),
    ],
)
def test_teachers_are_counted(
    name: str, settings: dict[str, Any], teachers: int, message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message):
        make_method(name, **settings).check_teachers(teachers)


def test_early_and_full_teachers_are_picked() -> None:
    assert picked(make_method("eskd"), "runs/teacher") == "runs/teacher:best"
    assert picked(make_method("full-kd"), "runs/teacher") == "runs/teacher:last"
    assert picked(make_method("full-kd"), "runs/teacher:last") == "runs/teacher:last"
    assert picked(make_method("kd"), "runs/teacher:last") == "runs/teacher:last"
    assert picked(make_method("eskd"), "x.safetensors") == "x.safetensors"
    assert picked(make_method("eskd"), "C:/runs/a") == "C:/runs/a:best"
    with pytest.raises(InvalidSpec, match=r"eskd is KD from the best epoch .* or use kd"):
        picked(make_method("eskd"), "runs/teacher:last")


def test_only_tpkd_must_be_annealed() -> None:
    assert [name for name, method in METHODS.items() if method.needs_start] == ["tpkd"]
