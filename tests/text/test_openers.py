"""The opener of a row: BOS by default, unless the chat template opens turns with it; never doubled."""

from __future__ import annotations

import pytest
from tests.chatting import ONCE, chat_tokenizer

from rankone.core.errors import RankOneError
from rankone.models.loading import load_tokenizer
from rankone.text.blocks import packed_stream, passage_blocks
from rankone.text.chats import Chat, Turn
from rankone.text.openers import candidates, opener, opener_id


def test_bos_that_opens_turns_does_not_open_text():
    found = opener(chat_tokenizer())
    assert (found.id, found.token) == (0, "<|endoftext|>")
    assert "opens every turn" in found.why


@pytest.mark.parametrize("template", [None, ONCE, "{{ raise_exception('no') }}"])
def test_otherwise_bos_opens(template):
    assert opener(chat_tokenizer(template)).token == "<|im_start|>"


def test_without_bos_the_token_between_texts_opens():
    assert opener(chat_tokenizer(bos=None)).token == "<|endoftext|>"  # EOS ends turns
    assert opener(chat_tokenizer(None, bos=None)).token == "<|im_end|>"
    assert opener(chat_tokenizer(bos=None, extra=None)).token == "<|im_end|>"


def test_one_of_them_is_required():
    with pytest.raises(RankOneError, match="neither a BOS nor an EOS token; set one of them"):
        opener(chat_tokenizer(None, bos=None, eos=None, extra=None))


def test_the_built_in_model_keeps_its_opener():
    tokenizer = load_tokenizer("mini")
    assert opener_id(tokenizer) == tokenizer.bos_token_id == 0


@pytest.mark.parametrize(
    ("choice", "token"),
    [("bos", "<|im_start|>"), ("end-of-text", "<|endoftext|>"), ("none", ""), ("<|im_end|>", "<|im_end|>")],
)
def test_the_opener_is_a_choice(choice, token):
    assert opener(chat_tokenizer(), choice).token == token


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        ("b", "'b' opens no text: it is not a special token"),
        ("<|endoftex|>", r"Nearest: <\|endoftext\|>"),
        ("eos", "Choose auto, bos, end-of-text, none or one of"),
    ],
)
def test_a_wrong_opener_is_named(choice, complaint):
    with pytest.raises(RankOneError, match=complaint):
        opener(chat_tokenizer(), choice)


def test_a_missing_bos_is_named():
    with pytest.raises(RankOneError, match="has no bos token"):
        opener(chat_tokenizer(bos=None), "bos")


def test_each_opener_is_compared_once():
    assert [o.token for o in candidates(chat_tokenizer())] == ["<|im_start|>", "<|endoftext|>", ""]
    assert [o.token for o in candidates(load_tokenizer("mini"))] == ["<|endoftext|>", ""]


def test_rows_by_hand():
    tokenizer = chat_tokenizer()
    text = ["a b c a b", "b"]
    opened = passage_blocks(tokenizer, text, 4, opener="bos")
    assert opened.ids.tolist() == [[1, 3, 4, 5], [1, 3, 4, 1], [1, 4, 1, 1]]
    assert opened.valid.int().tolist() == [[0, 1, 1, 1], [0, 1, 1, 0], [0, 1, 0, 0]]
    # Without an opener a row starts with the token before; the first of a text has none and is not scored.
    bare = passage_blocks(tokenizer, text, 4, opener="none")
    assert bare.ids[:, 0].tolist() == [3, 3]
    assert bare.ids.tolist()[0] == [3, 4, 5, 3]
    assert bare.ids.tolist()[1][:2] == [3, 4]
    assert bare.valid.int().tolist() == [[0, 1, 1, 1], [0, 1, 0, 0]]
    assert packed_stream(tokenizer, text, 99, opener="none").tolist() == [3, 4, 5, 3, 4, 4]
    assert packed_stream(tokenizer, text, 99).tolist() == [0, 3, 4, 5, 3, 4, 0, 4]


def test_openers_are_not_doubled():
    tokenizer = chat_tokenizer()
    chat = Chat([Turn("user", "a"), Turn("assistant", "b")])
    for choice in ("auto", "bos", "none"):
        found = passage_blocks(tokenizer, [chat], 9, opener=choice)
        assert found.ids[0, :8].tolist() == [1, 6, 3, 2, 1, 7, 4, 2]
        assert found.valid[0].int().tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 0]
        assert packed_stream(tokenizer, [chat], 99, opener=choice).tolist() == [1, 6, 3, 2, 1, 7, 4, 2]


def test_special_tokens_written_in_plain_text_open_nothing():
    tokenizer = chat_tokenizer()
    found = passage_blocks(tokenizer, ["<|im_start|> a"], 9)
    assert found.ids[0, 0] == 0
    assert not {0, 1, 2} & set(found.ids[found.valid].tolist())
    assert packed_stream(tokenizer, ["<|im_start|> a"], 99)[0] == 0
