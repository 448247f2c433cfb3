"""Lists too long to be sent: the server searches by the rules of the page, which gets rows as it looks."""

from __future__ import annotations

import gzip
import json
import random
import re
from urllib.parse import urlencode

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from tests.browser import needed
from tests.studio.browsing import chromium, watched
from tests.studio.hostile import HOSTILE
from tests.studio.long_lists import PER_SITE, long_columns
from tests.studio.serving import Served, studio

from rankone.core.escaping import clipped
from rankone.studio.listed.columns import SHIPPED, parts_in, read_columns, write_columns
from rankone.studio.listed.finding import Finder
from rankone.studio.listed.requests import RowsRequest
from rankone.studio.listing import MOST, columns_key

COUNT = 120_000


@pytest.fixture(scope="module")
def columns():
    """Columns of a hundred and twenty thousand parts, with hostile labels among them."""
    return long_columns(COUNT, seed=1)


@pytest.fixture(scope="module")
def own(pair, harvest, columns, tmp_path_factory):
    """A studio whose harvest is listed by these columns."""
    folder = tmp_path_factory.mktemp("long")
    (folder / "studio").mkdir()
    write_columns(columns, folder / "studio" / f"parts-{columns_key(harvest, None)}.json.gz")
    options = ["--model", pair[0], "--decomposition", pair[1], "--harvest", harvest]
    with studio(folder, *map(str, options)) as running:
        yield running


def _names(columns, rows) -> list[str]:
    return [f"{columns.sites[site]}:{n}" for site, n in zip(rows["site"], rows["number"], strict=True)]


def test_the_head_and_every_page_of_rows_are_small(own: Served, columns):
    _, _, packed = own.ask("/api/columns")
    assert len(packed) <= 65_536
    head = json.loads(gzip.decompress(packed))
    assert (head["number"], head["sites"]) == ([], list(columns.sites))
    for asked in ({}, {"first": 100_000}, {"q": "hostile"}, {"first": COUNT - 3, "dead": True}):
        _, _, body = own.ask("/api/rows", asked)
        assert len(gzip.compress(body)) <= 65_536
        rows = json.loads(body)["rows"]["number"]
        assert len(rows) == (3 if asked.get("first") == COUNT - 3 else 200)
    for wrong in ({"sort": "size"}, {"first": -1}, {"names": ["x"] * 201}, {"q": "x" * 301}):
        assert own.ask("/api/rows", wrong)[0] == 400


def test_it_is_counted_how_long_a_list_is_without_reading_it(columns):
    assert parts_in(SHIPPED.read_bytes()) == len(read_columns(SHIPPED).number) < MOST < COUNT
    said = columns.head().model_dump_json().encode()
    assert parts_in(gzip.compress(said)) == 0
    assert parts_in(b"none") == 0


def test_pages_follow_each_other_and_facets_leave_what_they_say(own: Served, columns):
    whole = [own.json("/api/rows", {"sort": "density", "first": first}) for first in (0, 200)]
    densities = [d for page in whole for d in page["rows"]["density"]]
    assert densities == sorted(columns.density, reverse=True)[:400]
    assert whole[0]["total"] == sum(d > 0 for d in columns.density)
    on, site = columns.domains.index("fr"), "model.layers.3.mlp.down_proj"
    page = own.json("/api/rows", {"on": "fr", "site": site, "sort": "name"})
    shares = np.asarray(columns.by_domain)
    here = [
        i for i in range(3 * PER_SITE, 4 * PER_SITE) if shares[:, i].argmax() == on and columns.density[i] > 0
    ]
    assert page["total"] == len(here)
    assert page["rows"]["number"] == [i % PER_SITE for i in here][:200]
    part = "model.layers.7.mlp.down_proj:12"
    assert _names(columns, own.json("/api/rows", {"names": [part, "none:1"]})["rows"]) == [part]


@needed
def test_it_is_searched_and_scrolled_in_a_browser(own: Served, columns, tmp_path):
    with chromium() as browser:
        for page in watched(browser, own):
            expect(page.get_by_text(f"of {COUNT:,} parts")).to_be_visible(timeout=60_000)
            _first_rows_are(page, _names(columns, own.json("/api/rows", {})["rows"]))
            page.locator(".window").evaluate("e => e.scrollTo(0, e.scrollHeight)")
            last = page.get_by_role("table", name="parts").get_attribute("aria-rowcount")
            assert last is not None
            expect(page.locator(f'.whole .row[aria-rowindex="{last}"] a')).to_be_visible(timeout=20_000)
            assert page.locator(".whole .row").count() <= 60
            page.get_by_label("search").fill("hostile7x")
            expect(page.locator(".whole .row")).to_have_count(1, timeout=20_000)
            expect(page.locator(".evidence").first).to_have_text(re.compile(rf"^1 of {COUNT:,} parts,"))
            shown = page.locator(".whole .row .label").inner_text()
            assert " ".join(shown.split()) == clipped(f"{HOSTILE[7]} hostile7x", 200)
            page.screenshot(path=tmp_path / "long.png")
            part = "model.layers.0.mlp.down_proj:7"
            page.locator(".whole .row a").click()
            page.reload()  # a part that the list has not shown
            expect(page.locator("p.words")).to_contain_text("hostile7x", timeout=60_000)
            expect(page.get_by_text("Where it fires")).to_be_visible()
            page.get_by_text("correct the label").click()
            page.get_by_label("label", exact=True).fill("zebra stripes")
            page.get_by_role("button", name="save", exact=True).click()
            expect(page.locator("p.words")).to_have_text("zebra stripes")
            page.get_by_role("link", name="all parts").click()
            page.get_by_label("search").fill("zebra")
            expect(page.locator(".whole .row")).to_have_count(1, timeout=20_000)
            _first_rows_are(page, [part])


@needed
def test_the_server_finds_what_the_page_finds(served: Served):
    columns = read_columns(SHIPPED)
    finder, draw = Finder(columns), random.Random(3)
    words = ("", "german", "h.3", "suffix", "french text", "down_proj:2", "german h.2", "not", "de", "zzz")
    with chromium() as browser:
        for page in watched(browser, served):
            expect(page.locator(".whole .row").first).to_be_visible(timeout=20_000)
            for said in words:
                given = {
                    "q": said,
                    "site": draw.choice(("", "", *columns.sites)),
                    "on": draw.choice(("", "", *columns.domains)),
                    "sort": draw.choice(("", "match", "density", "importance", "margin", "name")),
                    "dead": draw.choice(("", "1")),
                }
                page.evaluate("set => { location.hash = '#/parts?' + set; }", urlencode(given))
                asked = RowsRequest.model_validate({**given, "dead": bool(given["dead"])})
                view = finder.view(asked, {})
                status = f"{view.total:,} of {view.all:,} parts"
                expect(page.locator(".evidence").first).to_have_text(re.compile(f"^{status}"))
                _first_rows_are(page, _names(columns, view.rows.plain()))


def _first_rows_are(page: Page, names: list[str]) -> None:
    """The rows that the list shows from its top on."""
    if names:
        expect(page.locator('.whole .row[aria-rowindex="2"] a')).to_have_text(names[0], timeout=20_000)
    shown = page.locator(".whole .row a").all_inner_texts()
    assert shown == names[: len(shown)]
    assert len(shown) >= min(len(names), 20)
