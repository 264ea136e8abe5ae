"""The page in a real browser: looking at stores, following builds, keyboard, languages, hostile
names; no error, no request to another host, nothing that a screen reader stumbles over."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.serving import shown
from tests.serving.browser import chromium, visiting
from tests.serving.lab import make_token, serving

NARROW = {"viewport": {"width": 360, "height": 740}}
INK = """(canvas) => {
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(data.buffer)).size;
}"""
"""How many colours a picture has: one where nothing was drawn."""
FOCUS = """() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  return {
    name: element.id || element.textContent.trim(), tag: element.tagName,
    outline: style.outlineStyle,
    seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
  };
}"""


@dataclass(frozen=True)
class Here:
    """A service and its stores, by what they hold."""

    url: str
    keys: dict[str, str]

    def views(self) -> list[str]:
        """Every view, of every kind of store."""
        stores = [f"/stores/{key}" for key in self.keys.values()]
        return [
            "/",
            "/builds",
            *stores,
            *(f"{store}/gallery" for store in stores),
            f"{stores[1]}/samples/4",
        ]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def here(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    root, folder = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("service")
    signals = shown.write_signals(folder)
    keys = {
        "digits": shown.make_digits(root),
        "signals": shown.make_signals(root, signals),
        "fields": shown.make_fields(root, signals),
        "imported": shown.make_imported(root),
        "hostile": shown.make_hostile(root),
    }
    words = ("--source", "digits=digits", "--workers", "1", "--niceness", "0")
    with serving(root, folder, *words) as served:
        yield Here(served.url, keys)


def names(page: Any) -> list[str]:
    """The stores in the list."""
    return [link.inner_text() for link in page.query_selector_all(".stores td:first-child a")]


def test_search_and_sort_the_stores(browser: Any, here: Here) -> None:
    with visiting(browser, here.url) as visit:
        page = visit.open()
        assert len(names(page)) == 5
        page.get_by_role("searchbox").fill("digits cubical")
        assert names(page) == ["cubical"]
        page.get_by_role("searchbox").fill("image.sigma=0.6")
        assert names(page) == ["sublevel"]
        assert "find=image.sigma" in page.url
        page.reload()  # the address holds the search
        page.wait_for_selector(".stores")
        assert names(page) == ["sublevel"]
        page.get_by_role("searchbox").fill("no such store")
        assert page.get_by_text("No store has all of these words.").is_visible()
        page.get_by_role("searchbox").fill("")
        page.get_by_role("button", name="Samples").click()
        counts = [
            int(cell.inner_text()) for cell in page.query_selector_all(".stores td:nth-child(3)")
        ]
        assert counts == sorted(counts, reverse=True)
        assert page.locator("th[aria-sort=descending]").inner_text().startswith("Samples")


def test_one_store_tells_its_spec_and_how_to_use_it(browser: Any, here: Here) -> None:
    key = here.keys["signals"]
    with visiting(browser, here.url, permissions=["clipboard-read", "clipboard-write"]) as visit:
        page = visit.open()
        page.get_by_role("link", name="sublevel", exact=True).click()
        visit.wait(f"/stores/{key}")
        heading = page.get_by_role("heading", level=1)
        assert heading.inner_text() == "Persistence images, sublevel"
        row = page.get_by_role("row").filter(has_text="standard deviation of the Gaussian")
        assert row.get_by_role("cell").first.inner_text() == "0.6"
        assert page.get_by_text("holds NaN").is_visible()
        assert page.get_by_role("region", name="By channel").is_visible()
        lines = [pre.inner_text() for pre in page.query_selector_all(".copy pre")]
        assert f'open_store("{here.url}/stores/{key}")' in lines[0]
        assert lines[2] == f"pi-cache pull {here.url}/stores/{key}"
        page.get_by_role("button", name="Copy: Copy it into your cache").click()
        page.get_by_text("Copied", exact=True).first.wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == lines[2]


@pytest.mark.parametrize(
    ("name", "pictures"), [("digits", 3), ("signals", 3), ("fields", 2), ("imported", 1)]
)
def test_a_gallery_draws_every_sample(browser: Any, here: Here, name: str, pictures: int) -> None:
    with visiting(browser, here.url) as visit:
        page = visit.open(f"/stores/{here.keys[name]}/gallery")
        page.wait_for_selector(".sample")
        for card in page.query_selector_all(".sample"):
            canvases = card.query_selector_all("canvas")
            broken = card.query_selector(".chip.bad") is not None
            assert len(canvases) == pictures or broken
            for canvas in canvases:
                page.wait_for_function("(c) => c.width > 100", arg=canvas)
                assert canvas.evaluate(INK) > 3
                assert canvas.get_attribute("aria-label")


def test_a_gallery_by_class_channel_and_status(browser: Any, here: Here) -> None:
    with visiting(browser, here.url) as visit:
        page = visit.open(f"/stores/{here.keys['signals']}/gallery")
        page.wait_for_selector(".sample")
        assert page.locator(".class h3").count() == 3
        page.get_by_label("Class").select_option("1")
        page.locator("main").get_by_text("8 of 8 samples").wait_for()
        page.get_by_label("Channel").select_option("1")
        assert "label=1" in page.url and "channel=1" in page.url
        page.get_by_label("Class").select_option("")
        page.get_by_label("Status").select_option("NAN")
        page.locator("main").get_by_text("1 of 1 samples").wait_for()
        assert page.get_by_text("holds NaN").is_visible()
        page.get_by_role("link", name="Sample 4").click()
        page.get_by_role("heading", name="Sample 4").wait_for()
        assert page.locator("canvas").count() == 1  # what went in; nothing came of it


def test_more_samples_follow(browser: Any, here: Here) -> None:
    with visiting(browser, here.url) as visit:
        page = visit.open(f"/stores/{here.keys['digits']}/gallery?status=OK")
        page.locator("main").get_by_text("12 of 60 samples").wait_for()
        page.get_by_role("button", name="More samples").click()
        page.locator("main").get_by_text("24 of 60 samples").wait_for()
        assert page.locator(".sample").count() == 24
        for canvas in page.query_selector_all(".sample canvas"):
            page.wait_for_function("(c) => c.width > 100", arg=canvas)
            assert canvas.evaluate(INK) > 3


def test_names_that_are_markup_stay_text(browser: Any, here: Here) -> None:
    key = here.keys["hostile"]
    with visiting(browser, here.url) as visit:
        visit.open("/builds")
        for view in ("/", f"/stores/{key}", f"/stores/{key}/gallery", f"/stores/{key}/samples/0"):
            page = visit.go(view)
            assert page.locator("main img, main script").count() == 0
            assert page.title() != "struck"
            assert page.get_by_text("<img src=x").first.is_visible()


def test_follow_a_build_that_was_asked_for(browser: Any, here: Here) -> None:
    with visiting(browser, here.url) as visit:
        page = visit.open("/builds")
        page.evaluate("""() => {
          window.states = [];
          new MutationObserver(() => {
            const chip = document.querySelector(".build .chip");
            const state = chip?.textContent;
            if (state && window.states.at(-1) !== state) window.states.push(state);
          }).observe(document.body, { childList: true, subtree: true });
        }""")
        page.locator("[name=filtration]").select_option("rips")
        page.locator("[name=limit]").fill("64")
        page.get_by_role("button", name="Request").click()
        page.locator(".build .chip", has_text="finished").wait_for()
        states = page.evaluate("window.states")
        assert states[-1] == "finished" and len(states) > 1, states
        page.locator(".build a[href*='/stores/']").click()
        page.get_by_role("heading", name="Persistence images, rips").wait_for()
        page = visit.open("/builds")
        page.locator("[name=filtration]").select_option("cubical")
        page.locator("[name=limit]").fill("60")
        page.get_by_role("button", name="Request").click()
        page.locator(f"a[href='#/stores/{here.keys['digits']}']").first.wait_for()


def test_a_refused_request_says_why(browser: Any, here: Here) -> None:
    with visiting(browser, here.url, quiet=("status of 4",)) as visit:
        page = visit.open("/builds")
        page.locator("[name=limit]").fill("0")
        page.get_by_role("button", name="Request").click()
        page.get_by_role("alert").filter(has_text="limit must be at least 1").wait_for()


def test_language_and_theme_are_kept(browser: Any, here: Here) -> None:
    with visiting(browser, here.url, locale="ko-KR", color_scheme="dark") as visit:
        page = visit.open()
        root = page.locator("html")
        assert page.get_by_role("heading", level=1).inner_text() == "저장소"
        assert (root.get_attribute("lang"), root.get_attribute("data-theme")) == ("ko", "dark")
        page.get_by_role("button", name="밝게").click()
        page.get_by_role("button", name="English").click()
        page.get_by_role("heading", name="Stores").wait_for()
        page.reload()
        page.get_by_role("heading", name="Stores").wait_for()
        assert (root.get_attribute("lang"), root.get_attribute("data-theme")) == ("en", "light")


def test_everything_by_keyboard(browser: Any, here: Here) -> None:
    with visiting(browser, here.url) as visit:
        page = visit.open()

        def tab() -> dict[str, Any]:
            page.keyboard.press("Tab")
            found: dict[str, Any] = page.evaluate(FOCUS)
            assert found["seen"] and found["outline"] != "none", found
            return found

        assert tab()["name"] == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        assert tab()["name"] == "find"
        page.keyboard.type("cubical")
        stops = [tab() for _ in range(7)]
        assert [stop["tag"] for stop in stops] == ["BUTTON"] * 6 + ["A"]
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Persistence images, cubical").wait_for()
        page.wait_for_function("() => document.activeElement.tagName === 'H1'")
        assert tab()["name"] == "Overview"
        assert tab()["name"] == "Gallery"
        page.keyboard.press("Enter")
        page.wait_for_selector(".sample")
        assert [tab()["tag"] for _ in range(4)] == ["A", "A", "SELECT", "SELECT"]
        page.keyboard.press("End")  # the last channel
        page.wait_for_function("() => location.hash.includes('channel=1')")


def test_nothing_is_wider_than_a_small_telephone(browser: Any, here: Here) -> None:
    for locale in ("en-US", "ko-KR"):
        with visiting(browser, here.url, locale=locale, **NARROW) as visit:
            visit.open("/stores/none")
            for view in here.views():
                page = visit.go(view)
                assert page.evaluate("document.documentElement.scrollWidth") <= 360, (locale, view)


RULES: dict[Any, dict[str, Any]] = {
    "light": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
    "dark": {"type": "rule", "values": ["color-contrast"]},  # all that a theme changes
}
AXE = """async (runOnly) => {
  const found = await axe.run(document, { runOnly, resultTypes: ["violations"] });
  const told = ({ id, nodes }) => [id, nodes.map((node) => node.html)];
  return [found.passes.length, found.violations.map(told)];
}"""
"""How many rules hold, and what breaks the others."""


def test_nothing_that_assistive_technology_stumbles_over(browser: Any, here: Here) -> None:
    script = pytest.importorskip("axe_playwright_python.base").AXE_SCRIPT
    found = {}
    with visiting(browser, here.url, color_scheme="light") as visit:
        page = visit.open("/stores/none")
        page.evaluate(script)
        for view in here.views():
            visit.go(view)
            for theme, rules in RULES.items():
                page.emulate_media(color_scheme=theme)
                page.wait_for_selector(f"html[data-theme={theme}]")
                passes, found[view, theme] = page.evaluate(AXE, rules)
                assert passes, view
    assert not {view: told for view, told in found.items() if told}


def check_lines(lines: list[str], environment: dict[str, str], folder: Path) -> None:
    """Do what the page says, with the token where it says."""
    read, torch_, pull, curl, as_zarr = lines
    assert "PersistenceImageDataset(" in torch_
    code = f"{read}\nassert len(images) == len(store)\n{as_zarr}\nassert 'images' in group\n"
    given = {**os.environ, **environment, "PI_REMOTE_CACHE": str(folder / "remote")}
    run = partial(subprocess.run, check=True, env=given, cwd=folder, timeout=100)
    run([sys.executable, "-W", "error", "-c", code])
    assert pull.startswith("pi-cache pull ")
    run([sys.executable, "-m", "pi_cache.cli", *pull.split()[1:], "--cache", str(folder / "mine")])
    assert (folder / "mine" / "stores").is_dir()
    if shutil.which("curl"):
        run(["sh", "-c", curl.replace("curl", "curl -fsS")])
        assert (folder / "manifest.json").exists()


def test_a_token_is_the_password_of_the_browsers_own_prompt(browser: Any, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    mine, other = (shown.make_hostile(root, samples) for samples in (5, 6))
    tokens = tmp_path / "tokens"
    token = make_token(tokens, "--store", mine)
    who = {"username": "", "password": token}
    with (
        serving(root, tmp_path, "--tokens", str(tokens)) as served,
        visiting(browser, served.url, quiet=("status of 404",), http_credentials=who) as visit,
    ):
        page = visit.open()
        assert len(names(page)) == 1
        page = visit.open(f"/stores/{mine}")
        assert token not in page.content()
        lines = [pre.inner_text() for pre in page.query_selector_all(".copy pre")]
        check_lines(lines, {"PI_CACHE_TOKEN": token}, tmp_path)
        page = visit.open(f"/stores/{other}")
        assert page.get_by_text("or you may not read it").is_visible()


def test_a_service_that_ends_is_told_of(browser: Any, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    key = shown.make_imported(root)
    quiet = ("ERR_CONNECTION_REFUSED", "Failed to fetch")
    with serving(root, tmp_path) as served, visiting(browser, served.url, quiet=quiet) as visit:
        page = visit.open()
        served.stop()
        page.get_by_role("link", name="unknown").first.click()
        page.get_by_role("alert").filter(has_text="does not answer").wait_for()
        assert key in page.url
