"""Token blocks: budgets are exact, nothing is lost, only text tokens count."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rankone.core.errors import RankOneError
from rankone.text.blocks import Blocks, chunk_documents, encode, packed_stream, passage_blocks
from rankone.text.openers import opener_id

texts = st.lists(st.text(alphabet="abcä \n", max_size=60), max_size=8)


@st.composite
def blocks(draw):
    """Rows of BOS, a run of valid tokens and padding; the run may be empty."""
    length = draw(st.integers(2, 9))
    sizes = draw(st.lists(st.integers(0, length - 1), max_size=8))
    ids = torch.arange(len(sizes) * length).view(len(sizes), length)
    valid = torch.zeros(len(sizes), length, dtype=torch.bool)
    for row, size in enumerate(sizes):
        valid[row, 1 : size + 1] = True
    return Blocks(ids, valid)


@given(blocks(), st.integers(0, 80))
def test_take_gives_exactly_the_first_tokens(found, tokens):
    taken = found.take(tokens)
    expected = found.ids[found.valid][:tokens]
    assert taken.tokens == min(tokens, found.tokens)
    assert torch.equal(taken.ids[taken.valid], expected)
    assert taken.ids.shape == taken.valid.shape
    assert not taken.valid[:, 0].any()


def test_take_by_hand():
    ids = torch.tensor([[0, 5, 6, 7], [0, 8, 0, 0], [0, 9, 4, 0]])
    valid = torch.tensor([[0, 1, 1, 1], [0, 1, 0, 0], [0, 1, 1, 0]], dtype=torch.bool)
    taken = Blocks(ids, valid).take(5)
    assert taken.ids.tolist() == [[0, 5, 6, 7], [0, 8, 0, 0], [0, 9, 4, 0]]
    assert taken.valid.int().tolist() == [[0, 1, 1, 1], [0, 1, 0, 0], [0, 1, 0, 0]]
    assert Blocks(ids, valid).take(2).ids.tolist() == [[0, 5, 6]]
    assert Blocks(ids, valid).rows(1, 2).ids.tolist() == [[0, 8, 0, 0]]


def test_passage_blocks_hold_every_token_once(tokenizer, corpus):
    documents = corpus.documents("de", "validation")[:10]
    found = passage_blocks(tokenizer, documents, length=32)
    expected = [i for ids in encode(tokenizer, documents) for i in ids]
    assert found.ids[found.valid].tolist() == expected
    assert (found.ids[:, 0] == opener_id(tokenizer)).all()
    assert (found.ids[~found.valid] == opener_id(tokenizer)).all()
    assert found.ids.shape[1] == 32


def test_passage_blocks_never_mix_documents(tokenizer):
    found = passage_blocks(tokenizer, ["a b c", "d e f"], length=64)
    rows = [tokenizer.decode(i[v]) for i, v in zip(found.ids, found.valid, strict=True)]
    assert rows == ["a b c", "d e f"]


def test_too_little_text_is_refused(tokenizer):
    have = passage_blocks(tokenizer, ["kurz"], 8).tokens
    with pytest.raises(
        RankOneError, match=f"the forget text has {have} tokens, but 500 are needed. Give more text"
    ):
        passage_blocks(tokenizer, ["kurz"], 8, need=500, what="the forget text")
    with pytest.raises(RankOneError, match="the text has 0 tokens, but 1 are needed"):
        passage_blocks(tokenizer, [], 8)


@given(documents=texts, chars=st.integers(1, 40))
def test_chunks_lose_nothing_but_line_ends(documents, chars):
    pieces = chunk_documents(documents, chars)
    assert "\n".join(pieces) == "\n".join(documents)
    for document in documents:
        assert "\n".join(chunk_documents([document], chars)) == document


@given(documents=texts, chars=st.integers(1, 40))
def test_chunks_are_cut_as_soon_as_they_are_long_enough(documents, chars):
    for piece in chunk_documents(documents, chars):
        head, _, _last = piece.rpartition("\n")
        assert not head or len(head) + 1 < chars


def test_chunks_are_not_cut_before_they_are_long_enough():
    assert chunk_documents(["aaaa\nbbb\nc\nd", "bbb\nc"], 5) == ["aaaa", "bbb\nc", "d", "bbb\nc"]


def test_rows_without_an_opener_need_no_padding_token(tokenizer):
    bare = deepcopy(tokenizer)
    bare.pad_token = None
    made = passage_blocks(bare, ["der Hund und die Katze und der Vogel", "die Katze"], 9, opener="none")
    padding = made.ids[~made.present]
    assert len(padding) > 0
    assert (padding == 0).all()


@given(documents=texts, tokens=st.integers(0, 120), batch=st.integers(1, 3))
def test_packed_stream_is_a_prefix_of_bos_and_documents(tokenizer, documents, tokens, batch):
    stream = packed_stream(tokenizer, documents, tokens, batch)
    whole = [i for ids in encode(tokenizer, documents) for i in (opener_id(tokenizer), *ids)]
    assert stream.dtype == np.int32
    assert stream.tolist() == whole[:tokens]


@pytest.mark.parametrize("token", ["<|endoftext|>", "<|im_start|>"])
def test_special_tokens_written_in_text_stay_text(token, tokenizer):
    words = deepcopy(tokenizer)
    words.add_special_tokens({"additional_special_tokens": ["<|im_start|>"], "eos_token": "<|endoftext|>"})
    special = words.convert_tokens_to_ids(token)
    said = f"{token}one{token} two"
    for ids in (encode(words, [said])[0], packed_stream(words, [said], 100).tolist()[1:]):
        assert special not in ids
        assert words.decode(ids) == said
    blocks = passage_blocks(words, [said], 64)
    assert special not in blocks.ids[blocks.valid].tolist()
    # Chats and openers get theirs as before.
    assert words(token, add_special_tokens=False)["input_ids"] == [special]


def test_a_context_of_one_position_is_named(tokenizer):
    with pytest.raises(RankOneError, match="a context of 1 leaves no token to score"):
        passage_blocks(tokenizer, ["some text"], 1)
