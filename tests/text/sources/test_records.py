"""Records of data sets: texts, conversations, pairs; whatever else is named."""

from __future__ import annotations

import pytest

from rankone.text.chats import Chat
from rankone.text.sources.records import record_document

TALK = (("user", "a"), ("assistant", "b"))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a"}]},
                {"role": "assistant", "content": "b"},
            ]
        },
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"prompt": "a", "response": "b"},
        {"prompt": "a", "completion": "b", "id": 7},
        {"instruction": "a", "input": "", "output": "b"},
        {"question": "a", "answer": "b"},
        {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
    ],
)
def test_forms_of_one_conversation(row):
    found = record_document(row)
    assert isinstance(found, Chat)
    assert found.turns == TALK


def test_an_input_stands_below_its_instruction():
    found = record_document({"instruction": "a", "input": "c", "output": "b"})
    assert found.turns == (("user", "a\n\nc"), ("assistant", "b"))


def test_text_is_taken_first():
    found = record_document({"text": "t", "prompt": "a", "response": "b"})
    assert found == "t"
    assert not isinstance(found, Chat)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (["a"], "not a JSON object"),
        ({"body": "a", "id": 3}, "no document in it.*it has body, id"),
        ({}, "it has nothing"),
        ({"text": 3}, "no document in it.*it has text, which is not a string"),
        ({"messages": "a", "id": 3}, "it has messages, which is not a list, id"),
        ({"prompt": 3, "answer": ["a"]}, "it has prompt, which is not a string or messages, answer"),
        ({"prompt": "a"}, "no document in it"),
        ({"messages": ["a"]}, "not an object with `role` and `content`"),
        ({"messages": [{"role": "user"}]}, "it has role"),
        ({"messages": [{"role": "user", "content": [{"image": "x"}]}]}, "parts that are not text"),
        ({"messages": [{"role": "user", "content": "a"}]}, "without a turn of the assistant"),
        ({"messages": []}, "without a turn of the assistant"),
        ({"conversations": [{"from": "tool", "value": "a"}]}, "it has from, value"),
    ],
)
def test_other_records_are_named(row, complaint):
    with pytest.raises(ValueError, match=complaint):
        record_document(row)
