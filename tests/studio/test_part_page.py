"""A part's page with a harvest: figures by domain as `rankone show` has them, labels cut and whole."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from playwright.sync_api import expect
from tests.browser import needed
from tests.studio.browsing import chromium, watched
from tests.studio.hostile import HOSTILE
from tests.studio.serving import Served, studio
from tests.tiny import rankone

from rankone.core.config import Config
from rankone.core.escaping import SHOWN, visible
from rankone.harvest.reading.store import HarvestStore
from rankone.labels.label import Label
from rankone.labels.store import open_labels, save_labels
from rankone.render.values import signed
from rankone.show.portrait import portrait
from rankone.show.web import portrait_page
from rankone.studio.views.worker import PartView

MEGABYTE = "a\u202eb\0" * 250_000
LONG = " ".join(HOSTILE) * 3


@pytest.fixture(scope="module")
def store(harvest):
    """The harvest of the tiny decomposition."""
    return HarvestStore.from_pretrained(harvest)


@pytest.fixture(scope="module")
def part(store):
    """The part that fires most."""
    return store.names()[int(store.firings().argmax())]


@pytest.fixture(scope="module")
def own(pair, harvest, store, part, tmp_path_factory):
    """A studio on the harvest; one label and its reasons are longer than any page."""
    folder = tmp_path_factory.mktemp("workspace")
    assert rankone("label", harvest, "--out", folder / "counted").code == 0
    labels = [label for name in store.names() for label in open_labels(folder / "counted").by_part[name]]
    told = [replace(one, label=LONG, reasoning=LONG * 2) if one.part == part else one for one in labels]
    save_labels(folder / "labels", told, store.artifact.fingerprint, Config())
    options = ["--model", pair[0], "--decomposition", pair[1], "--harvest", harvest]
    with studio(folder, *map(str, [*options, "--labels", folder / "labels"])) as running:
        yield running


def _view(own: Served, part: str) -> PartView:
    return PartView.model_validate(own.json("/api/part", {"name": part}))


def test_figures_by_domain_are_those_of_the_harvest(own: Served, store, part):
    harvest = _view(own, part).harvest
    assert harvest is not None
    rows = sorted(store.page(part).domains, key=lambda row: -row.density)
    said = [(d.domain, d.tokens, d.density, d.importance, d.activation, d.lift) for d in harvest.domains]
    assert said == [
        (r.domain, r.tokens, r.density, r.mean_importance, r.mean_activation, r.lift) for r in rows
    ]
    assert len({row.mean_activation for row in rows}) == len(rows) > 1


def test_a_label_is_cut_and_all_of_it_can_be_had_page_by_page(own: Served, part):
    harvest = _view(own, part).harvest
    assert harvest is not None
    (label,) = harvest.labels
    whole = {"label": visible(LONG), "reasoning": visible(LONG * 2)}
    assert (len(label.label), label.cut) == (2000, {name: len(text) for name, text in whole.items()})
    for name, text in whole.items():
        asked = {"name": part, "label": 0, "of": name}
        count = own.json("/api/text", asked)["pages"]
        replies = [own.ask("/api/text", {**asked, "page": page}) for page in range(count)]
        assert count > 1
        assert max(len(body) for _, _, body in replies) <= 65_536
        assert "".join(json.loads(body)["text"] for _, _, body in replies) == text
    for wrong in ({"label": 1}, {"page": 1000}, {"name": "h.9:1"}, {"of": "part"}, {"page": -1}):
        assert own.ask("/api/text", {"name": part, "label": 0, **wrong})[0] == 400


@needed
def test_both_are_on_the_page(own: Served, part, tmp_path):
    harvest = _view(own, part).harvest
    assert harvest is not None
    with chromium() as browser:
        for page in watched(browser, own):
            page.goto(own.address.split("/?")[0] + f"/#/part/{part}")
            rows = page.locator("table.where tbody tr")
            expect(rows).to_have_count(len(harvest.domains), timeout=60_000)
            shown = [rows.nth(i).locator("td").all_inner_texts() for i in range(len(harvest.domains))]
            assert [tuple(row[1:4]) for row in shown] == [
                (f"{d.importance:.4f}", signed(d.activation), f"{d.lift:.2f}") for d in harvest.domains
            ]
            more = page.get_by_role("button", name="more of the label")
            text = page.locator(".whole-text").first.locator(".continuation")
            more.click()
            expect(text).to_contain_text(visible(HOSTILE[0]))
            while more.count():
                more.click()
                page.wait_for_timeout(100)
            assert " ".join(text.inner_text().split()) == " ".join(visible(LONG).split())
            assert page.locator("main img, main script, main iframe").count() == 0
            assert page.evaluate("document.documentElement.scrollWidth") <= 1280
            page.screenshot(path=tmp_path / "part.png", full_page=True)


def test_labels_of_others_are_inert_and_cut_where_they_are_taken(store, part, tmp_path):
    others = [row.part for row in store.page(part).cofiring]
    assert others
    named = [Label(name, MEGABYTE, 1.0, "somebody", MEGABYTE) for name in store.names()]
    save_labels(tmp_path / "labels", named, store.artifact.fingerprint, Config())
    shown = portrait(store, part, open_labels(tmp_path / "labels"))
    assert {len(label) for label in shown.named.values()} == {SHOWN}
    page = portrait_page(shown)
    assert len(page) < 200_000
    assert f"(cut: it has {len(MEGABYTE):,} characters)" in page
    assert not set(page) & {"\u202e", "\0"}
