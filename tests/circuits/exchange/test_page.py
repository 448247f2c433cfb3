"""The page of a graph: it keeps the rules of all pages, and in Chromium a chosen node shows what it reads and feeds."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect, sync_playwright
from tests.browser import CHROMIUM, needed
from tests.pages import Page

from rankone.circuits.asking.summary import graph_reply
from rankone.circuits.exchange.page import graph_page
from rankone.circuits.exchange.shown import shown
from rankone.circuits.graph import relabelled
from rankone.core.escaping import SHOWN

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page(case):
    graph = case.made.graph
    labels = {graph.part(i): HOSTILE for i in graph.chosen}
    return graph_page(shown(relabelled(graph, labels), "frozen", 12, 300), case.account, None)


def test_it_keeps_the_rules_of_pages(case, page):
    read = Page(page)
    assert "Shown are 12 of" in read.text
    assert "Exact where it should be" in read.text
    assert HOSTILE in read.text
    assert {"map-table", "kinds", "masked", "check-0", "check-1"} <= read.tables.keys()
    unverified = Page(graph_page(shown(case.made.graph, "grad", 12, 300), None, None))
    assert "Not verified" in unverified.text


@needed
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(serious, page, dark):
    assert serious(page, dark) == {"dark": dark, "bad": []}


@needed
def test_a_chosen_node_shows_what_it_reads_and_feeds(case, page, tmp_path):
    file = tmp_path / "graph.html"
    file.write_text(page, "utf8")
    graph = case.made.graph
    node = max(graph.chosen, key=lambda i: float(graph.influence[i]))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(offline=True)
        tab = context.new_page()
        asked, said = [], []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: said.append(message.text))
        tab.goto(file.as_uri())
        expect(tab.locator("section.node:visible")).to_have_count(0)
        tab.locator(f'#map-table a[href="#n{node}"]').click()
        section = tab.locator(f"section#n{node}")
        expect(section).to_be_visible()
        expect(section).to_contain_text(graph.name(node))
        expect(section.locator(f"#into{node} tbody tr").first).to_contain_text(" at ")
        first = section.locator("tbody a").first
        other = first.get_attribute("href")
        chip = tab.locator(f'#map-table a[href="{other}"]')
        plain = tab.evaluate("() => getComputedStyle(document.querySelector('section.node')).backgroundColor")
        assert chip.evaluate("e => getComputedStyle(e).backgroundColor") != plain
        first.click()
        expect(tab.locator(f"section{other}")).to_be_visible()
        expect(section).to_be_hidden()
        assert asked == [file.as_uri()]
        assert said == []
        browser.close()


def test_a_label_of_a_megabyte_is_cut_in_pages_and_tables(case):
    graph = case.made.graph
    labels = {graph.part(i): "a\u202eb\0" * 250_000 for i in graph.chosen}
    graph = relabelled(graph, labels)
    page = graph_page(shown(graph, "frozen", 12, 300), case.account, None)
    assert len(page) < 2_000_000
    assert not set(page) & {"\u202e", "\0"}
    rows = graph_reply(graph, None, "frozen", 12).nodes
    assert {len(row.label) for row in rows if row.label} == {SHOWN}
