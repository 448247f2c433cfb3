"""An option that does nothing without another is refused without it, in every verb, and with it is taken."""

from __future__ import annotations

import re

import pytest

from rankone.core.errors import RankOneError
from rankone.core.fields import OnlyWith, option
from rankone.verbs.table import VERBS

GIVEN = {int: 7, float: 7.5, bool: True}
PAIRS = [
    (verb, name, mark.other)
    for verb in VERBS.values()
    for name, field in verb.request.model_fields.items()
    for mark in field.metadata
    if isinstance(mark, OnlyWith)
]


def lacking(verb, values):
    """The request with what must be given left empty: only the rule itself is looked at."""
    fields = verb.request.model_fields
    made = verb.request.model_construct(**{**dict.fromkeys(fields, None), **defaults(fields), **values})
    return made._with_what_it_needs()


def defaults(fields):
    return {name: field.default for name, field in fields.items() if not field.is_required()}


@pytest.mark.parametrize(("verb", "name", "other"), PAIRS, ids=lambda one: getattr(one, "name", one))
def test_an_option_without_the_one_it_needs_is_refused(verb, name, other):
    kind = type(verb.request.model_fields[name].default)
    value = GIVEN.get(kind, "x")
    with pytest.raises(
        RankOneError, match=f"^{option(name)} changes nothing without {option(other)}: give both, or leave it"
    ):
        lacking(verb, {name: value})
    lacking(verb, {name: value, other: value})
    lacking(verb, {})


def test_what_is_said_to_go_with_an_option_is_marked():
    """A help that begins `with --x:` promises that the option is nothing alone; help and mark agree."""
    said = {
        (verb.name, name, found[1].replace("-", "_"))
        for verb in VERBS.values()
        for name, field in verb.request.model_fields.items()
        if (found := re.match(r"with --([a-z-]+):", field.description or ""))
    }
    marked = {(verb.name, name, other) for verb, name, other in PAIRS}
    assert said
    assert said <= marked
