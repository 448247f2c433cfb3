"""What the page says of how the decomposition was judged: what was checked, what held, what failed, in words."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from tests.browser import needed
from tests.studio.serving import Served

pytestmark = needed


def _told(page: Page, verdict: list[dict[str, object]]) -> str:
    page.route("**/api/warm", lambda route: route.fulfill(json={**route.fetch().json(), "verdict": verdict}))
    page.reload()
    said = page.locator("details.verdict summary")
    expect(said).to_be_visible(timeout=60_000)
    return " ".join(said.inner_text().split())


@pytest.mark.parametrize(
    ("met", "held"),
    [
        (
            (True, False, True, False, None),
            "2 of these checks held, 2 failed (b, d), 1 could not be measured (e)",
        ),
        ((True,) * 5, "5 of these checks held"),
    ],
)
def test_it_is_said_what_was_checked_what_held_and_what_failed(page: Page, served: Served, met, held):
    of = ["property"] * 2 + ["failure"] * 3
    lines = [
        {"of": kind, "name": name, "met": one, "said": "s", "bar": "b"}
        for kind, name, one in zip(of, "abcde", met, strict=True)
    ]
    checked = "the decomposition was checked for 2 properties that it should have and 3 faults that it should not have"
    assert _told(page, lines) == f"{checked}: {held}"
    page.locator("details.verdict summary").click()
    words = {True: ("holds", "absent"), False: ("does not hold", "present"), None: ("not measured",) * 2}
    shown = page.locator("details.verdict tbody td:nth-child(2)").all_inner_texts()
    assert shown == [words[one][kind == "failure"] for kind, one in zip(of, met, strict=True)]
