"""A workspace as a folder of pages: what it shows, opened from files and from a plain server; nothing in it leads out."""

from __future__ import annotations

import functools
import http.server
import re
import threading

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from tests.browser import CHROMIUM, needed
from tests.studio.hostile import HOSTILE
from tests.tiny import rankone

from rankone import open as open_session
from rankone.core.artifact import new_artifact
from rankone.core.errors import RankOneError
from rankone.render.values import formatted, percent
from rankone.studio.kept.corrections import Corrections
from rankone.studio.kept.journal import Journal
from rankone.studio.listed.columns import SHIPPED, read_columns
from rankone.studio.standing import folder
from rankone.studio.standing.folder import Written, write_folder
from rankone.studio.standing.pages import contained, list_pages
from rankone.studio.standing.rows import Listed, Row

PART, NEURON = "h.3.mlp.down_proj:270", "neuron/h.3.mlp.down_proj:7"
HOSTILE_TEXT = "".join(HOSTILE[::9])[:180]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Written:
    """The folder of a workspace with two edits, a corrected label, a result and a broken artefact."""
    workspace = tmp_path_factory.mktemp("workspace")
    journal = Journal(workspace / "studio")
    journal.add({PART: -8.0}, HOSTILE_TEXT, 0)
    journal.add({PART: 0.0, NEURON: 2.0}, "", 1)
    Corrections.of(None, workspace / "studio").add("h.0.attn.v_proj:1", HOSTILE_TEXT, "before", 0)
    with new_artifact(workspace / "report", "sweep") as folder:
        (folder / "index.html").write_text(
            "<!DOCTYPE html><title>x</title><p>A report.<script>alert(1)</script>"
        )
    (workspace / "broken").mkdir()
    (workspace / "broken" / "manifest.json").write_text("{")
    return write_folder(open_session("mini"), workspace, workspace / "out", per_domain=1)


def test_of_another_model_there_is_no_list_without_a_harvest(pair, tmp_path):
    (tmp_path / "empty").mkdir()
    opened = ["--model", pair[0], "--decomposition", pair[1]]
    done = rankone("studio", tmp_path / "empty", "--export", tmp_path / "out", *opened)
    assert (done.code, "0 parts listed" in done.out) == (0, True), done.err
    assert "it takes a harvest" in (tmp_path / "out" / "index.html").read_text("utf8")
    assert rankone("studio", tmp_path / "empty", "--export", tmp_path / "out", *opened).code == 2


def test_with_a_harvest_a_part_has_its_whole_portrait(pair, harvest, tmp_path):
    opened = ["--model", pair[0], "--decomposition", pair[1], "--harvest", harvest]
    done = rankone("studio", tmp_path, "--export", tmp_path / "out", "--pages", 1, *opened)
    assert done.code == 0, done.err
    pages = [page.read_text("utf8") for page in (tmp_path / "out" / "parts").iterdir()]
    assert pages
    assert all("Examples" in page and "../index.html" in page for page in pages)


def test_what_is_there_stays(written: Written):
    with pytest.raises(RankOneError, match="already exists"):
        write_folder(open_session("mini"), written.out.parent, written.out)


def test_no_page_runs_what_is_not_ours_or_leads_out(written: Written):
    pages = list(written.out.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        source = page.read_text("utf8")
        assert source.index("Content-Security-Policy") < 200
        assert "http://" not in source.replace("http://www.w3.org", "")
        assert max(source.count("<script>"), 1) == 1
    assert max(page.stat().st_size for page in pages) <= 1_000_000


def test_a_foreign_page_is_put_under_our_policy():
    for start in (b"", b"\xef\xbb\xbf", b"<!DOCTYPE html>\n"):
        assert contained(start + b"<p>x").startswith(
            b'<!doctype html><meta charset="utf-8"><meta http-equiv='
        )


@needed
@pytest.mark.parametrize("way", ["file", "http"])
def test_it_is_walked_through_in_a_browser(written: Written, way):
    handler = functools.partial(_Quiet, directory=str(written.out))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        sync_playwright() as playwright,
    ):
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        root = written.out.as_uri() if way == "file" else f"http://127.0.0.1:{server.server_port}"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, said = browser.new_page(), []
        page.on("dialog", lambda d: (said.append(d.message), d.dismiss()))
        page.on("request", lambda r: None if r.url.startswith(root) else said.append(r.url))
        page.goto(f"{root}/index.html")
        _walk(page)
        for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light")):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            for name in ("index", "edits", "sites/0", "domains/1", "parts/h.3.mlp.down_proj-270"):
                page.goto(f"{root}/{name}.html")
                assert page.evaluate("document.documentElement.scrollWidth") <= width, name
                shot = f"{name.replace('/', '-')}-{width}-{scheme}.png"
                page.screenshot(path=written.out.parent / "shots" / shot)
        browser.close()
        server.shutdown()
    assert not [url for url in said if not url.startswith("data:") and "favicon" not in url]


def _walk(page: Page) -> None:
    """From the index to a list, filtered, to a part; to the edits; to the report."""
    index = page.url
    page.get_by_role("link", name="German").click()
    expect(page.locator("tbody tr").first).to_be_visible()
    page.get_by_role("searchbox").fill("german h.3.mlp.down")
    expect(page.locator("output")).to_contain_text("of 1")
    page.get_by_role("link", name=PART).click()
    expect(page.get_by_role("heading", name=PART)).to_be_visible()
    assert page.locator("figure svg").count() == 1
    page.get_by_role("link", name="the workspace").click()
    page.get_by_role("link", name="2 kept").click()
    expect(page.get_by_role("heading", level=2).first).to_have_text("2 (current)")
    assert HOSTILE[0] in page.locator("main").inner_text()
    page.goto(index)
    page.get_by_role("link", name="report").click()
    expect(page.get_by_text("A report.")).to_be_visible()


def test_its_figures_are_those_of_the_command(written: Written):
    from tests.pages import Page as Read

    said = open_session("mini").edit({PART: -8}, split="validation", tokens=800).domains
    source = (written.out / "edits.html").read_text("utf8")
    read = Read(
        re.sub(r'<a href="[a-z./0-9_-]*">', "<a>", source)
    )  # pages that stand alone have no such links
    first = read.tables["edit-1"][1:]
    assert [row[3] for row in first] == [formatted(d.rise, "+.3f") for d in said]


@needed
@pytest.mark.parametrize("name", ["index", "edits", "sites/0", "parts/h.3.mlp.down_proj-270"])
def test_axe_has_no_serious_finding(serious, written: Written, name):
    source = (written.out / f"{name}.html").read_text("utf8")
    for dark in (False, True):
        assert not serious(source, dark)["bad"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@needed
def test_shares_have_the_digits_that_the_list_has(page, written: Written):
    held = read_columns(SHIPPED)
    shares = sorted({*held.density, *(share for of in held.by_domain for share in of)})
    script = "async (all) => { const { percent } = await import('/static/words.js'); return all.map((v) => percent(v)); }"
    assert page.evaluate(script, shares) == [percent(share) for share in shares]
    row = next(
        i for i, share in enumerate(held.density) if share > 0.1
    )  # of which two decimals say more than is known
    file = written.out / "sites" / f"{held.site[row]}.html"
    (cells,) = re.findall(
        rf"<tr><td[^>]*>(?:<a[^>]*>)?{re.escape(held.sites[held.site[row]])}:{held.number[row]}<.*?</tr>",
        file.read_text("utf8"),
    )[:1]
    said = re.findall(r"<td>([^<]*)</td>", cells)
    assert [said[0], *said[2:]] == [
        percent(share).replace("<", "&lt;")
        for share in (held.density[row], *(of[row] for of in held.by_domain))
    ]
    shown = (written.out / "parts" / "h.3.mlp.down_proj-270.html").read_text("utf8")
    there = next(i for i in range(len(held.number)) if f"{held.sites[held.site[i]]}:{held.number[i]}" == PART)
    assert f"fires on {percent(held.density[there])} of all tokens" in shown
    assert all(f">{percent(of[there])}<" in shown for of in held.by_domain)


def test_a_long_list_is_several_pages_of_which_every_one_leads_to_the_others():
    held = read_columns(SHIPPED)
    rows = [Row(f"h.0:{i}", "words", 0.5, 0.25, (0.125,) * len(held.domains), "") for i in range(4001)]
    made = list(list_pages("Parts of h.0", rows, Listed(held, {}, frozenset()), "7"))
    assert [page.count("<tr><td") for page in made] == [2000, 2000, 1]
    assert all(len(page) < 1_000_000 for page in made)
    assert re.findall(r'<a href="(7[^"]*)">([^<]*)', made[1]) == [
        ("7.html", "1 to 2,000"),
        ("7-3.html", "4,001 to 4,001"),
    ]
    assert "aria-current" not in next(list_pages("one", rows[:5], Listed(held, {}, frozenset()), "7"))


def test_forty_thousand_parts_are_pages_of_at_most_a_megabyte_each(tmp_path, monkeypatch):
    held, count = read_columns(SHIPPED), 40_000
    of = [i % len(held.number) for i in range(count)]
    names = ("label", "label_source", "confidence", "density", "importance")
    longer = {name: tuple(getattr(held, name)[i] for i in of) for name in names}
    sites = tuple(f"model.layers.{i}.mlp.down_proj" for i in range(8))
    longer |= {"sites": sites, "site": tuple(i // 5000 for i in range(count))}
    longer |= {"number": tuple(i % 5000 for i in range(count))}
    longer |= {"by_domain": tuple(tuple(column[i] for i in of) for column in held.by_domain)}
    monkeypatch.setattr(folder, "columns_of", lambda _: held.model_copy(update=longer))
    (tmp_path / "workspace").mkdir()
    out = write_folder(open_session("mini"), tmp_path / "workspace", tmp_path / "out", per_domain=0)
    pages = list((tmp_path / "out").rglob("*.html"))
    assert out.listed == count
    assert len([page for page in pages if page.parent.name == "sites"]) > len(sites)
    assert max(page.stat().st_size for page in pages) <= 1_000_000
    alive = sum(1 for i in of if held.density[i])
    rows = sum(page.read_text("utf8").count("<tr><td") for page in pages if page.parent.name == "sites")
    assert rows == alive
