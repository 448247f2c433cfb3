"""The studio in Chromium: a new user's path by keyboard alone, addresses, dials, hostile text, accessibility."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from urllib.parse import quote

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, expect
from tests.browser import needed
from tests.studio.browsing import look_into_both, watched
from tests.studio.hostile import HOSTILE
from tests.studio.serving import Served, studio
from typer.main import get_command

from rankone.cli import commands
from rankone.edits.lowrank import LowRankEdit

pytestmark = needed
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
PART = "h.3.mlp.down_proj:270"
VIEWS = (
    "parts",
    "parts?q=german",
    f"part/{PART}",
    f"dials?d={PART}=-8",
    "prompt",
    "edits",
    "graphs",
    "runs",
    "workspace",
    "parts?on=fr&sort=name",
)


def _rise(page: Page, domain: str) -> float:
    """Of the setting that the dials stand at: the row is 0 tokens' while its figure is an older one's."""
    cell = page.locator(f"tr[data-tokens='800'] td[data-domain={domain}]")
    expect(cell).to_be_visible(timeout=60_000)
    said = cell.inner_text()
    return float(said.split("±")[0].strip().replace("−", "-"))


def test_find_turn_keep_undo_export_by_keyboard_alone(browser: Browser, tmp_path):
    with studio(tmp_path) as own:
        pages = watched(browser, own)
        page = next(pages)
        expect(page.locator(".whole .row").first).to_be_visible(timeout=20_000)
        _tab_to(page, "search")
        page.keyboard.type("german down_proj:270")
        _tab_to_link(page, PART)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=PART)).to_be_visible()
        _tab_to_link(page, "turn it")
        page.keyboard.press("Enter")
        _tab_to(page, f"α of {PART}")
        page.keyboard.press("Control+a")
        page.keyboard.type("-8")
        page.keyboard.press("Enter")
        expect(page.get_by_text("800 validation tokens per domain")).to_be_visible(timeout=60_000)
        shown = {domain: _rise(page, domain) for domain in ("de", "en", "fr")}
        said = own.json("/api/verbs/edit", {"scales": {PART: -8}, "split": "validation", "tokens": 800})[
            "reply"
        ]
        rises = {d["domain"]: round(d["rise"], 3) for d in said["domains"]}
        assert shown == {domain: pytest.approx(rises[domain], abs=0.0011) for domain in shown}
        _tab_to(page, "name")
        page.keyboard.type("less German")
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="1 kept")).to_be_visible()
        page.locator("h1").click()
        page.keyboard.press("Control+z")
        expect(page.get_by_label(f"α of {PART}")).to_have_value("1")
        page.keyboard.press("Control+Shift+z")
        expect(page.get_by_label(f"α of {PART}")).to_have_value("-8")
        _tab_to_link(page, "1 kept")
        page.keyboard.press("Enter")
        _tab_to_button(page, "edit of edit 1")
        page.keyboard.press("Enter")
        expect(page.get_by_text("written and read again")).to_be_visible(timeout=60_000)
        page.reload()  # what was exported before a page was opened is told by it
        expect(page.get_by_text("written and read again")).to_be_visible(timeout=20_000)
        with pytest.raises(StopIteration):
            next(pages)
    edit = LowRankEdit.from_pretrained(tmp_path / "studio" / "exports" / "edit-1-edit")
    assert edit.sites == ("h.3.mlp.down_proj",)


def _tab_to(page: Page, label: str) -> None:
    target = page.get_by_label(label, exact=True)
    _tab_until(page, lambda: target.evaluate("e => e === document.activeElement"))


def _tab_to_link(page: Page, name: str) -> None:
    target = page.get_by_role("link", name=name).first
    expect(target).to_be_visible()
    _tab_until(page, lambda: target.evaluate("e => e === document.activeElement"))


def _tab_to_button(page: Page, name: str) -> None:
    target = page.get_by_role("button", name=name).first
    expect(target).to_be_visible()
    _tab_until(page, lambda: target.evaluate("e => e === document.activeElement"))


def _tab_until(page: Page, reached) -> None:
    for _ in range(80):
        if reached():
            return
        page.keyboard.press("Tab")
    raise AssertionError("not reached by the keyboard")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_no_serious_finding(browser: Browser, served: Served, scheme, width):
    for page in watched(browser, served, color_scheme=scheme, bypass_csp=True):
        page.set_viewport_size({"width": width, "height": 800})
        expect(page.locator(".whole .row").first).to_be_visible(timeout=20_000)
        for view in VIEWS:
            page.evaluate("view => { location.hash = '#/' + view; }", view)
            page.locator("h1").wait_for()
            if view.startswith("dials"):
                expect(page.locator("td[data-domain=de]")).to_be_visible(timeout=60_000)
            page.add_script_tag(path=AXE) if not page.evaluate("typeof axe === 'object'") else None
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            bad = [
                (v["id"], [n["html"][:100] for n in v["nodes"]][:3])
                for v in found["violations"]
                if v["impact"] in ("serious", "critical")
            ]
            assert not bad, (view, bad)


def test_on_a_phone_nothing_lies_off_screen(browser: Browser, served: Served):
    for page in watched(browser, served):
        page.set_viewport_size({"width": 390, "height": 800})
        for view in VIEWS:
            page.evaluate("view => { location.hash = '#/' + view; }", view)
            page.locator("h1").wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= 391, view


def test_the_address_holds_the_view(page: Page, served: Served):
    page.goto(page.url.split("#")[0] + f"#/dials?d={PART}=-4&aim=nl")
    page.reload()
    expect(page.get_by_label(f"α of {PART}")).to_have_value("-4")
    expect(page.locator("tr.aim")).to_contain_text("Dutch", timeout=60_000)
    assert "d=h.3" in page.url
    page.get_by_role("link", name="Parts", exact=True).click()
    page.locator("h1").click()
    page.keyboard.press("/")
    expect(page.locator("input[type=search]")).to_be_focused()


def test_a_scale_that_is_none_is_refused_by_its_range(page: Page):
    page.goto(page.url.split("#")[0] + f"#/dials?d={PART}=-4")
    page.reload()
    field = page.get_by_label(f"α of {PART}")
    for typed in ("", "5000"):
        expect(field).to_have_value("-4")
        field.fill(typed)
        field.press("Enter")
        field.blur()
        expect(page.locator(".notice")).to_contain_text("from −1000 to 1000; it stays at −4")
        page.get_by_role("button", name="close").click()


def test_an_address_that_was_cut_short_still_opens(page: Page):
    page.goto(page.url.split("#")[0] + "#/part/h.3%")
    page.reload()
    expect(page.get_by_role("heading", name="h.3%")).to_be_visible(timeout=20_000)


def test_a_refused_dial_leaves_no_figures_of_the_one_before(page: Page):
    page.goto(page.url.split("#")[0] + f"#/dials?d={PART}=-4")
    page.reload()
    expect(page.locator("td[data-domain=de]")).to_be_visible(timeout=60_000)
    # Names are looked up before they are pinned: here nothing is said against one, and the measurement refuses it.
    page.route("**/api/named", lambda route: route.fulfill(json={"refused": {}}))
    page.get_by_label("pin a part by name").fill("h.9.mlp.down_proj:1")
    page.keyboard.press("Enter")
    field = page.get_by_label("α of h.9.mlp.down_proj:1")
    field.fill("0")
    field.press("Enter")
    expect(page.locator("#main .error")).to_contain_text("h.9", timeout=60_000)
    expect(page.locator("td[data-domain=de]")).to_have_count(0, timeout=60_000)


def test_a_page_that_was_saved_opens_from_a_file_and_runs_nothing(browser: Browser, served: Served, tmp_path):
    with studio(tmp_path) as own:
        pages = watched(browser, own, served)
        page = next(pages)
        expect(page.locator(".whole .row").first).to_be_visible(timeout=20_000)
        saved = {}
        for view, ready in (
            (f"part/{PART}", page.get_by_text("Neighbours by direction")),
            (f"dials?d={PART}=-8", page.get_by_text("800 validation tokens per domain")),
        ):
            hostile = "".join(HOSTILE[::9])[:180]
            state = own.json("/api/labels")
            own.json("/api/labels", {"name": PART, "label": hostile, "after": state["last"]})
            page.goto(page.url.split("#")[0] + "#/" + view)
            page.reload()
            expect(ready).to_be_visible(timeout=90_000)
            expect(page.locator(".about")).to_contain_text("parameters", timeout=90_000)
            page.locator("details").evaluate_all(
                "all => all.forEach((one) => (one.open = true))"
            )  # as in the file
            with page.expect_download() as waited:
                page.get_by_role("button", name="save this page as a file").click()
            path = tmp_path / waited.value.suggested_filename
            waited.value.save_as(path)
            saved[path] = (page.locator("h1").inner_text(), page.locator("tbody td").all_inner_texts())
        with pytest.raises(StopIteration):
            next(pages)
    for path, (title, figures) in saved.items():
        _stands_alone(browser, path, title, [text for text in figures if text.strip()])


def _stands_alone(browser: Browser, path: Path, title: str, figures: list[str]) -> None:
    """A file shows what the studio showed, offline, with nothing in it that runs or leads out."""
    context, said = browser.new_context(offline=True), []
    page = context.new_page()
    page.on("dialog", lambda d: (said.append(d.message), d.dismiss()))
    page.on("request", lambda r: None if r.url == path.as_uri() else said.append(r.url))
    page.goto(path.as_uri())
    assert page.locator("h1").inner_text() == title
    assert [text for text in page.locator("tbody td").all_inner_texts() if text.strip()] == figures
    assert HOSTILE[0] in page.locator("main").inner_text()
    assert page.locator("script, main img, main iframe, main link, main meta, main a").count() == 0
    page.screenshot(path=path.with_suffix(".png"), full_page=True)
    context.close()
    assert not said


def test_a_run_is_watched_while_it_goes_on(browser: Browser, served: Served, tmp_path):
    run = tmp_path / "training" / HOSTILE[1][:60].replace("/", "_")
    run.mkdir(parents=True)

    def write(step: int) -> None:
        with (run / "metrics.jsonl").open("a") as stream:
            stream.write(json.dumps({"step": step, "loss": 10 / step, HOSTILE[2]: step}) + "\n")

    write(1)
    with studio(tmp_path) as own:
        pages = watched(browser, own, served)
        page = next(pages)
        page.get_by_role("link", name="Runs").click()
        page.get_by_role("button", name="metrics").click()
        expect(page.get_by_text("step 1, going on")).to_be_visible(timeout=20_000)
        write(4)
        expect(page.get_by_text("step 4, going on")).to_be_visible(timeout=20_000)
        expect(page.get_by_role("row", name="loss")).to_contain_text("2.5")
        expect(page.get_by_role("row", name=HOSTILE[2])).to_be_visible()
        assert page.locator("polyline").count() == 2
        page.screenshot(path=tmp_path / "runs.png")
        with pytest.raises(StopIteration):
            next(pages)


def _events(*told: tuple[str, object]) -> str:
    return "".join(f"event: {event}\ndata: {json.dumps(data)}\n\n" for event, data in told)


def test_domains_that_time_was_too_short_for_are_named_and_keep_their_rows(page: Page, served: Served):
    events = served.events("/api/preview", {"scales": {PART: -8}, "client": "another"})
    rows = [data for event, data in events if event == "partial" and "row" in data]
    first = next(row for row in rows if row["row"]["damage"]["domain"] == "de")
    cut = {"cut": {"tokens": 128, "domains": ["en", "fr"], "seconds": 30.0}}
    body = _events(("started", None), ("partial", first), ("partial", cut), ("done", None))
    page.route("**/api/preview", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    page.goto(served.address.split("/?")[0] + f"/#/dials?d={PART}=-8")
    expect(page.get_by_text("30 seconds were up: English, French were not measured on 128")).to_be_visible(
        timeout=20_000
    )
    expect(page.locator("tr[data-tokens='128']")).to_have_count(1)
    expect(page.get_by_text("1 of 8 domains so far")).to_be_visible(timeout=60_000)
    assert page.locator("tr[data-tokens='0'] td").first.inner_text() == "…"


def test_figures_of_the_dials_before_are_dimmed_until_new_ones_come(page: Page, served: Served):
    page.goto(served.address.split("/?")[0] + f"/#/dials?d={PART}=-8")
    expect(page.get_by_text("800 validation tokens per domain")).to_be_visible(timeout=60_000)
    page.route("**/api/preview", lambda route: None)  # never answered
    field = page.get_by_label(f"α of {PART}")
    field.fill("-3")
    field.press("Enter")
    expect(page.locator("table.stale")).to_be_visible()
    assert page.locator("table.effects").get_attribute("aria-busy") == "true"


def test_of_two_texts_it_is_shown_what_the_changed_word_changes(page: Page, served: Served):
    texts = "Der Ausschuss hat gestern beschlossen", "Der Ausschuss hat morgen beschlossen"
    look_into_both(page, served, texts)
    changed = page.locator("table.difference button.changed")
    expect(changed.first).to_be_visible(timeout=60_000)
    one, two = (served.json("/api/prompt", {"text": text, "top": 12}) for text in texts)
    assert len(one["tokens"]) == len(two["tokens"])
    pairs = list(zip(one["tokens"], two["tokens"], strict=True))
    differ = [b["text"] for a, b in pairs if a["text"] != b["text"]]
    assert [said.split(" (")[0] for said in changed.all_text_contents()] == differ
    rises = [round(b["sums"][0] - a["sums"][0], 1) for a, b in pairs]
    shown = page.locator("table.difference tbody tr").first.locator("td").all_inner_texts()
    assert [float(said.replace("−", "-")) for said in shown] == pytest.approx(rises, abs=0.051)
    expect(page).to_have_url(re.compile("t=Der.*u=Der"))
    page.reload()  # the address holds the texts
    expect(changed.first).to_be_visible(timeout=60_000)


def test_numbers_keep_the_zeros_that_say_something(page: Page):
    said = page.evaluate(
        """async () => {
          const { short } = await import("/static/words.js");
          return [0, 340, 100, 38, 0.033, 5.96e-9, -0.2, 12345, 1.5e9, 0.1005].map(short);
        }"""
    )
    assert said == ["0", "340", "100", "38", "0.033", "5.96e−9", "−0.2", "12,345", "1.5e9", "0.101"]


def test_a_name_of_no_part_is_not_pinned_and_the_reason_is_told(page: Page, served: Served):
    page.goto(f"{served.address.split('/?')[0]}/#/dials?d={PART}=-8,nope:1=3")
    expect(page.locator(".notice")).to_contain_text("unknown site in 'nope:1'")
    expect(page.locator("fieldset.dial")).to_have_count(1)
    field = page.get_by_label("pin a part by name")
    field.fill("h.3.mlp.down_proj:99999")
    field.press("Enter")
    expect(page.locator(".notice")).to_contain_text("unknown subcomponent 'h.3.mlp.down_proj:99999'")
    expect(page.locator("fieldset.dial")).to_have_count(1)
    expect(field).to_have_value("h.3.mlp.down_proj:99999")
    field.fill("h.3.mlp.down_proj:271")
    field.press("Enter")
    expect(page.locator("fieldset.dial")).to_have_count(2)
    page.goto(f"{served.address.split('/?')[0]}/#/part/nope:1")
    expect(page.locator("main .error")).to_contain_text("nope:1", timeout=60_000)
    expect(page.get_by_text("reading…")).to_have_count(0)


def test_redo_brings_back_what_was_kept_and_then_what_was_not(browser: Browser, served: Served, tmp_path):
    with studio(tmp_path) as own:
        pages = watched(browser, own, served)
        page = next(pages)
        expect(page.locator(".about")).to_contain_text("parameters", timeout=60_000)
        page.goto(f"{own.address.split('/?')[0]}/#/dials?d={PART}=-4")
        page.get_by_role("button", name="keep as an edit").click()
        expect(page.get_by_role("link", name="1 kept", exact=True)).to_be_visible()
        field = page.get_by_label(f"α of {PART}")
        undo, redo = (page.get_by_role("button", name=name) for name in ("undo", "redo"))
        field.fill("-7")
        field.press("Enter")
        for expected in ("-4", "1"):
            undo.click()
            expect(field).to_have_value(expected)
        expect(page.get_by_role("link", name="0 kept, 1 undone", exact=True)).to_be_visible()
        for expected in ("-4", "-7"):
            redo.click()
            expect(field).to_have_value(expected)
        expect(redo).to_be_disabled()
        undo.click()
        expect(field).to_have_value("-4")
        field.fill("-2")
        field.press("Enter")
        page.get_by_role("button", name="keep as an edit").click()  # what was set aside is given up
        expect(page.get_by_role("link", name="2 kept", exact=True)).to_be_visible()
        undo.click()
        expect(field).to_have_value("-4")
        redo.click()
        expect(field).to_have_value("-2")
        pages.close()


def test_signs_of_zeros_and_numbers_as_they_are_typed(page: Page):
    said = page.evaluate(
        """async () => {
          const { fixed, scale, signed, typedNumber } = await import("/static/words.js");
          const typed = ["1.5", "1,5", "−8", "-0,25", ".5", "1e3", "1,000", "1.5.2", "", "x", "0x10"].map(typedNumber);
          return [[0.0004, -0.0004, 0.0005, -0.2].map((v) => signed(v)), [-0.0004, -1.2].map((v) => fixed(v)),
            [-0.0001, -8, 1.25].map(scale), typed.map((v) => (Number.isNaN(v) ? null : v))];
        }"""
    )
    assert said == [
        ["0.000", "0.000", "+0.001", "−0.200"],
        ["0.000", "−1.200"],
        ["0", "−8", "1.25"],
        [1.5, 1.5, -8, -0.25, 0.5, 1000, None, None, None, None, None],
    ]


def test_a_comma_before_decimals_is_one_and_a_notice_ends_with_its_view(page: Page, served: Served):
    page.goto(served.address.split("/?")[0] + f"/#/dials?d={PART}=-4")
    field = page.get_by_label(f"α of {PART}")
    field.fill("1,5")
    field.press("Enter")
    expect(field).to_have_value("1.5")
    field.fill("1,000")
    field.press("Enter")
    expect(page.locator(".notice")).to_contain_text("it stays at 1.5")
    page.get_by_role("link", name="Workspace").click()
    expect(page.locator(".notice.none")).to_have_count(1)
    for view in ("nowhere", "constructor"):
        page.evaluate("view => { location.hash = '#/' + view; }", view)
        expect(page.get_by_text(f"There is no view “{view}”")).to_be_visible()
        expect(page.get_by_role("heading", name="Parts")).to_be_visible()


def test_the_graphs_view_says_a_command_that_can_be_given(page: Page, served: Served):
    page.goto(served.address.split("/?")[0] + "/#/graphs")
    said = shlex.split(page.locator("main p code").inner_text(timeout=60_000))
    assert said[0] == "rankone"
    context = get_command(commands()).make_context("rankone", said[1:])
    name, command, rest = get_command(commands()).resolve_command(
        context, [*context._protected_args, *context.args]
    )
    given = command.make_context(name, rest, parent=context).params
    assert (given["model"], given["prompt"]) == ("mini", "A text")


def test_what_hides_in_foreign_text_is_shown_in_every_view_and_in_saved_pages(
    browser: Browser, served: Served, tmp_path
):
    studio_folder = tmp_path / "studio"
    studio_folder.mkdir()
    hidden, long = "a\u202eb\0c\u2066", "x" * 180
    lines = [
        {
            "seq": i,
            "time": "2026-11-27T00:00:00+00:00",
            "kind": "set",
            "name": hidden + long,
            "scales": {PART: -i},
        }
        for i in (1, 2)
    ]
    (studio_folder / "edits.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with studio(tmp_path) as own:
        own.json("/api/labels", {"name": PART, "label": long, "after": 0})
        pages = watched(browser, own, served)
        page = next(pages)
        page.set_viewport_size({"width": 390, "height": 800})
        page.route(
            re.compile(r"/api/graphs(/checked)?$"),
            lambda route: route.fulfill(json={"graphs": [_graph_of(hidden + long)]}),
        )
        for view in ("edits?two=1-2", f"part/{PART}", f"part/{quote(hidden)}", "graphs"):
            page.goto(own.address.split("/?")[0] + f"/#/{view}")
            page.reload()
            page.locator("h1").wait_for()
            if view.startswith("edits"):
                page.get_by_role("button", name="compare the two chosen").click()
                expect(page.get_by_role("columnheader", name=r"2 a\u{202e}b\x00c\u{2066}x")).to_be_visible(
                    timeout=60_000
                )
            else:
                said = long if view.endswith(PART) else r"a\u{202e}b\x00c\u{2066}"
                expect(page.get_by_text(said).first).to_be_visible(timeout=60_000)
            texts = [page.locator("body").inner_text()]
            assert page.evaluate("document.documentElement.scrollWidth") <= 391, view
            if view != "graphs":
                with page.expect_download() as waited:
                    page.get_by_role("button", name="save this page as a file").click()
                texts.append(Path(waited.value.path()).read_text("utf8"))
            assert not set("".join(texts)) & {"\u202e", "\0", "\u2066"}, view
        with pytest.raises(StopIteration):
            next(pages)


def _graph_of(prompt: str) -> dict[str, object]:
    given = {"id": "0" * 16, "name": "g", "state": "exact", "prompt": prompt, "outputs": [prompt]}
    return {**given, "node_set": "natural", "replacement": 0.5, "broken": "", "hashed": True}
