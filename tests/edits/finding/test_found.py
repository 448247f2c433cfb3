"""What `find` says below its table: whether a part does the job, and a command that sets it and runs as it stands."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rankone.edits.finding.found import Found, FoundPart
from rankone.edits.finding.tolerances import Tolerances
from rankone.edits.requests import FindRequest
from rankone.opening import OpenOptions
from rankone.verbs.finding import find


def answer(part, removed=True, **changes):
    """An answer with one part."""
    row = {
        "part": part,
        "source": "neuron",
        "site": "h.1.a",
        "alpha": -5.5,
        "rise": 4.0,
        "error": None,
        "others": {},
    }
    row |= {"worst": 0.01, "worst_domain": "en", "about": None, "removed": removed}
    rest = {
        "against": ["en"],
        "chance": 8.0,
        "base": {},
        "sites": [],
        "seconds": {"scan": 2.0},
        "cpu_seconds": 2.0,
    }
    return Found(
        of="de",
        tolerance=Tolerances(),
        parts=[FoundPart(**row, separation=None, coverage=None, slope=None)],
        **rest,
        **changes,
    )


@pytest.mark.parametrize("part", ["h.1.a:3", "neuron/h.1.a:3"])
def test_a_part_of_the_weights_or_the_decomposition_is_set_by_name(part):
    assert answer(part).lines() == ("best source: neuron", f"to set it: rankone edit {part}=-5.5 --out DIR")


def test_the_command_opens_the_same_model_and_the_saved_parts():
    made = answer("discriminant-de/h.1.a:0", opened="--model runs/smollm2", out="runs/found")
    assert made.lines()[1] == (
        "to set it: rankone edit discriminant-de/h.1.a:0=-5.5 --model runs/smollm2 --parts runs/found --out DIR"
    )


def test_the_command_measures_on_the_same_text(monkeypatch):
    monkeypatch.setattr("rankone.edits.finding.find.find", lambda *_: answer("neuron/h.1.a:3"))
    opening = SimpleNamespace(workspace=None, options=OpenOptions(model="m", text="my text"))
    made = find(opening, FindRequest(of="de"))
    assert (
        made.lines()[1] == "to set it: rankone edit neuron/h.1.a:3=-5.5 --model m --text 'my text' --out DIR"
    )


def test_a_part_made_from_text_has_to_be_saved_first():
    assert answer("discriminant-de/h.1.a:0").lines()[1] == "to set its number, save the parts: --out DIR"


def test_it_is_said_where_no_part_does_the_job():
    assert "no single part takes de to chance" in answer("h.1.a:3", removed=False).lines()[1]
    assert "to chance" not in " ".join(answer("h.1.a:3").lines())
