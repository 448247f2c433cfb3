"""The routes: what they answer, what they refuse, and that moves of a dial supersede each other."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
import time

import pytest
from tests.studio.serving import Served, studio

from rankone import open as open_session
from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.decomposition.evidence.records import evidence_of
from rankone.edits.lowrank import LowRankEdit
from rankone.opening import Opening
from rankone.studio.offered import offered
from rankone.verbs.part_names import require_parts
from rankone.verbs.table import VERBS

PART = "h.3.mlp.down_proj:270"


def test_the_list_is_the_decomposition_and_is_not_sent_twice(served: Served):
    status, headers, packed = served.ask("/api/columns")
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert len(packed) <= 2_000_000
    held = json.loads(gzip.decompress(packed))
    names = [f"{held['sites'][s]}:{n}" for s, n in zip(held["site"], held["number"], strict=True)]
    assert names == open_session("mini").decomposition.names()
    assert {len(held[c]) for c in ("label", "density", "importance", "confidence")} == {len(names)}
    assert len(held["by_domain"]) == len(held["domains"]) == len(held["source"]["tokens"])
    assert held["label"][names.index(PART)].startswith("German")
    assert served.ask("/api/columns", headers={"if-none-match": headers["etag"]})[0] == 304


def test_a_preview_streams_a_first_look_and_then_all(served: Served):
    events = served.events("/api/preview", {"scales": {PART: -8}, "client": "a"})
    assert (events[0][0], events[-1][0]) == ("started", "done")
    rows = [data["row"] for event, data in events if event == "partial" and "row" in data]
    assert [data for event, data in events if event == "looks"] == [
        served.json("/api/workspace")["looks"]["total"]
    ]
    assert [row["tokens"] for row in rows] == [128] * 8 + [800] * 8
    shown = {row["damage"]["domain"]: row["damage"] for row in rows[8:]}
    assert shown["de"]["rise"] > 1.5
    assert abs(shown["en"]["rise"]) < 0.02


@pytest.mark.parametrize("alpha", [1e9, -1001, "NaN", None, "x"])
def test_a_scale_out_of_range_is_refused(served: Served, alpha):
    status, _, said = served.ask("/api/preview", {"scales": {PART: alpha}})
    assert status == 400
    assert "scales" in json.loads(said)["error"]


def test_nan_is_no_json(served: Served):
    assert served.ask("/api/preview", b'{"scales": {"h.3.mlp.down_proj:270": NaN}}')[0] == 400


def test_an_unknown_part_fails_by_name_and_the_studio_goes_on(served: Served):
    events = served.events("/api/preview", {"scales": {"h.3.mlp.down_proj:99999": 0}})
    assert events[-1][0] == "failed"
    assert "99999" in events[-1][1]
    assert served.json("/api/part", {"name": PART})["name"] == PART


def test_of_fifty_moves_the_last_one_counts(served: Served):
    ended: dict[int, list] = {}

    def move(i: int) -> None:
        ended[i] = served.events("/api/preview", {"scales": {PART: -i / 10}, "client": "mover", "seq": i})

    threads = [threading.Thread(target=move, args=(i,)) for i in range(1, 51)]
    for thread in threads:
        thread.start()
        time.sleep(0.04)
    for thread in threads:
        thread.join(60)
    last = [events[-1][0] for _, events in sorted(ended.items())]
    assert last[-1] == "done"
    assert last.count("superseded") >= 40
    assert served.json("/api/workspace")["worker"]["alive"] == 0


def test_generation_says_both_sides(served: Served):
    events = served.events(
        "/api/generate", {"prompt": "Der Ausschuss hat", "scales": {PART: -8}, "tokens": 12}
    )
    sides = {data["side"]: data["text"] for event, data in events if event == "partial"}
    assert set(sides) == {"before", "after"}
    assert sides["before"] == open_session("mini").generate("Der Ausschuss hat", tokens=12).text
    assert sides["before"] != sides["after"]


def test_a_text_is_looked_into(served: Served):
    view = served.json("/api/prompt", {"text": "Der Ausschuss hat", "top": 20})
    assert len(view["sites"]) == len(view["tokens"][0]["sums"])
    for token in view["tokens"]:
        assert len(token["top"]) <= 20
        assert all(0.01 < part["importance"] <= 1 for part in token["top"])
    named = [part["part"] for token in view["tokens"] for part in token["top"]]
    assert "h.0.attn.o_proj:55" not in named  # importance 1 here, and at almost every token of any text
    spelled = [token["text"] for token in served.json("/api/prompt", {"text": "ж", "top": 1})["tokens"]]
    assert spelled[-2:] == ["<0xD0>", "<0xB6>"]
    status, _, said = served.ask("/api/prompt", {"text": "das Haus " * 1800})
    assert (status, "tokens" in json.loads(said)["error"]) == (400, True)


def test_parts_are_looked_up_at_a_token_by_name(served: Served):
    text = "Der Ausschuss hat"
    view = served.json("/api/prompt", {"text": text, "top": 20, "threshold": 0})
    names = [[one["part"] for one in token["top"]] for token in view["tokens"]]
    for at, token in enumerate(view["tokens"]):
        others = [name for name in names[at - 1] if name not in names[at]]
        said = served.json("/api/importance", {"text": text, "at": at, "parts": [*names[at], *others]})
        told = [one["importance"] for one in token["top"]]
        assert said["values"][: len(told)] == pytest.approx(told, abs=1e-6)
        assert len(said["values"]) == len(told) + len(others)
        assert all(0 <= value <= 1 for value in said["values"])
    for wrong in ({"at": len(names)}, {"parts": ["h.9:1"]}, {"parts": [PART] * 65}, {"at": -1}):
        assert served.ask("/api/importance", {"text": text, "at": 0, "parts": [PART], **wrong})[0] == 400


def test_verbs_that_take_minutes_or_name_places_are_refused(served: Served):
    said = served.json("/api/verbs")
    listed = {verb["name"]: verb for verb in said["verbs"]}
    assert {*listed, *said["not_offered"]} == set(VERBS)
    assert set(listed) == set(offered())
    assert "out" not in listed["edit"]["request"]["properties"]
    for name, body in (
        ("edit", {"scales": {PART: 0}, "out": "/tmp/x"}),
        ("decompose", {}),
        ("export", {}),
        ("nonsense", {}),
    ):
        assert served.ask(f"/api/verbs/{name}", body)[0] == 400


def test_a_worker_that_is_killed_is_started_again(tmp_path):
    with studio(tmp_path) as own:
        own.json("/api/warm")
        for line in os.popen(f"pgrep -P {own.process.pid}").read().split():
            os.kill(int(line), signal.SIGKILL)
        deadline = time.monotonic() + 60
        while own.ask("/api/part", {"name": PART})[0] != 200:
            assert time.monotonic() < deadline
        assert own.json("/api/workspace")["worker"]["restarts"] == 1


def test_kept_exported_and_reloaded(tmp_path):
    with studio(tmp_path) as own:
        state = own.json("/api/edits", {"scales": {PART: -8}, "name": "less German", "after": 0})
        assert state["current"] == 1
        assert own.ask("/api/edits", {"scales": {PART: 0}, "name": "", "after": 0})[0] == 409
        own.json("/api/exports", {"entry": 1, "as": "edit"})
        deadline = time.monotonic() + 60
        while (job := own.json("/api/exports")["jobs"][0])["state"] == "running":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert job["state"] == "done", job
        assert own.ask("/api/exports", {"entry": 1, "as": "edit"})[0] == 400  # written before
        assert own.ask("/api/exports", {"entry": 7, "as": "edit"})[0] == 400
        shelved = {entry["name"]: entry for entry in own.json("/api/workspace")["artefacts"]}
    assert shelved["studio/exports/edit-1-edit"]["kind"] == "edit"
    session = open_session("mini")
    edit = LowRankEdit.from_pretrained(tmp_path / "studio" / "exports" / "edit-1-edit")
    measured = open_artifact(tmp_path / "studio" / "exports" / "edit-1-edit").provenance["measured"]
    assert {"domain", "base", "edited", "rise"} <= set(measured[0])
    edit.check_base(session.model)
    by_hand = session.edit({PART: -8}, tokens=200).domains
    assert [d.rise for d in session.damage(edit, tokens=200).domains] == pytest.approx(
        [d.rise for d in by_hand], abs=1e-5
    )


def test_a_second_studio_on_the_same_workspace_is_refused(served: Served):
    with pytest.raises(AssertionError), studio(served.folder):
        pass


def test_looks_at_validation_text_by_verbs_are_counted(served: Served):
    def looks() -> int:
        return served.json("/api/workspace")["looks"]["by"].get("edit", 0)

    before, asked = looks(), {"scales": {PART: 0}, "tokens": 100}
    served.json("/api/verbs/edit", {**asked, "split": "validation"})
    assert looks() == before + 1
    assert served.json("/api/verbs/edit", asked)["reply"]["split"] == "validation"
    assert looks() == before + 2
    assert served.ask("/api/verbs/edit", {"split": "validation"})[0] == 400  # shows nothing
    assert looks() == before + 2


@pytest.mark.parametrize("verb", ["edit", "measure"])
def test_test_text_is_not_reached_by_a_verb(served: Served, verb):
    asked = {"scales": {PART: 0}} if verb == "edit" else {}
    status, _, said = served.ask(f"/api/verbs/{verb}", {**asked, "tokens": 100, "split": "test"})
    assert (status, "test text cannot be reached" in json.loads(said)["error"]) == (400, True)
    (schema,) = (one["request"] for one in served.json("/api/verbs")["verbs"] if one["name"] == verb)
    split = schema["properties"]["split"]
    assert ("test" in split["enum"], split["default"]) == (False, "validation")


@pytest.mark.parametrize("alpha", [1e9, -1001])
def test_a_verb_takes_the_scales_that_a_dial_takes(served: Served, alpha):
    status, _, said = served.ask("/api/verbs/edit", {"scales": {PART: alpha}, "tokens": 100})
    assert (status, "1000" in json.loads(said)["error"]) == (400, True)


def test_a_label_is_corrected_and_taken_back(tmp_path):
    with studio(tmp_path) as own:
        state = own.json("/api/labels", {"name": PART, "label": "mine", "instead": "German", "after": 0})
        assert state["parts"][PART]["label"] == "mine"
        assert own.ask("/api/labels", {"name": PART, "label": "yours", "after": 0})[0] == 409
        assert own.json("/api/labels", {"name": PART, "label": "", "after": 1})["parts"] == {}
        assert own.ask("/api/labels", {"name": PART, "label": "x" * 301, "after": 2})[0] == 400
    assert (tmp_path / "studio" / "labels.jsonl").read_text().count("\n") == 2


def test_the_verdict_of_the_decomposition_is_told_with_the_bars_it_misses(served: Served):
    evidence = evidence_of(open_session("mini").decomposition_artifact).verdict
    told = served.json("/api/warm")["verdict"]
    ours = [(f.name.words, f.met, f.bar) for f in (*evidence.properties, *evidence.failures)]
    assert [(line["name"], line["met"], line["bar"]) for line in told] == ours
    assert any(line["met"] is False for line in told)


@pytest.mark.parametrize(
    "name", ["nope", "nope:1", "../../etc", "h.3.mlp.down_proj:99999", "c1", "label:german"]
)
def test_parts_that_are_not_there_are_refused_in_the_words_of_the_command(served: Served, name):
    with pytest.raises(RankOneError) as refused:
        require_parts(Opening(), [name])
    said = str(refused.value)
    assert served.json("/api/named", {"names": [PART, name]}) == {"refused": {name: said}}
    for path, body in (
        ("/api/edits", {"scales": {PART: 0, name: 3}}),
        ("/api/labels", {"name": name, "label": "x"}),
    ):
        before = served.json(path)
        status, _, answer = served.ask(path, {**body, "after": before["last"]})
        assert (status, json.loads(answer)["error"]) == (400, said)
        assert served.json(path) == before


@pytest.mark.parametrize("scales", [{}, {PART: 1}])
def test_an_edit_that_turns_nothing_is_not_kept(served: Served, scales):
    status, _, said = served.ask("/api/edits", {"scales": scales, "after": 0})
    assert (status, "nothing to keep" in json.loads(said)["error"]) == (400, True)


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b'{"after": NaN}'])
@pytest.mark.parametrize("path", ["/api/undo", "/api/verbs/edit"])
def test_a_body_that_is_no_object_is_told_in_words(served: Served, path, body):
    status, _, said = served.ask(path, body)
    assert (status, json.loads(said)["error"].startswith("the request's body is not a JSON object")) == (
        400,
        True,
    )


def test_half_of_a_surrogate_pair_is_refused_in_words(served: Served):
    status, _, answer = served.ask("/api/verbs/rank", b'{"of": "\\ud83d"}')
    assert (status, "error" in json.loads(answer)) == (400, True)
