"""The server is held to the table of its routes: there is none beside it, and what each answers is what the table says."""

from __future__ import annotations

import gzip
import json
import re

import pytest
from starlette.routing import Route
from tests.studio.serving import Served

from rankone.core.errors import RankOneError
from rankone.opening import OpenOptions
from rankone.studio.app import Routes, Studio
from rankone.studio.types.routes import GETS, POSTS, STREAMS

PART = "h.3.mlp.down_proj:270"
# In the order in which they are asked; graphs and long texts have tests of their own (test_graphs.py, test_part_page.py).
BODIES: dict[str, object] = {
    "/api/edits": {"scales": {PART: 2}, "after": 0},
    "/api/labels": {"name": PART, "label": "x", "after": 0},
    "/api/named": {"names": [PART, "nope:1"]},
    "/api/part": {"name": PART},
    "/api/importance": {"text": "Der Ausschuss hat", "at": 1, "parts": [PART]},
    "/api/prompt": {"text": "Der Ausschuss"},
    "/api/rows": {"q": "german", "sort": "margin"},
    "/api/undo": {"after": 1},
    "/api/redo": {"after": 2},
    "/api/exports": {"entry": 1, "as": "edit"},
    "/api/generate": {"prompt": "Der", "scales": {PART: 0}, "tokens": 3},
    "/api/preview": {"scales": {PART: 0}},
    "/api/response": {"name": PART},
}


def test_every_route_is_asked():
    assert {*POSTS, *STREAMS} - {*BODIES} == {"/api/graph", "/api/intervene", "/api/text"}


def test_every_route_is_in_the_table(tmp_path):
    studio = Studio(OpenOptions(), tmp_path)
    routes = Routes(studio)
    keeping = studio.keeping()
    served = {
        (method, re.sub(r"\{\w+\}", "{}", route.path))
        for route in (*routes.reads(), *routes.works(), *keeping.routes())
        for method in _methods(route)
    }
    told = {("GET", path) for path in GETS} | {("POST", path) for path in (*POSTS, *STREAMS)}
    assert served - told == {("POST", "/api/verbs/{}")}  # what a verb answers is in GET /api/verbs
    assert told <= served


def _methods(route: Route) -> set[str]:
    return (route.methods or set()) - {"HEAD"}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A studio whose workspace has a run, and a journal that only these tests write to."""
    from tests.studio.serving import studio

    folder = tmp_path_factory.mktemp("routes")
    (folder / "run").mkdir()
    (folder / "run" / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
    with studio(folder) as running:
        yield running


@pytest.mark.parametrize("path", [path for path in BODIES if path in POSTS])
def test_what_is_posted_to_answers_what_the_table_says(own: Served, path):
    POSTS[path].body.model_validate(BODIES[path])
    (model,) = POSTS[path].answers
    assert _fits(model, own.json(path, BODIES[path]))


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_tells_what_the_table_says(own: Served, path):
    events = own.events(path, BODIES[path])
    partial = [data for event, data in events if event == "partial"]
    assert partial
    for data in partial:
        assert sum(_fits(model, data) for model in STREAMS[path].answers) == 1, data


@pytest.mark.parametrize("path", GETS)
def test_what_is_read_is_what_the_table_says(own: Served, path):
    run = own.json("/api/runs")["runs"][0]["id"]
    status, headers, body = own.ask(path.replace("{}", run))
    assert status == 200
    plain = json.loads(gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)
    assert _fits(GETS[path], plain)


def _fits(model, data: object) -> bool:
    """Whether it is one, with all its fields: what is sent leaves out none."""
    try:
        made = model.model_validate(data)
    except (ValueError, RankOneError):
        return False
    return made.model_dump(mode="json").keys() == data.keys()
