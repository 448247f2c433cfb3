"""The page on a phone, on paper and in a file; of two texts, every part's importance at both, the largest moves first."""

from __future__ import annotations

import re

import pytest
import torch
from playwright.sync_api import Page, expect
from tests.browser import needed
from tests.studio.browsing import watched
from tests.studio.serving import Served, studio

from rankone import open as open_session
from rankone.decomposition.model import DecomposedModel
from rankone.text.openers import opener_id
from rankone.text.vocabulary import spelling

pytestmark = needed
PART = "h.3.mlp.down_proj:270"
TEXTS = "Der Ausschuss hat gestern beschlossen", "Der Ausschuss hat morgen beschlossen"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A studio in which one edit is kept."""
    with studio(tmp_path_factory.mktemp("workspace")) as running:
        running.json("/api/edits", {"scales": {PART: -8}, "name": "less German " * 8, "after": 0})
        yield running


@pytest.fixture
def page(browser, own: Served, served: Served):
    """A page on that studio."""
    yield from watched(browser, own, served)


def _at(page: Page, own: Served, view: str) -> None:
    page.goto(own.address.split("/?")[0] + f"/#/{view}")
    page.locator("h1").wait_for()


def _look(page: Page, own: Served) -> None:
    _at(page, own, "prompt")
    for name, text in zip(("first", "second"), TEXTS, strict=True):
        page.locator(f"textarea[name={name}]").fill(text)
    page.get_by_role("button", name="look into it").click()
    expect(page.locator("table.difference")).to_be_visible(timeout=60_000)


def test_all_buttons_of_the_journal_are_in_sight_on_a_phone(page: Page, own: Served):
    page.set_viewport_size({"width": 390, "height": 800})
    _at(page, own, "edits")
    buttons = page.locator("table.journal button")
    expect(buttons).to_have_count(4)
    boxes = [buttons.nth(i).bounding_box() for i in range(4)]
    assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes), boxes
    assert page.locator("table.journal td.when").get_attribute("data-label") == "kept (UTC)"


def test_forget_rise_and_kl_are_in_sight_on_a_phone(page: Page, own: Served, served: Served):
    served.events(
        "/api/preview", {"scales": {PART: -8}}
    )  # the text was read: the page does not wait for that
    page.set_viewport_size({"width": 390, "height": 800})
    _at(page, own, f"dials?d={PART}=-8")
    expect(page.get_by_text("800 validation tokens per domain")).to_be_visible(timeout=60_000)
    table = page.locator("table.effects")
    assert table.evaluate("t => t.parentElement.scrollWidth - t.parentElement.clientWidth") == 0
    cells = table.locator("tbody tr").first.locator("th, td")
    boxes = [cells.nth(i).bounding_box() for i in range(8)]
    assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes), boxes
    titles = [cells.nth(i).get_attribute("data-label") for i in range(8)]
    assert titles[1:4] == ["CE before", "CE after", "rise ± 95%"]
    assert titles[5:] == ["KL mean", "KL p99", "KL largest"]
    # All bars on one axis: as wide, below each other.
    bars = [one.bounding_box() for one in table.locator("svg.rise").all()]
    assert len({(bar["x"], bar["width"]) for bar in bars if bar}) == 1


@pytest.mark.parametrize("width", [1280, 390])
def test_names_of_parts_stand_on_one_line_in_the_journal(page: Page, own: Served, width):
    scales = {PART: -8, "h.0.attn.v_proj:101": 0.5, "h.2.attn.o_proj:130": 0, "h.1.mlp.down_proj:725": 2}
    state = own.json("/api/edits")
    own.json("/api/edits", {"scales": scales, "name": f"several at {width}", "after": state["last"]})
    page.set_viewport_size({"width": width, "height": 800})
    _at(page, own, "edits")
    row = page.locator("table.journal tbody tr", has_text=f"several at {width}")
    spans = row.locator("td.scales span")
    expect(spans).to_have_count(4)
    assert [one.evaluate("s => s.getClientRects().length") for one in spans.all()] == [1] * 4
    heights = [one.bounding_box()["height"] for one in spans.all()]
    assert max(heights) < 30  # a line
    said = " ".join(row.locator("td.scales").inner_text().split())
    assert said == ", ".join(f"{name} × {alpha:g}".replace("-", "−") for name, alpha in scales.items())
    own.json("/api/undo", {"after": state["last"] + 1})


def test_what_is_pinned_and_what_was_looked_at_last_are_marked_in_the_list(page: Page, own: Served):
    _at(page, own, "parts?q=german")
    links = page.locator(".whole .row a")
    expect(links.first).to_be_visible(timeout=20_000)
    pinned, picked = links.nth(1).inner_text(), links.nth(3).inner_text()
    page.get_by_role("button", name=f"pin {pinned}", exact=True).click()
    page.get_by_role("link", name=picked, exact=True).click()
    expect(page.get_by_role("heading", name=picked)).to_be_visible()
    page.get_by_role("link", name="all parts").click()

    def marked() -> None:
        rows = {
            name: page.locator(".whole .row", has=page.get_by_text(name, exact=True))
            for name in (pinned, picked)
        }
        expect(rows[picked]).to_have_attribute("aria-current", "true", timeout=20_000)
        expect(rows[pinned].get_by_role("button")).to_have_attribute("aria-pressed", "true")
        for name, row in rows.items():
            plain = page.locator(".whole .row:not(.pinned):not([aria-current])").first
            style = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).boxShadow].join()"
            assert row.evaluate(style) != plain.evaluate(style), name
        expect(page.locator(".whole .row[aria-current], .whole .row.pinned")).to_have_count(2)

    page.locator("input[name=q]").fill("german")
    marked()
    page.locator(".window").evaluate("w => w.scrollTo(0, 20000)")
    expect(page.locator(".whole .row[aria-current]")).to_have_count(0)
    page.locator(".window").evaluate("w => w.scrollTo(0, 0)")
    marked()


def test_a_part_of_a_text_is_a_card_and_not_a_tower_on_a_phone(page: Page, own: Served):
    page.set_viewport_size({"width": 390, "height": 800})
    _look(page, own)
    rows = page.locator("table.stacks tbody tr")
    heights = rows.evaluate_all("all => all.map((row) => row.getBoundingClientRect().height)")
    assert len(heights) > 12
    assert max(heights) <= 200
    assert (
        page.locator("table.stacks").evaluate(
            "t => t.parentElement.scrollWidth - t.parentElement.clientWidth"
        )
        == 0
    )


def test_on_paper_and_in_a_file_a_text_has_its_tokens_and_no_column_is_empty(
    page: Page, own: Served, browser, tmp_path
):
    _look(page, own)
    tokens = page.locator("table.difference thead button").all_inner_texts()
    page.emulate_media(media="print")
    expect(page.locator("table.difference thead button").first).to_be_visible()
    expect(page.locator("table.stacks td button").first).to_be_hidden()
    page.emulate_media(media="screen")
    with page.expect_download() as waited:
        page.get_by_role("button", name="save this page as a file").click()
    waited.value.save_as(tmp_path / "text.html")
    context = browser.new_context(offline=True)
    file = context.new_page()
    file.goto((tmp_path / "text.html").as_uri())
    said = file.locator("table.difference thead th span:not(.unseen)").all_inner_texts()
    assert [" ".join(one.split()) for one in said] == [" ".join(one.split()) for one in tokens]
    assert file.locator("table.stacks thead th").all_inner_texts() == [
        "part",
        "at gest",
        "at mor",
        "change",
        "label",
    ]
    context.close()


def test_a_printed_list_is_the_rows_in_sight_and_no_empty_paper(page: Page, own: Served):
    _at(page, own, "parts")
    expect(page.locator(".whole .row").first).to_be_visible(timeout=20_000)
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollHeight") <= 3000


def test_columns_name_both_tokens_and_every_part_has_its_importance_at_both(page: Page, own: Served):
    _look(page, own)
    table = page.locator("table.stacks")
    expect(table).not_to_contain_text("…", timeout=60_000)
    titles = table.locator("thead th").all_inner_texts()
    assert titles[1:4] == ["at gest", "at mor", "change"]
    rows = [
        [cell.replace("−", "-") for cell in row.locator("th, td").all_inner_texts()[:4]]
        for row in table.locator("tbody tr").all()
    ]
    moves = [abs(float(row[3])) for row in rows]
    assert moves == sorted(moves, reverse=True)
    session = open_session("mini")
    names, sides = session.decomposition.names(), []
    for text, token in zip(TEXTS, ("gest", "mor"), strict=True):
        ids = [opener_id(session.tokenizer), *session.tokenizer(text).input_ids]
        at = next(i for i, one in enumerate(ids) if spelling(session.tokenizer, one).strip() == token)
        with DecomposedModel(session.model, session.decomposition) as decomposed:
            here = decomposed.importance(torch.tensor([ids]))[0, at]
        sides.append(dict(zip(names, here.tolist(), strict=True)))
    assert len(rows) > 16  # some parts are among the first twelve of one token alone
    for part, one, two, change in rows:
        said = [float(one), float(two), float(change)]
        told = [sides[0][part], sides[1][part], sides[1][part] - sides[0][part]]
        assert said == pytest.approx(told, abs=0.00051), part


def test_rows_of_the_list_are_as_high_as_the_address_says(page: Page, own: Served):
    _at(page, own, "parts?rows=compact")
    second = page.locator('.whole .row[aria-rowindex="3"]')
    expect(second).to_have_css("height", "26px", timeout=20_000)
    page.locator("select[name=rows]").select_option("")
    expect(second).to_have_css("height", "32px")
    expect(page).not_to_have_url(re.compile("rows="))


def test_a_rounded_zero_has_no_sign(page: Page):
    said = page.evaluate(
        """async () => {
          const { signed, weight } = await import("/static/words.js");
          return [[-0.0004, 0.0004, 0, -0.0006, 2].map((value) => signed(value)), [16, 3010, 175e6].map(weight)];
        }"""
    )
    assert said == [["0.000", "0.000", "0.000", "−0.001", "+2.000"], ["16 B", "3.0 kB", "175.0 MB"]]
