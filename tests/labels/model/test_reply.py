"""Whatever bytes a server sends, reading them gives a checked reply or BadReply, nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.labels.server import GOOD, completion

from rankone.core.escaping import visible
from rankone.labels.model.llm import LabelReply
from rankone.labels.model.reply import BadReply, Reply, json_schema, parse, read_body, server_message

values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
# Bodies that are nearly right, with any value in any place.
nearly = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(
            st.fixed_dictionaries(
                {}, optional={"message": st.fixed_dictionaries({}, optional={"content": values}) | values}
            )
            | values,
            max_size=2,
        )
        | values,
        "usage": values,
    },
)


@given(
    st.binary(max_size=60)
    | values.map(lambda v: json.dumps(v).encode())
    | nearly.map(lambda v: json.dumps(v).encode())
)
def test_any_body_is_read_or_refused(body):
    try:
        content, _, used = read_body(body)
    except BadReply:
        return
    assert isinstance(content, str)
    assert used is None or min(used) >= 0


@given(st.text(max_size=40) | st.fixed_dictionaries(dict.fromkeys(GOOD, values)).map(json.dumps))
def test_any_message_is_parsed_or_refused(content):
    try:
        reply = parse(content, LabelReply)
    except BadReply:
        return
    label = reply.as_label("c", "m")
    assert label.label == visible(label.label)
    assert 0 <= label.confidence <= 1


@pytest.mark.parametrize("text", [r'"\ud800"', r'"\u0000"', '"x' + "y" * 300 + '"', '""', "3", "null"])
def test_labels_that_are_none(text):
    content = f'{{"label": {text}, "reasoning": "", "confidence": 0.5}}'
    try:
        label = parse(content, LabelReply).as_label("c", "m").label
    except BadReply:
        return
    assert label == r"\x00"


def test_what_is_counted():
    assert read_body(json.dumps(completion("x", 3, 4)).encode()) == ("x", "stop", (3, 4))
    assert read_body(json.dumps(completion("x", True, 4)).encode())[2] is None
    assert read_body(json.dumps(completion("x", 3, 4, usage=False)).encode())[2] is None


class Titled(Reply):
    """A reply whose field is named like a keyword."""

    title: str
    maximum: float = 1.0


def test_the_schema_has_types_and_names_alone():
    text, number = {"type": "string"}, {"type": "number"}
    closed = {"type": "object", "additionalProperties": False}
    assert json_schema(LabelReply) == closed | {
        "required": ["label", "reasoning", "confidence"],
        "properties": {"label": text, "reasoning": text, "confidence": number},
    }
    assert json_schema(Titled)["properties"] == {"title": text, "maximum": number}


def test_messages_of_errors():
    assert server_message(b'{"error": {"message": "bad key K1"}}', "K1") == "bad key (key)"
    assert server_message(b'{"error": "plain"}', None) == "plain"
    assert server_message(b"<html>" + b"x" * 9000, None).endswith("x…")
    assert server_message(b"[" * 4000, None).startswith("[[")
