"""The table of verbs: every verb is whole, light to import, and the session has it as a method with the same parameters."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from tests.standin.verbs import VERBS as JOBS_OF_VERBS
from tests.tiny import rankone as rankone_command

import rankone
import rankone.session.methods
from rankone.core.errors import RankOneError
from rankone.core.fields import Request
from rankone.opening import OpenOptions
from rankone.render.reply import Reply
from rankone.verbs.table import VERBS, verb_named
from rankone.verbs.writing.methods import methods
from rankone.verbs.writing.reference import reference


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_a_verb_is_whole(verb):
    assert issubclass(verb.request, Request)
    assert issubclass(verb.reply, Reply)
    assert inspect.getdoc(verb.run), f"{verb.name} has no docstring: it is its help"
    assert set(verb.opens) <= OpenOptions.model_fields.keys()
    assert set(verb.needs) <= set(verb.opens)
    assert verb.first is None or verb.first in verb.opens
    assert set(verb.writes) <= verb.request.model_fields.keys()
    assert ("recipe" in verb.request.model_fields) == (verb.recipe is not None)
    undescribed = [name for name, field in verb.request.model_fields.items() if not field.description]
    assert undescribed == []
    verb.request.model_json_schema()
    verb.reply.model_json_schema()


def test_the_sessions_methods_are_made_from_the_table():
    made = Path(rankone.session.methods.__file__)
    assert made.read_text("utf8") == methods(), "run `make api`"


def test_open_takes_what_can_be_opened():
    parameters = inspect.signature(rankone.open).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        name: field.default for name, field in OpenOptions.model_fields.items()
    }


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_every_verb_takes_device_and_numbers_or_says_why_not(verb):
    offered = {*verb.opens, *verb.request.model_fields} & {"device", "dtype"}
    assert sorted([*offered, *verb.without]) == ["device", "dtype"]
    page = " ".join(rankone_command(verb.name, "--help").out.split())
    assert all(sentence in page for sentence in verb.lacking())


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_every_verb_with_a_device_has_a_job_on_the_stand_in(verb):
    assert ("device" in verb.opens) == (verb.name in JOBS_OF_VERBS)


def test_every_option_is_declared_once():
    """No field of a request says again what a request or configuration of a lower room says."""
    twice = [
        f"{verb.name}.{name}"
        for verb in VERBS.values()
        for name in vars(verb.request).get("__annotations__", {})
        if any(name in getattr(base, "model_fields", {}) for base in verb.request.__mro__[1:])
    ]
    assert twice == []


def test_an_unknown_verb_is_an_error_that_offers_the_nearest():
    with pytest.raises(RankOneError, match=r"unknown verb 'serach'\. Nearest: search"):
        verb_named("serach")


def test_what_lies_at_the_place_to_write_to_is_refused_before_anything_is_opened(tmp_path):
    from rankone.opening import Opening

    verb = VERBS["measure"]
    request = verb.request.checked({"out": tmp_path}, "measure")
    with pytest.raises(RankOneError, match="exists"):
        verb.ask(Opening(OpenOptions(model="no-such-model", text="builtin")), request)


def test_the_table_is_read_without_torch():
    heavy = {"torch", "transformers", "numpy", "pyarrow", "duckdb"}
    code = f"import sys, rankone.cli; rankone.cli.commands(); print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_reference_is_made_from_the_table():
    page = Path(__file__).resolve().parents[2] / "docs" / "api.md"
    assert page.read_text("utf8") == reference(), "run `make api`"
