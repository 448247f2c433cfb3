"""A graph in circuit-tracer's own viewer, in Chromium: its own server, its own page, and the panel of a part."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import Route, expect, sync_playwright
from tests.browser import CHROMIUM, needed
from tests.circuits.circuit_tracer import circuit_tracer
from tests.circuits.exchange.test_supernodes import by_layer

from rankone.circuits.exchange.features import feature_file
from rankone.circuits.exchange.shown import shown
from rankone.circuits.exchange.supernodes import Grouping
from rankone.circuits.exchange.viewer import write_viewer
from rankone.circuits.graph import relabelled
from rankone.harvest.reading.page import Example

# What the page takes from elsewhere on the net: d3 with jetpack, dagre and pako, by npm. Its live reload and its reader of
# NumPy's files are not asked for.
PACKAGES = {
    "d3@7.9.0": "dist/d3.min.js",
    "d3-collection@1.0.7": "dist/d3-collection.min.js",
    "d3-jetpack@2.0.20": "build/d3-jetpack.js",
    "dagre@0.8.5": "dist/dagre.min.js",
    "pako@2.1.0": "dist/pako.min.js",
}
# By the last part of the address that the page asks.
SCRIPTS = {
    "d3.js": ("d3@7.9.0", "d3-collection@1.0.7"),
    "jetpack_2024-07-20.js": ("d3-jetpack@2.0.20",),
    "dagre.min.js": ("dagre@0.8.5",),
    "pako.min.js": ("pako@2.1.0",),
}
# The page's jetpack hangs the drawing of axes on what `conventions` gives.
SHIM = (
    b";(()=>{const plain=d3.conventions;"
    b"d3.conventions=c=>{const made=plain(c);made.drawAxis??=()=>d3.drawAxis(made);return made}})()"
)


class Harvest:
    """What the panel of a part needs of a harvest: one example of every part."""

    def __init__(self, names):
        self.listed = list(names)

    def names(self):
        return self.listed

    def page(self, part, *_):
        example = Example("en", [" the", " cat", " sat"], [1, 2, 3], [0.0, 0.9, 0.1], [0.0, -2.0, 0.1], 1)
        return SimpleNamespace(part=part, examples=[example], output_tokens=[], firings=3, tokens=60)


def libraries(folder: Path) -> dict[str, bytes]:
    """The last part of an address → a script; the test is skipped where npm has none."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not here to bring what the viewer's page takes from the net")
    words = [npm, "pack", "--silent", *PACKAGES]
    brought = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if brought.returncode:
        pytest.skip(f"npm has no {', '.join(PACKAGES)}: {brought.stderr.strip()[-200:]}")
    scripts = {}
    for last, packages in SCRIPTS.items():
        scripts[last] = b"\n".join(_script(folder, package) for package in packages)
    return scripts


def _script(folder: Path, package: str) -> bytes:
    name = package.replace("@", "-")
    shutil.unpack_archive(folder / f"{name}.tgz", folder / name, filter="data")
    script = (folder / name / "package" / PACKAGES[package]).read_bytes()
    if package.startswith("d3-jetpack"):
        return script + SHIM
    return script


def test_what_nobody_measured_is_not_said():
    """Of empty quantiles the viewer says "0pct", of a frequency of 0 that the part never fires."""
    bare = feature_file("h.0.mlp.c_fc:1", 7, None)
    assert not {"quantile_values", "histogram", "activation_frequency"} & bare.keys()
    full = feature_file("h.0.mlp.c_fc:1", 7, Harvest(["h.0.mlp.c_fc:1"]))  # pyright: ignore[reportArgumentType]
    assert full["activation_frequency"] == 0.05


@needed
@pytest.mark.slow
def test_circuit_tracer_shows_a_graph(case, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(circuit_tracer(tmp_path))
    scripts = libraries(tmp_path)
    from circuit_tracer.frontend import graph_models, local_server  # pyright: ignore[reportMissingImports]

    graph = case.made.graph
    seen = shown(relabelled(graph, {graph.part(i): "a label" for i in graph.chosen}), "frozen", 12, 100)
    folder = tmp_path / "viewer"
    folder.mkdir()
    names = {graph.part(i) for i in graph.chosen}
    grouping = Grouping(by_layer(graph))
    address = write_viewer(seen, folder, Harvest(names), grouping)  # pyright: ignore[reportArgumentType]
    document = json.loads(next(folder.glob("the-cat*.json")).read_text("utf8"))
    graph_models.Model.model_validate(document)
    server = local_server.serve(str(folder), port=0)
    errors: list[str] = []
    missed: list[str] = []

    def elsewhere(route: Route) -> None:
        last = route.request.url.split("?")[0].rsplit("/", 1)[-1]
        route.fulfill(body=scripts.get(last, b""), content_type="text/javascript")

    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            tab = browser.new_page(viewport={"width": 1600, "height": 1100})
            tab.on("pageerror", lambda error: errors.append(str(error)))
            tab.on("response", lambda got: missed.append(got.url) if got.status >= 400 else None)
            tab.route(lambda url: "127.0.0.1" not in url, elsewhere)
            tab.goto(f"http://127.0.0.1:{server.httpd.server_address[1]}{address}")
            expect(tab.locator("svg text.node")).to_have_count(len(document["nodes"]))
            clicked = next(n for n in document["nodes"] if n["node_id"] == document["qParams"]["clickedId"])
            panel = tab.locator(".feature-detail")
            expect(panel).to_contain_text(clicked["clerp"])
            expect(panel).to_contain_text("Freq: 5.000%")
            expect(panel).not_to_contain_text("pct")
            expect(panel.locator(".feature-example-list span.token").first).to_be_visible()
            expect(panel).to_contain_text("cat")
            edges = [
                link for link in document["links"] if clicked["node_id"] in (link["source"], link["target"])
            ]
            expect(tab.locator(".node-connections .feature-row")).not_to_have_count(0)
            assert edges
            state = document["qParams"]
            grouped = {i for group in state["supernodes"] for i in group[1:]}
            alone = [i for i in state["pinnedIds"] if i not in grouped]
            assert state["supernodes"]
            drawn = tab.locator(".subgraph .supernode-container")
            expect(drawn).to_have_count(len(alone) + len(state["supernodes"]))
            expect(tab.locator(".subgraph")).to_contain_text(state["supernodes"][0][0])
            tab.screenshot(path=tmp_path / "viewer.png")
            browser.close()
    finally:
        server.stop()
    assert not errors
    assert not [url for url in missed if "favicon" not in url]
