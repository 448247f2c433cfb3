"""Graphs from the command line: made, verified, intervened in, exported; two words for one command; bad input."""

from __future__ import annotations

import json
import re
import shlex
from copy import deepcopy

import pytest
import torch
from tests.cli.commands import listing, shown
from tests.tiny import rankone

import rankone as ro
from rankone.circuits import build
from rankone.decomposition.model import load_decomposition, save_decomposition
from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting.combine import combine
from rankone.harvest.run import harvest
from rankone.models.loading import load_model
from rankone.workspace import Workspace


@pytest.fixture(scope="module")
def graph(pair, tmp_path_factory):
    """A graph of the tiny model, with what was printed."""
    path = tmp_path_factory.mktemp("graphs") / "g"
    model, decomposition = pair
    words = ["--decomposition", decomposition, "--nodes", "strongest", "--per-site", 2]
    made = rankone("graph", model, "the cat", *words, "--removed", 4, "--random-graphs", 2, "--out", path)
    return path, made


def plain(said):
    """Without line ends and columns."""
    return " ".join(said.split())


def test_a_graph_is_made_and_says_how_far_to_trust_it(graph):
    path, made = graph
    said = plain(shown(made))
    for words in (
        "What leads from “the cat”",
        "What is in the graph",
        "With its nodes alone, and without them",
        "taken out, all else in place",
        "with the weaker half of the parts counted as rest",
        "Exact where it should be",
    ):
        assert words in said
    assert sorted(p.name for p in path.iterdir()) == [
        "edges.parquet",
        "graph.json",
        "manifest.json",
        "nodes.parquet",
        "verification.json",
    ]


def test_two_words_are_one_command(graph, pair):
    model, decomposition = pair
    opened = ["--model", model, "--decomposition", decomposition]
    said = plain(shown(rankone("graph", "verify", graph[0], *opened, "--removed", 4)))
    assert "edges backwards in time or depth" in said
    account = json.loads((graph[0] / "verification.json").read_text("utf8"))
    dropped, fewer = account["dropped_all"], account["scores_fewer"]
    # What is measured without a bar is shown too.
    assert re.search(rf"taken out, all else in place +{dropped['nodes']} .* {dropped['kl']:.3f} ", said)
    assert f"({fewer['replacement']:.2f} and {fewer['completeness']:.2f} with the weaker half" in said
    done = rankone("graph-intervene", graph[0], *opened, "--keep", "all", "--json")
    kept = json.loads(done.out)
    assert {row["masks"] for row in kept["kept"]} >= {"binary", "adversarial"}
    assert kept["target"] == json.loads((graph[0] / "graph.json").read_text("utf8"))["outputs"][0]["text"]


def test_a_change_beside_what_was_predicted(graph, pair):
    model, decomposition = pair
    reply = json.loads(
        rankone("graph", "export", graph[0], "--page", graph[0].parent / "look.html", "--json").out
    )
    assert reply["shown"] <= reply["nodes"]
    record = json.loads((graph[0] / "graph.json").read_text("utf8"))
    assert record["prompt"] == "the cat"
    part = "h.0.mlp.down_proj"
    given = ["--model", model, "--decomposition", decomposition]
    opened = [*given, "--continue", 3]
    refused = rankone("graph", "intervene", graph[0], "--drop", f"{part}:9999", *opened)
    assert "Its strongest are" in refused.err
    strongest = refused.err.rpartition("Its strongest are ")[2].split(",")[0].rstrip(".\n")
    part = strongest.partition("@")[0]
    said = shown(rankone("graph", "intervene", graph[0], "--scale", f"{part}@all=-3", *opened))
    assert "Predicted beside happened" in said
    (typed,) = re.findall(r"as an edit: rankone (.*)", plain(said))
    words = shlex.split(typed.partition(" of ")[0])
    assert words[:4] == ["edit", f"{part}=-3", "--out", "DIR"]
    assert words[4:8] == [str(word) for word in given]


def test_exports_are_written_whole_and_over_nothing(graph, tmp_path):
    written = [
        "--viewer",
        tmp_path / "v",
        "--neuronpedia",
        tmp_path / "n.json",
        "--page",
        tmp_path / "p.html",
    ]
    said = shown(rankone("graph", "export", graph[0], *written, "--scan", "tiny"))
    assert "circuit-tracer start-server --graph_file_dir" in said
    assert "Exact where it should be" in said
    before = listing(tmp_path)
    again = rankone("graph", "export", graph[0], *written)
    assert "already exists" in again.err
    assert listing(tmp_path) == before
    new = ["--page", tmp_path / "new.html", "--neuronpedia", tmp_path / "new.json", "--scan", "my model"]
    assert "cannot be the id of a model" in rankone("graph", "export", graph[0], *new).err
    assert listing(tmp_path) == before


def test_a_graph_is_pruned_to_shares_of_influence(graph, refused, tmp_path):
    asked = ["graph", "export", graph[0], "--page", tmp_path / "p.html"]
    refused("--nodes counts, --node-threshold", *asked, "--nodes", 3, "--node-threshold", 0.5)
    all_of_it = json.loads(rankone(*asked, "--node-threshold", 1, "--edge-threshold", 1, "--json").out)
    (tmp_path / "p.html").unlink()
    said = json.loads(rankone(*asked, "--node-threshold", 0.6, "--json").out)
    assert said["shown"] < all_of_it["shown"]
    assert sum(row["nodes"] for row in said["hidden"]) == said["nodes"] - said["shown"]
    assert 0 < sum(row["influence"] for row in said["hidden"]) < 1
    page = (tmp_path / "p.html").read_text("utf8")
    assert "Pruned to 0.6 of the influence of nodes and 0.98 of that of edges" in page
    assert "Hidden nodes, with their share of all influence" in page


def test_a_graph_of_another_model_or_altered_by_hand_is_refused(graph, pair, refused, tmp_path):
    import shutil

    model, decomposition = pair
    refused("other weights|lacks", "graph", "verify", graph[0])
    copy = tmp_path / "altered"
    shutil.copytree(graph[0], copy)
    file = copy / "graph.json"
    file.write_text(file.read_text("utf8").replace("the cat", "the dog"), "utf8")
    refused("altered", "graph", "verify", copy, "--model", model, "--decomposition", decomposition)
    refused("altered", "graph", "export", copy, "--page", tmp_path / "p.html")


def test_what_cannot_be_a_graph_is_refused(pair, refused):
    model, decomposition = pair
    opened = ["--decomposition", decomposition]
    refused("the model reads 64. Shorten it", "graph", model, "cat " * 100, *opened)
    refused("not a token of this model.*Nearest", "graph", model, "the cat", *opened, "--target", " thex")
    refused("no parts of origin 'contrast-de' are open", "graph", model, "the cat", "--source", "contrast-de")
    refused("neuron parts have no causal importance", "graph", model, "the cat", "--source", "neuron")
    refused("other weights|lacks", "graph", model, "the cat", "--decomposition", "mini-decomposition")


@pytest.fixture(scope="module")
def counted(pair, tokenizer, corpus, tmp_path_factory):
    """A harvest of the model's decomposition with labels, and one of a decomposition of other parts with the same names."""
    folder, target = tmp_path_factory.mktemp("counted"), load_model(pair[0])
    config = HarvestConfig(domains=("de", "en"), tokens=60, context=24, examples=4, window=3)
    loaded, _ = load_decomposition(pair[1], target)
    for name, parts in (("same", loaded), ("other", turned(loaded))):
        save_decomposition(parts, target, folder / name / "parts", {}, None, "float32")
        harvest(Workspace(target, tokenizer, corpus, parts), config, folder / name / "run")
        combine([folder / name / "run"], folder / name / "harvest")
        rankone("label", folder / name / "harvest", "--out", folder / name / "labels")
        asked = ["--model", pair[0], "--domains", "de,en", "--tokens", 300, "--rank-penalty", 2]
        rankone("cluster", folder / name / "parts", *asked, "--out", folder / name / "clusters")
    return folder


def turned(decomposition):
    """The same sites and numbers, V and U with their signs turned: the model's weights are their sum as before."""
    other = deepcopy(decomposition)
    with torch.no_grad():
        for site in other.sites:
            for factor in other.factors(site):
                factor.neg_()
    return other


def test_labels_and_harvests_of_another_decomposition_are_refused(graph, pair, counted, refused, tmp_path):
    page = ["--page", tmp_path / "p.html"]
    for given in ("harvest", "labels"):
        said = f"{given}' was made from another decomposition .*than '{graph[0]}'.*leave it out"
        refused(said, "graph", "export", graph[0], *page, f"--{given}", counted / "other" / given)
    drawn = ["graph", pair[0], "the cat", "--decomposition", pair[1], "--unverified"]
    others = [word for given in ("labels", "harvest") for word in (f"--{given}", counted / "other" / given)]
    for given in (others[:2], others):
        refused("made from another decomposition", *drawn, *given)
    assert json.loads((graph[0] / "graph.json").read_text("utf8"))["decomposition"] is not None
    same = [word for given in ("harvest", "labels") for word in (f"--{given}", counted / "same" / given)]
    said = json.loads(rankone("graph", "export", graph[0], *page, *same, "--json").out)
    assert said["not_compared"] == []
    viewer = ["graph", "export", graph[0], "--viewer", tmp_path / "v"]
    refused(
        "clusters' was made from another decomposition", *viewer, "--clusters", counted / "other" / "clusters"
    )
    said = json.loads(rankone(*viewer, *same, "--clusters", counted / "same" / "clusters", "--json").out)
    assert said["not_compared"] == []
    (file,) = (tmp_path / "v").glob("the-cat-*.json")
    assert len(json.loads(file.read_text("utf8"))["qParams"]["supernodes"]) == said["supernodes"] > 0


def test_what_a_session_holds_open_may_be_unused(graph, pair, counted, tmp_path):
    """A command is refused where it names what it makes no use of (tests/cli/test_mistakes.py); a session opens for many."""
    opened = [
        ro.open(pair[0], decomposition=pair[1], **{given: counted / "same" / given})
        for given in ("clusters", "harvest")
    ]
    assert opened[0].graph_export(graph[0], page=tmp_path / "p.html").supernodes is None
    for session in opened:
        assert session.edit({"h.0.attn.q_proj:1": 1}, tokens=20).parts == {"h.0.attn.q_proj:1": 1}
    assert opened[1].rank(of="de", by="gradient", tokens=20, top=1).rows


def test_a_model_is_hashed_once_for_a_graph_its_paraphrase_and_labels(pair, counted, monkeypatch):
    hashed, model_hash = [], build.model_hash
    monkeypatch.setattr(build, "model_hash", lambda *given: hashed.append(given) or model_hash(*given))
    drawn = ["graph", pair[0], "the cat", "--decomposition", pair[1], "--nodes", "strongest", "--per-site", 1]
    asked = ["--removed", 2, "--random-graphs", 0, "--paraphrase", "the dog"]
    shown(rankone(*drawn, *asked, "--labels", counted / "same" / "labels"))
    assert len(hashed) == 1


def test_a_prompt_of_one_token_has_a_page_and_no_viewer(pair, refused, tmp_path):
    words = ["--decomposition", pair[1], "--nodes", "strongest", "--per-site", 1, "--random-graphs", 0]
    shown(rankone("graph", pair[0], "e", *words, "--removed", 2, "--out", tmp_path / "g"))
    refused(
        "prompt of one token, of which circuit-tracer's viewer",
        "graph",
        "export",
        tmp_path / "g",
        "--viewer",
        tmp_path / "v",
    )
    page = shown(rankone("graph", "export", tmp_path / "g", "--page", tmp_path / "p.html"))
    assert "Written" in page


def test_pairs_at_every_distance_that_was_asked_for(pair, refused):
    model, decomposition = pair
    asked = ["qk", model, 0, "--decomposition", decomposition, "--domains", "de", "--tokens", 60]
    said = json.loads(rankone(*asked, "--distances", 40, "--top", 10**6, "--json").out)
    assert {row["where"] for row in said["rows"]} == set(range(40))
    refused("positions: give --distances 64 or less", *asked, "--distances", 65)
    refused("one token long", "qk", model, 0, "--decomposition", decomposition, "--prompt", " the")


def test_of_too_few_nodes_no_correlation_is_told(pair):
    model, decomposition = pair
    words = ["--decomposition", decomposition, "--nodes", "strongest", "--per-site", 1, "--random-graphs", 0]
    said = shown(rankone("graph", model, "the cat", *words, "--removed", 2))
    assert "too few nodes (2) were taken out" in said
    assert "go together" not in said
