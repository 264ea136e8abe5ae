"""A real headless Chromium that notes what a page must not do: errors, other hosts, markup."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60_000
"""Milliseconds after which what does not appear counts as missing, on a machine under load."""
VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation",
  (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


def program() -> str | None:
    """Where Chromium is, None where it is not installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser while the tests run. Skips them where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = program()
    if found is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page of a service, and all that it did which no page of ours does.

    quiet: what of a console message is expected, such as the status of an answer that is refused
    on purpose.
    """

    page: Page
    url: str
    quiet: tuple[str, ...] = ()
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        page = self.page
        page.add_init_script(VIOLATIONS)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("request", self._look)
        page.set_default_timeout(PATIENCE)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning") and not any(
            text in message.text for text in self.quiet
        ):
            self.wrong.append(f"{message.type}: {message.text}")

    def _look(self, request: Any) -> None:
        if not request.url.startswith((self.url, "about:blank")):
            self.wrong.append(f"request to {request.url}")

    def open(self, view: str = "/") -> Page:
        """Load the page with a view and wait until that is drawn."""
        self.page.goto("about:blank")  # another # alone is no navigation
        self.page.goto(f"{self.url}/#{view}")
        self.wait(view)
        return self.page

    def go(self, view: str) -> Page:
        """From one view to another, as a link does; wait until it is drawn."""
        self.page.evaluate("(view) => { location.hash = view; }", view)
        self.wait(view)
        return self.page

    def wait(self, view: str) -> None:
        """Until a view is drawn."""
        path = view.partition("?")[0]
        self.page.wait_for_selector(f".view[data-path='{path}'] h1")

    def check(self) -> None:
        """Fail for anything that the page must not do."""
        violations = self.page.evaluate("window.violations")
        assert not self.wrong, self.wrong
        assert not violations, violations


@contextmanager
def visiting(
    browser: Browser, url: str, quiet: tuple[str, ...] = (), **given: Any
) -> Iterator[Visit]:
    """A page in a profile of its own, checked when it is left. given: options of the profile."""
    defaults = {"viewport": {"width": 1280, "height": 900}, "locale": "en-US"}
    context = browser.new_context(**{**defaults, **given})
    visit = Visit(context.new_page(), url, quiet)
    try:
        yield visit
        visit.check()
    finally:
        context.close()
