"""Every verb all ways: what a route answers is what the session and the command line answer, number by number."""

from __future__ import annotations

import json

import pytest
from tests.studio.serving import Served, studio
from tests.tiny import rankone

from rankone import open as open_session
from rankone.studio.offered import offered, why_not
from rankone.verbs.table import VERBS

PART = "h.3.mlp.down_proj:270"
# Of each verb its request, and the same as words of the command line.
ASKED: dict[str, tuple[dict, list[str]]] = {
    "edit": (
        {"scales": {PART: -8}, "tokens": 100, "split": "validation"},
        [f"{PART}=-8", "--tokens", "100", "--split", "validation"],
    ),
    "generate": ({"prompt": "Der Ausschuss hat", "tokens": 8}, ["Der Ausschuss hat", "--tokens", "8"]),
    "measure": (
        {"tokens": 100, "split": "validation"},
        ["mini", "--tokens", "100", "--split", "validation"],
    ),
    "rank": ({"of": ["de"], "tokens": 100, "top": 3}, ["--of", "de", "--tokens", "100", "--top", "3"]),
    "sites": ({}, ["mini"]),
}
PLACED = {"edit": "scales", "generate": "prompt", "search": "query"}
# What the machine is and how long it took is part of this reply, and differs from process to process.
COMPARED = {"measure": ("ce", "error", "chance", "tokens")}


def test_every_verb_that_is_offered_is_compared():
    assert set(offered()) == {*ASKED, "search"}


@pytest.mark.parametrize("name", ASKED)
def test_a_verb_answers_the_same_by_route_by_session_and_by_command(served: Served, name):
    asked, words = ASKED[name]
    _agree(name, served.json(f"/api/verbs/{name}", asked)["reply"], open_session("mini"), asked, words)


def test_search_answers_the_same_where_a_harvest_is_open(pair, harvest, tmp_path):
    model, decomposition, harvest = map(str, (*pair, harvest))
    labels = str(tmp_path / "labels")
    assert rankone("label", harvest, "--out", labels).code == 0
    kept = ["--harvest", harvest, "--labels", labels]
    asked = {"query": "German", "top": 5}
    session = open_session(model, decomposition=decomposition, harvest=harvest, labels=labels)
    with studio(tmp_path, "--model", model, "--decomposition", decomposition, *kept) as own:
        there = own.json("/api/verbs/search", asked)["reply"]
        assert there["hits"]
        _agree("search", there, session, asked, ["German", "--top", "5", *kept])


def test_without_a_harvest_search_is_refused_all_ways(served: Served):
    status, _, said = served.ask("/api/verbs/search", {"query": "german"})
    assert (status, "harvest" in json.loads(said)["error"]) == (400, True)


def _agree(name: str, there: dict, session, asked: dict, words: list[str]) -> None:
    given, first = dict(asked), PLACED.get(name)
    method = getattr(session, name)
    here = method(given.pop(first), **given) if first else method(**given)
    ours = json.loads(here.model_dump_json())
    typed = rankone(name, *words, "--json")
    assert typed.code == 0, typed.err
    for other in (there, json.loads(typed.out)):
        for key in COMPARED.get(name, ours):
            assert _same(other[key], ours[key]), (key, other[key], ours[key])


def _same(one: object, other: object) -> bool:
    """Whether two JSON values are the same, numbers up to rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == pytest.approx(other, abs=1e-5) if isinstance(one, float) else one == other


def test_what_differs_by_more_than_rounding_is_told():
    assert _same({"a": [1.0, "x", None]}, {"a": [1.000001, "x", None]})
    assert not _same({"a": [1.0]}, {"a": [1.001]})
    assert not _same([1.0], [1.0, 2.0])


def test_a_verb_that_is_not_offered_is_listed_with_the_reason():
    refused = {name: why_not(verb) for name, verb in VERBS.items() if name not in offered()}
    assert set(refused.values()) == {"takes minutes", "works on a place on disk"}
    assert {name for name, why in refused.items() if why == "works on a place on disk"} == {
        "graph-export",
        "graph-intervene",  # by a graph's id: POST /api/intervene, compared in test_graphs.py
    }
    assert refused["decompose"] == "takes minutes"
    assert {verb.cost for verb in VERBS.values()} == {"seconds", "minutes"}  # every verb has a cost class
