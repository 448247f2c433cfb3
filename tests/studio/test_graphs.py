"""Graphs of a workspace: listed with their verification, shown, and changed beside what the command line says."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect, sync_playwright
from tests.browser import CHROMIUM, needed
from tests.studio.browsing import chromium, watched
from tests.studio.serving import Served, studio
from tests.tiny import rankone

from rankone import open as open_session
from rankone.circuits.asking.groups import group_rows
from rankone.circuits.asking.replies import GraphInterveneReply
from rankone.circuits.asking.summary import graph_reply, node_rows
from rankone.circuits.graph import Graph
from rankone.circuits.storage import load_graph
from rankone.render.values import formatted, signed
from rankone.studio import shelf as shelf_module
from rankone.studio.kept.graphs import checked, listed
from rankone.studio.shelf import Shelf
from rankone.studio.standing.folder import write_folder
from rankone.studio.views.requests import GraphAsked
from rankone.studio.views.worker import GraphView
from rankone.studio.working.graphing import graph_view


@pytest.fixture(scope="module")
def own(pair, tmp_path_factory):
    """A studio on the tiny model; its workspace has a verified graph, one that was not checked, and a broken one."""
    folder, (model, decomposition) = tmp_path_factory.mktemp("workspace"), pair
    asked = [
        "graph",
        model,
        "the cat",
        "--decomposition",
        decomposition,
        "--nodes",
        "strongest",
        "--per-site",
        2,
    ]
    rankone(*asked, "--removed", 4, "--random-graphs", 2, "--out", folder / "checked")
    shutil.copytree(folder / "checked", folder / "broken")
    (folder / "broken" / "graph.json").write_text("{}")
    rankone(*asked, "--unverified", "--random-graphs", 0, "--out", folder / "unchecked")
    shutil.copytree(folder / "unchecked", folder / "altered")
    _alter(folder / "altered" / "edges.parquet")
    with studio(folder, "--model", str(model), "--decomposition", str(decomposition)) as running:
        yield running


def _alter(file: Path) -> None:
    """Another bit in its midst."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def _id(served: Served, name: str) -> str:
    return {one["name"]: one["id"] for one in served.json("/api/graphs")["graphs"]}[name]


def test_they_are_listed_with_what_was_checked(own: Served):
    graphs = {one.name: one for one in listed(Shelf(own.folder)).graphs}
    assert {name: one.state for name, one in graphs.items()} == {
        "altered": "not verified",  # until its files are read through
        "broken": "broken",
        "checked": "exact",
        "unchecked": "not verified",
    }
    assert graphs["checked"].prompt == "the cat"
    assert graphs["broken"].broken.startswith("graph.json: origin is missing")
    assert [one["name"] for one in own.json("/api/graphs")["graphs"]] == sorted(graphs)


def test_what_was_cut_or_altered_is_named_with_the_reason(own: Served, tmp_path):
    for name in ("whole", "cut", "altered", "lacking", "newer"):
        shutil.copytree(own.folder / "checked", tmp_path / name)
    edges = tmp_path / "cut" / "edges.parquet"
    edges.write_bytes(edges.read_bytes()[:-9])
    _alter(tmp_path / "altered" / "edges.parquet")
    (tmp_path / "lacking" / "nodes.parquet").unlink()
    manifest = tmp_path / "newer" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema_version": 99}))
    shelf = Shelf(tmp_path)
    quickly = {one.name: one for one in listed(shelf).graphs}
    assert {name for name, one in quickly.items() if one.state == "broken"} == {"cut", "lacking", "newer"}
    assert not any(one.hashed for one in quickly.values())
    told = {one.name: one for one in checked(shelf).graphs}
    assert [name for name, one in told.items() if one.state != "broken"] == ["whole"]
    assert (told["whole"].state, told["whole"].hashed) == ("exact", True)
    for name, said in (
        ("cut", "'edges.parquet' is cut short"),
        ("altered", "'edges.parquet' was altered or truncated: its hash is"),
        ("lacking", "lacks its file 'nodes.parquet'"),
        ("newer", "version 99"),
    ):
        assert said in told[name].broken
    assert listed(shelf) == checked(shelf)  # what was read through is known from then on


def test_only_graphs_are_read_through_for_their_list(own: Served, tmp_path, monkeypatch):
    shutil.copytree(own.folder / "checked", tmp_path / "graph")
    open_session("mini").scale({"h.3.mlp.down_proj:270": -8.0}).save_pretrained(tmp_path / "edit")
    read = []
    monkeypatch.setattr(shelf_module, "check_listed", lambda path, _: read.append(path.name))
    shelf = Shelf(tmp_path)
    for _ in range(2):
        checked(shelf)
    assert read == ["graph"]


def test_one_is_shown_with_its_strongest_nodes(own: Served):
    view = GraphView.model_validate(own.json("/api/graph", {"id": _id(own, "checked"), "rule": "grad"}))
    assert view.exact
    assert (view.graph.prompt, view.graph.rule) == ("the cat", "grad")
    influences = [node.influence for node in view.graph.nodes]
    assert influences == sorted(influences, reverse=True)
    assert own.json("/api/graph", {"id": _id(own, "unchecked")})["exact"] is None
    status, headers, page = own.ask(f"/graphs/{_id(own, 'checked')}")
    assert (status, "sandbox" in headers["content-security-policy"]) == (200, True)
    assert b"the cat" in page


def test_a_change_is_what_the_command_says(own: Served, pair):
    first = own.json("/api/graph", {"id": _id(own, "checked")})["graph"]["nodes"][0]["name"].replace(
        " at ", "@"
    )
    part = first.split("@")[0]
    for changes, words in (
        ({first: 0}, ["--drop", first]),
        ({f"{part}@all": -2}, ["--scale", f"{part}@all=-2"]),
    ):
        body = {"id": _id(own, "checked"), "changes": changes, "tokens": 2}
        there = GraphInterveneReply.model_validate(own.json("/api/intervene", body))
        opened = ["--model", pair[0], "--decomposition", pair[1]]
        done = rankone("graph-intervene", own.folder / "checked", *opened, *words, "--continue", 2, "--json")
        here = GraphInterveneReply.model_validate(json.loads(done.out))
        assert [o.happened for o in there.outcomes] == pytest.approx(
            [o.happened for o in here.outcomes], abs=1e-6
        )
        assert [o.predicted["grad"] for o in there.outcomes] == pytest.approx(
            [o.predicted["grad"] for o in here.outcomes], abs=1e-6
        )
        assert (there.after, there.edit, there.graph) == (here.after, here.edit, Path("checked"))


def test_what_is_no_graph_is_refused_and_no_place_is_taken(own: Served):
    for id_ in ("0" * 16, "../checked", "checked"):
        assert own.ask("/api/graph", {"id": id_})[0] == 400
        assert own.ask(f"/graphs/{id_}")[0] == 404
    good = _id(own, "checked")
    for body in (
        {"changes": {"nowhere@1": 0}},
        {"changes": {}},
        {"changes": {"a:1": 1e9}},
        {"graph": "/tmp"},
    ):
        assert own.ask("/api/intervene", {"id": good, **body})[0] == 400
    assert own.ask("/api/graph", {"id": _id(own, "broken")})[0] == 400


def test_as_many_of_the_strongest_nodes_are_shown_as_are_asked_for(own: Served):
    id_ = _id(own, "checked")
    few, more = (own.json("/api/graph", {"id": id_, "nodes": n})["graph"]["nodes"] for n in (2, 4))
    assert (len(few), more[:2]) == (2, few)
    assert own.ask("/api/graph", {"id": id_, "nodes": 301})[0] == 400
    sizes = [len(own.ask(f"/graphs/{id_}?nodes={n}&rule=grad")[2]) for n in (2, 4)]
    assert sizes[0] < sizes[1]
    for wrong in ("nodes=x", "nodes=0", "nodes=301", "rule=none", "path=x"):
        assert own.ask(f"/graphs/{id_}?{wrong}")[0] == 404


def test_nodes_kept_alone_answer_what_the_command_says(own: Served, pair):
    there = own.json("/api/intervene", {"id": _id(own, "checked"), "keep": ["all"]})
    opened = ["--model", pair[0], "--decomposition", pair[1]]
    done = rankone("graph-intervene", own.folder / "checked", *opened, "--keep", "all", "--json")
    assert there["kept"] == [
        {k: pytest.approx(v, abs=1e-5) if isinstance(v, float) else v for k, v in row.items()}
        for row in json.loads(done.out)["kept"]
    ]
    assert own.ask("/api/intervene", {"id": _id(own, "checked"), "keep": ["all"], "tokens": 3})[0] == 400


def test_a_folder_for_a_static_host_has_their_pages(own: Served, pair, tmp_path):
    session = open_session(pair[0], decomposition=pair[1])
    written = write_folder(session, own.folder, tmp_path / "out", per_domain=0)
    assert written.graphs == 2
    index = (tmp_path / "out" / "index.html").read_text("utf8")
    page = (tmp_path / "out" / "graphs" / f"{_id(own, 'checked')}.html").read_text("utf8")
    assert f"graphs/{_id(own, 'checked')}.html" in index
    for name in ("graph.json", "edges.parquet"):  # of the broken ones the reason
        assert re.search(f"<td[^>]*>&#39;{name}&#39; was altered", index)
    assert "the cat" in page
    assert "<script" not in page


def _numbers(own: Served, id_: str) -> tuple[Graph, list[str]]:
    """The saved graph and the places of all its nodes, the strongest first."""
    graph = load_graph(own.folder / "checked").graph
    rows = own.json("/api/graph", {"id": id_, "nodes": 300})["graph"]["nodes"]
    return graph, [row["name"].replace(" at ", "@") for row in rows]


def test_where_there_is_no_edge_none_is_told_and_an_edge_that_rounds_to_zero_is_one(own: Served, tmp_path):
    saved = load_graph(own.folder / "checked")
    graph, output = saved.graph, saved.graph.outputs[0]
    edges = graph.edges["frozen"]
    into = [i for i in graph.chosen if i in edges.source[edges.target == output].tolist()]
    assert len(into) > 1
    lost, small = into[:2]
    kept = ~((edges.source == lost) & (edges.target == output))
    weight = torch.where((edges.source == small) & (edges.target == output), -4e-5, edges.weight)
    changed = replace(edges, source=edges.source[kept], target=edges.target[kept], weight=weight[kept])
    without = replace(graph, edges={**graph.edges, "frozen": changed})
    place = {i: f"{graph.part(i)}@{graph.nodes[i].position}" for i in (lost, small)}
    rows = {i: node_rows(without, "frozen", [i])[0] for i in (lost, small)}
    assert (rows[lost].effect, rows[small].effect) == (None, pytest.approx(-4e-5))
    alone, both = group_rows(without, "frozen", {"a": [place[lost]]}), {"b": [*place.values()]}
    assert (alone[0].effect, alone[0].within) == (None, None)
    assert group_rows(without, "frozen", both)[0].effect == pytest.approx(-4e-5)
    said = graph_reply(without, None, "frozen", 300).tables()[0]
    shown = {row[0]: said.columns[-1].text(row[-1]) for row in said.rows}
    assert (shown[rows[lost].name], shown[rows[small].name]) == ("–", "0.000")


def test_labels_of_another_decomposition_are_left_out_and_it_is_said(own: Served):
    words = SimpleNamespace(path="/somewhere/labels")
    labels: Any = SimpleNamespace(
        artifact=words, decomposition="0" * 64, names=lambda: ["h.0.mlp.c_fc:0"], words=lambda _: "other"
    )
    opening: Any = SimpleNamespace(labels=labels, harvest_store=None)
    view = graph_view(opening, own.folder / "checked", GraphAsked(id="g", nodes=300))
    (said,) = view.graph.not_compared
    assert "another decomposition or model than this graph" in said
    assert "somewhere" not in said
    assert not any(node.label for node in view.graph.nodes)
    labels.decomposition = load_graph(own.folder / "checked").graph.record.decomposition
    view = graph_view(opening, own.folder / "checked", GraphAsked(id="g", nodes=300))
    assert not view.graph.not_compared


def test_a_group_is_the_sum_of_its_nodes_and_of_their_edges(own: Served):
    id_ = _id(own, "checked")
    graph, places = _numbers(own, id_)
    first, second = places[:3], places[3:5]
    asked = {"id": id_, "nodes": 1, "pinned": places[-1:], "groups": {"first": first, "second": second}}
    view = GraphView.model_validate(own.json("/api/graph", asked))
    assert [row.name.replace(" at ", "@") for row in view.pinned] == places[-1:]
    node = {f"{graph.part(i)}@{graph.nodes[i].position}": i for i in graph.chosen}
    edges = graph.edges["frozen"]
    weights = {
        (s, t): w
        for s, t, w in zip(edges.source.tolist(), edges.target.tolist(), edges.weight.tolist(), strict=True)
    }
    for row, members in zip(view.groups, (first, second), strict=True):
        inside = {node[place] for place in members}
        whole = float(graph.influence.sum())
        assert row.influence == pytest.approx(sum(float(graph.influence[i]) for i in inside) / whole)
        output = graph.outputs[0]
        assert row.effect == pytest.approx(sum(weights.get((i, output), 0) for i in inside))
        among = [w for (s, t), w in weights.items() if s in inside and t in inside]
        assert row.within == (pytest.approx(sum(among), abs=1e-6) if among else None)
        shown = {edge.name: (edge.into, edge.out) for edge in row.edges}
        said = graph.record.outputs[0].text
        assert shown[said][1] == pytest.approx(row.effect)
    other = {node[place] for place in second}
    between = sum(w for (s, t), w in weights.items() if s in {node[p] for p in first} and t in other)
    back = sum(w for (s, t), w in weights.items() if t in {node[p] for p in first} and s in other)
    edge = next((e for e in view.groups[0].edges if e.name == "second"), None)
    assert edge is not None
    assert [edge.into or 0, edge.out or 0] == pytest.approx([back, between], abs=1e-6)
    for wrong in (
        {"pinned": ["h.9:1@0"]},
        {"groups": {"a": ["x@1"]}},
        {"groups": {"a": first, "b": first[:1]}},
        {"groups": {"a": ["x"] * 65}},
    ):
        assert own.ask("/api/graph", {"id": id_, **wrong})[0] == 400


@needed
def test_nodes_are_pinned_and_grouped_in_a_browser(own: Served, tmp_path):
    id_ = _id(own, "checked")
    with chromium() as browser:
        for page in watched(browser, own):
            page.goto(own.address.split("/?")[0] + f"/#/graphs?graph={id_}&n=5")
            pins = page.get_by_role("button", name=re.compile("^pin "))
            expect(pins.first).to_be_visible(timeout=60_000)
            for _ in range(2):
                pins.first.click()
            expect(page.locator("table.pinned tbody tr")).to_have_count(2)
            places = page.locator("table.pinned code").all_inner_texts()[::2]
            page.get_by_label("take them together as").fill("both~;, of them")
            page.keyboard.press("Enter")
            row = page.locator("table.groups tbody tr")
            expect(row).to_have_count(1)
            expect(row.locator("th")).to_have_text("both    of them")
            asked = {"id": id_, "groups": {"x": places}}
            (there,) = own.json("/api/graph", asked)["groups"]
            shown = row.locator("td").all_inner_texts()
            assert shown[:1] + shown[2:4] == [
                "2",
                *(formatted(there[key], "+.3f") for key in ("effect", "within")),
            ]
            expect(page).to_have_url(re.compile("both"))  # written a moment later
            page.reload()  # the address holds them
            expect(row).to_have_count(1, timeout=60_000)
            page.get_by_text("its nodes and strongest edges").click()
            page.screenshot(path=tmp_path / "groups.png", full_page=True)
            page.get_by_role("button", name="drop all").click()
            expect(page.locator("ul.linked li")).to_have_count(2)
            page.get_by_role("button", name="ungroup").click()
            expect(page.locator("table.pinned tbody tr")).to_have_count(2)


@needed
def test_nodes_are_dropped_in_a_browser(own: Served, tmp_path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, said = browser.new_page(), []
        page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: said.append(str(e)))
        page.goto(own.address)
        page.get_by_role("link", name="Graphs").click()
        expect(page.get_by_role("row", name="unchecked")).to_contain_text("not verified", timeout=60_000)
        expect(page.get_by_text("reading its files through")).to_have_count(0, timeout=60_000)
        expect(page.get_by_role("button", name="show altered")).to_be_disabled()
        page.get_by_role("button", name="show checked", exact=True).click()
        expect(page.get_by_text("verified", exact=True)).to_be_visible(timeout=60_000)
        page.get_by_role("button", name="drop").first.click()
        expect(page).to_have_url(re.compile("x="))
        page.get_by_role("button", name="measure what happens").click()
        expect(page.locator("td.happened").first).to_be_visible(timeout=60_000)
        place = page.locator("ul.linked code").inner_text()
        there = own.json("/api/intervene", {"id": _id(own, "checked"), "changes": {place: 0}})
        shown = page.locator("td.happened").all_inner_texts()
        assert shown == [signed(o["happened"]) for o in there["outcomes"]]
        page.get_by_role("button", name=f"keep {place} alone").click()  # another question: the drop is left
        expect(page.locator("ul.linked li")).to_have_text(re.compile("kept alone"))
        page.get_by_role("button", name="measure what happens").click()
        expect(page.locator("table.kept tbody tr").first).to_be_visible(timeout=60_000)
        alone = own.json("/api/intervene", {"id": _id(own, "checked"), "keep": [place]})["kept"]
        shown = page.locator("table.kept tbody tr td:nth-child(5)").all_inner_texts()
        exact = [i for i, row in enumerate(alone) if row["kl_sd"] is None]
        assert exact
        assert [shown[i] for i in exact] == [f"{alone[i]['kl']:.3f}" for i in exact]
        page.get_by_text("drawn").click()
        expect(page.frame_locator("iframe").get_by_role("heading", level=1)).to_contain_text("the cat")
        _looked_at(page, tmp_path)
        browser.close()
    assert not [line for line in said if "status of 4" not in line]


def _looked_at(page: Page, folder: Path) -> None:
    for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=folder / f"graphs-{width}-{scheme}.png", full_page=True)
