"""Chromium on a studio, watched: what a page says on its console, and what would leave this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Route, sync_playwright
from tests.browser import CHROMIUM
from tests.studio.serving import Served


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


# What is told of the model alone: the same by every studio on it.
_OF_THE_MODEL = ("warm", "preview", "prompt", "importance", "part", "response")


def watched(browser: Browser, served: Served, worker: Served | None = None, **settings) -> Iterator[Page]:
    """A page on a studio; at its end nothing has been said on the console and nothing has left this machine.

    worker: a studio that measures for this one. A worker takes seconds to start; what is measured is often not the point.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 860}, **settings)
    made = context.new_page()
    for name in _OF_THE_MODEL if worker else ():
        made.route(f"**/api/{name}", lambda route: _asked_of(worker, route))
    said, left, opened = [], [], []
    made.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    made.on("pageerror", lambda e: said.append(str(e)))
    made.on("dialog", lambda d: (opened.append(d.message), d.dismiss()))
    made.on(
        "request", lambda r: None if r.url.startswith(served.address.split("/?")[0]) else left.append(r.url)
    )
    made.goto(served.address)
    yield made
    made.unroute_all(behavior="ignoreErrors")
    context.close()
    # Refusals of the server are told by the page itself; what is refused on purpose is told by the browser.
    assert not [line for line in said if "status of 4" not in line and "TrustedHTML" not in line]
    assert not [url for url in left if not url.startswith("data:")]
    assert not opened


def _asked_of(other: Served, route: Route) -> None:
    path = urlsplit(route.request.url).path
    headers = {"authorization": f"Bearer {other.token}", "content-type": "application/json"}
    route.fulfill(response=route.fetch(url=f"http://127.0.0.1:{other.port}{path}", headers=headers))


def look_into_both(page: Page, served: Served, texts: tuple[str, str]) -> None:
    """Have two texts compared in the view of prompts."""
    page.goto(served.address.split("/?")[0] + "/#/prompt")
    page.locator("textarea[name=first]").fill(texts[0])
    page.locator("textarea[name=second]").fill(texts[1])
    page.get_by_role("button", name="look into it").click()
