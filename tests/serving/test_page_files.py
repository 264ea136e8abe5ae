"""The files of the page: what is sent, nothing inline or from elsewhere, words in two languages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

import pi_cache.serving
from pi_cache.serving.pages import POLICY, read_assets
from pi_cache.specs import DiagramSpec, GramianSpec, ImageSpec, SourceSpec, Status
from tests.pi_cache.made import make_spec, make_store
from tests.serving.lab import Served, make_token, serving

PAGE = Path(pi_cache.serving.__file__).parent / "page"
SCRIPTS = sorted(PAGE.glob("*.js"))
WORDS: dict[str, list[str]] = json.loads((PAGE / "words.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root, folder = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("tokens")
    make_store(root, make_spec(5))
    tokens = folder / "tokens"
    token = make_token(tokens)
    with serving(root, folder, "--tokens", str(tokens), token=token) as service:
        yield service


def test_every_file_is_sent_with_its_type_and_a_strict_policy(served: Served) -> None:
    for name, asset in read_assets().items():
        answer = served.ask(f"/page/{name}")
        assert (answer.status, answer.body) == (200, (PAGE / name).read_bytes())
        assert answer.headers["content-type"] == asset.type
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert served.ask("/").body == (PAGE / "index.html").read_bytes()


def test_what_a_browser_has_is_not_sent_again(served: Served) -> None:
    first = served.ask("/page/app.js")
    again = served.ask("/page/app.js", headers={"If-None-Match": f'"x", {first.headers["etag"]}'})
    assert (again.status, again.body) == (304, b"")
    assert served.ask("/page/app.js", headers={"If-None-Match": '"x"'}).status == 200


@pytest.mark.parametrize(
    "name", ["", "..", "app.jsx", "../pages.py", "%2e%2e/pages.py", "app.js/", "/etc/passwd"]
)
def test_no_other_name_leads_to_a_file(served: Served, name: str) -> None:
    assert served.ask(f"/page/{name}").status == 404


def test_without_a_token_not_even_the_page_is_sent(served: Served) -> None:
    answers = [
        served.ask(path, headers={"Authorization": "Bearer no"})
        for path in ("/", "/page/app.js", "/page/none", "/v1/access")
    ]
    assert {(answer.status, answer.body) for answer in answers} == {(401, answers[0].body)}
    assert answers[0].headers["www-authenticate"] == 'Basic realm="pi-cache"'


class Markup(HTMLParser):
    """The elements of the page, with their attributes, and the text in scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def test_the_page_holds_nothing_inline_and_nothing_from_elsewhere() -> None:
    markup = Markup()
    markup.feed((PAGE / "index.html").read_text(encoding="utf-8"))
    names = [name for name, _ in markup.elements]
    assert "style" not in names
    for name, given in markup.elements:
        assert not [key for key in given if key.startswith("on") or key == "style"], name
        for place in (given.get("src"), given.get("href")):
            assert place is None or re.match(r"page/|#", place), place
        assert name != "script" or given.get("src")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_make_no_markup_of_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert word not in text, word
    assert not re.search(r"https?://", text)


def test_every_word_is_there_in_both_languages() -> None:
    for name, pair in WORDS.items():
        assert len(pair) == 2, name
        english, korean = pair
        assert english.strip() and korean.strip(), name
        holes = [sorted(re.findall(r"\{(\w+)\}", text)) for text in pair]
        assert holes[0] == holes[1], name
    korean = [pair[1] for name, pair in WORDS.items() if name != "other_language"]
    written = [text for text in korean if re.search("[가-힣]", text)]
    assert len(written) > 0.95 * len(korean)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_word_that_a_script_says_is_known(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    said = re.findall(r'\bt\("(\w+)"', text)
    assert not [name for name in said if name not in WORDS]


def test_no_word_is_left_that_nobody_says() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (*SCRIPTS, PAGE / "index.html"))
    made = ("state_", "status_", "field_", "unit_", "axis_", "phase_", "part_")
    unsaid = [name for name in WORDS if not name.startswith(made) and f'"{name}"' not in text]
    assert not unsaid


def test_every_status_and_field_has_its_meaning() -> None:
    parts = {
        "source": SourceSpec,
        "diagram": DiagramSpec,
        "image": ImageSpec,
        "gramian": GramianSpec,
    }
    for part, spec in parts.items():
        names = set(spec.__dataclass_fields__) - {"options"}
        assert not [name for name in names if f"field_{part}_{name}" not in WORDS]
    assert not [code for code in Status.__members__ if f"status_{code}" not in WORDS]
