"""The page while the service fails, is slow, or says no: what it tells, and what stays on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.pi_cache.made import make_spec, make_store
from tests.serving import shown
from tests.serving.browser import chromium, visiting
from tests.serving.lab import serving

QUIET = ("status of", "HTTP", "ERR_FAILED", "Failed to fetch")
FOLLOWED = {
    "id": "abc", "source": "digits", "state": "queued", "asked": {}, "token": "",
    "created": "2026-01-01T00:00:00Z",
}  # fmt: skip


@dataclass(frozen=True)
class Here:
    """A service with a store of 90 samples, and one of 12 imported ones."""

    url: str
    made: str
    imported: str


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    root = tmp_path_factory.mktemp("cache")
    made, imported = make_store(root, make_spec(90)).name, shown.make_imported(root)
    with serving(root, tmp_path_factory.mktemp("service")) as served:
        yield Here(served.url, made, imported)


def refuse(status: int, sentence: str = "no") -> Any:
    """What a route is answered with."""
    return lambda route: route.fulfill(status=status, json={"error": sentence})


def alert(page: Any, text: str) -> None:
    """Wait until an error is told."""
    page.get_by_role("alert").filter(has_text=text).wait_for()


def test_samples_stay_when_more_of_them_do_not_come(browser: Any, here: Here) -> None:
    with visiting(browser, here.url, quiet=QUIET) as visit:
        page = visit.open(f"/stores/{here.made}/gallery?status=OK")
        page.wait_for_selector(".sample")
        before = page.locator(".sample").count()
        page.route("**/samples?*", refuse(503))
        page.get_by_role("button", name="More samples").click()
        alert(page, "too much to do")
        assert page.locator(".sample").count() == before
        page.unroute("**/samples?*")
        page.get_by_role("button", name="Try again").click()
        page.locator(".sample").nth(before).wait_for()
        assert not page.get_by_role("alert").is_visible()


@pytest.mark.parametrize(
    ("status", "told"), [(401, "토큰"), (404, "권한이 없습니다"), (429, "바쁩니다")]
)
def test_a_refusal_is_told_in_the_language_of_the_page(
    browser: Any, here: Here, status: int, told: str
) -> None:
    with visiting(browser, here.url, quiet=QUIET, locale="ko-KR") as visit:
        page = visit.open(f"/stores/{here.made}/gallery")
        page.wait_for_selector(".sample")
        page.route("**/samples?*", refuse(status))
        page.get_by_label("채널").select_option("1")
        alert(page, told)
        assert page.locator(".sample").count() == 0, "none of another channel"


def test_a_slow_answer_leaves_the_view_alone_that_came_after_it(browser: Any, here: Here) -> None:
    held: list[Any] = []
    with visiting(browser, here.url) as visit:
        page = visit.open()
        page.route(f"**/{here.made}/samples?*", lambda route: held.append(route))
        page.evaluate("(view) => { location.hash = view; }", f"/stores/{here.made}/gallery")
        while not held:
            page.wait_for_timeout(20)
        visit.go(f"/stores/{here.imported}/gallery")
        canvas = page.wait_for_selector(".sample canvas")
        assert canvas is not None
        page.wait_for_function("(c) => c.width > 100", arg=canvas)
        with page.expect_response("**/samples?*"):
            held[0].continue_()
        before = canvas.evaluate("(c) => c.width")
        page.wait_for_timeout(100)
        page.set_viewport_size({"width": 360, "height": 900})
        page.wait_for_function("([c, before]) => c.width !== before", arg=[canvas, before])
        assert here.imported in page.url


def test_what_a_reader_may_is_never_guessed(browser: Any, here: Here) -> None:
    with visiting(browser, here.url, quiet=QUIET) as visit:
        page = visit.page
        page.route("**/v1/access", refuse(503))
        page.goto(f"{here.url}/#/builds")
        alert(page, "too much to do")
        page.unroute("**/v1/access")
        page.get_by_role("button", name="Try again").click()
        page.get_by_text("This service builds nothing on demand.").wait_for()


def test_a_page_without_its_words_says_so(browser: Any, here: Here) -> None:
    with visiting(browser, here.url, quiet=QUIET) as visit:
        visit.page.route("**/words.json", refuse(503))
        visit.page.goto(here.url)
        alert(visit.page, "서비스가 응답하지 않습니다")


def test_a_build_is_followed_without_events_until_it_may_not_be(browser: Any, here: Here) -> None:
    access = {"name": "", "may": ["read", "build"], "tokens": False, "builds": True}
    answers = iter([(200, "running"), (503, ""), (200, "finished")])
    asked: list[int] = []

    def follow(route: Any) -> None:
        status, state = next(answers, (401, ""))
        asked.append(status)
        route.fulfill(status=status, json={**FOLLOWED, "state": state, "key": "0" * 64})

    with visiting(browser, here.url, quiet=QUIET) as visit:
        page = visit.page
        page.clock.install()
        page.route(
            "**/v1/access",
            lambda route: route.fulfill(json=access | {"sources": [], "recipes": []}),
        )
        page.route("**/v1/requests", lambda route: route.fulfill(json={"requests": [FOLLOWED]}))
        page.route("**/v1/requests/*/events", lambda route: route.abort())
        page.route("**/v1/requests/abc", follow)
        visit.open("/builds")
        for state in ("running", "finished"):
            while page.locator(".build .chip").inner_text() != state:
                page.clock.run_for(500)
        assert asked == [200, 503, 200]
        visit.open("/")
        visit.open("/builds")
        while 401 not in asked:
            page.clock.run_for(500)
        page.get_by_text("Your token does not count any more").wait_for()
        page.clock.run_for(20_000)
        assert asked.count(401) == 1, "a browser asks for a password each time"


def test_many_channels_are_shown_when_asked_for(browser: Any, here: Here) -> None:
    def many(route: Any) -> None:
        told = json.loads(route.fetch().text())
        told["channels"] = [told["channels"][0] | {"name": f"c{k}"} for k in range(100)]
        route.fulfill(json=told)

    with visiting(browser, here.url) as visit:
        visit.page.route("**/overview", many)
        page = visit.open(f"/stores/{here.made}")
        listed = page.get_by_role("row").filter(has_text="c19")
        assert not listed.get_by_text("c99").is_visible()
        listed.get_by_role("button", name="Show 80 more").click()
        assert "c99" in listed.inner_text()


def test_points_that_are_left_out_are_counted(browser: Any, here: Here) -> None:
    def many(route: Any) -> None:
        told = json.loads(route.fetch().text())
        for sample in told["samples"]:
            for channel in sample["channels"]:
                channel["points_in_all"] = 5000
        route.fulfill(json=told)

    with visiting(browser, here.url) as visit:
        visit.page.route("**/samples?*", many)
        page = visit.open(f"/stores/{here.made}/gallery?status=OK")
        caption = page.locator("figcaption", has_text="points: 5,000, the most persistent")
        caption.first.wait_for()


def test_what_is_unknown_is_called_so_in_korean(browser: Any, here: Here) -> None:
    with visiting(browser, here.url, locale="ko-KR") as visit:
        page = visit.open()
        page.get_by_role("link", name="알 수 없음").click()
        page.get_by_role("heading", name="퍼시스턴스 이미지, 알 수 없음").wait_for()
