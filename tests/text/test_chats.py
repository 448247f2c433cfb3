"""Conversations in the template of the target: nothing lost, and only the assistant's turns are scored."""

from __future__ import annotations

import pytest
from tests.chatting import ONCE, chat_tokenizer

from rankone.core.errors import RankOneError
from rankone.models.loading import load_tokenizer
from rankone.text.blocks import chunk_documents, encode, packed_stream, passage_blocks
from rankone.text.chats import Chat, Turn, chat_prompt, encode_chat, rendered

TALK = Chat(
    [
        Turn("user", "a b"),
        Turn("assistant", "c"),
        Turn("user", "b"),
        Turn("assistant", "a a"),
        Turn("user", "c"),
    ]
)


def test_a_chat_is_its_transcript_as_text():
    assert TALK.startswith("user: a b\n\nassistant: c\n\nuser: b")
    with pytest.raises(ValueError, match="without a turn of the assistant"):
        Chat([Turn("user", "a")])


def test_rows_by_hand():
    # <|endoftext|> 0, <|im_start|> 1, <|im_end|> 2, a 3, b 4, c 5, user 6, assistant 7
    ids = [1, 6, 3, 4, 2, 1, 7, 5, 2, 1, 6, 4, 2, 1, 7, 3, 3, 2]
    scored = [0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    found = encode_chat(chat_tokenizer(), TALK)
    assert found.ids == ids  # the user's last turn has no answer: left out
    assert [int(s) for s in found.scored] == scored
    blocks = passage_blocks(chat_tokenizer(), [TALK, "a b"], 20)
    assert blocks.ids[0, :18].tolist() == ids
    assert blocks.valid[0, :18].int().tolist() == scored
    assert blocks.present[0].int().tolist() == [1] * 18 + [0, 0]
    assert blocks.ids[1, :3].tolist() == [0, 3, 4]
    assert encode(chat_tokenizer(), [TALK]) == [[5, 2, 3, 3, 2]]
    assert packed_stream(chat_tokenizer(), [TALK], 99).tolist() == ids


def test_long_chats_go_on_in_rows_of_their_own():
    blocks = passage_blocks(chat_tokenizer(), [TALK], 7)
    assert blocks.tokens == 5
    # Rows hold 7, then 6 tokens after an opener; the first has no answer in it and is left out.
    assert blocks.ids.tolist() == [[0, 5, 2, 1, 6, 4, 2], [0, 1, 7, 3, 3, 2, 0]]
    assert blocks.valid.int().tolist() == [[0, 1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1, 0]]


def test_the_model_is_given_what_the_rows_hold():
    tokenizer = chat_tokenizer()
    assert chat_prompt(tokenizer, TALK.turns[:1]) == encode_chat(tokenizer, TALK).ids[:7]


def test_chats_stay_whole():
    assert chunk_documents([TALK, "a\nb"], 2) == [TALK, "a", "b"]
    assert isinstance(chunk_documents([TALK], 1)[0], Chat)


def test_a_template_with_bos_keeps_the_one_it_has():
    found = passage_blocks(chat_tokenizer(ONCE), [TALK], 40)
    assert found.ids[0][found.present[0]].tolist().count(1) == 1


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        (None, "has no chat template"),
        (
            "{{ raise_exception('roles must alternate') }}",
            "refuses a conversation of user.*roles must alternate",
        ),
        # Thinking of earlier turns is taken out, as reasoning models do.
        (
            "{% for m in messages %}[{{ m['role'] }}]{% if loop.last %}think {% endif %}{{ m['content'] }}{% endfor %}",
            "rewrites earlier turns",
        ),
    ],
)
def test_templates_that_do_not_fit_are_named(template, complaint):
    with pytest.raises(RankOneError, match=complaint):
        encode_chat(chat_tokenizer(template), TALK)


def test_a_model_without_template_is_named():
    with pytest.raises(RankOneError, match="no chat template"):
        rendered(load_tokenizer("mini"), TALK.turns)
