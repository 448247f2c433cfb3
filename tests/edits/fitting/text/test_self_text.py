"""The model's own text: only what it wrote is scored, the same for a seed, and never a special token."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from tests.helpers import workspace as made
from tests.tiny import tiny_model

from rankone.core.errors import RankOneError
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.text import self_text as module
from rankone.edits.fitting.text.forget_text import forget_text
from rankone.edits.fitting.text.openings import OPENINGS, openings_of
from rankone.edits.fitting.text.self_text import self_text
from rankone.text.openers import opener_id


@pytest.fixture(scope="module")
def workspace(tokenizer, corpus):
    return made(tiny_model(len(tokenizer)), None, tokenizer, corpus)


def test_only_the_continuation_is_scored(workspace, tokenizer):
    openings = ["Die Kommission hat", "Es"]
    text = self_text(workspace, openings, seed=3, rows=5, tokens=7)
    assert text.ids.shape[0] == 5
    assert text.valid.sum(1).tolist() == [7] * 5
    first = opener_id(tokenizer)
    expected = []
    for opening in openings:
        ids = tokenizer(opening, add_special_tokens=False)["input_ids"]
        expected.append(ids if first is None else [first, *ids])
    for row, ids, valid in zip(range(5), text.ids, text.valid, strict=True):
        start = expected[row % 2]
        assert ids[: len(start)].tolist() == start
        assert valid.nonzero().flatten().tolist() == list(range(len(start), len(start) + 7))
        assert not set(ids[valid].tolist()) & set(tokenizer.all_special_ids)


def test_the_seed_decides(workspace):
    state = torch.random.get_rng_state()
    one, again, other = (self_text(workspace, ["Es ist"], seed, rows=2, tokens=5) for seed in (0, 0, 1))
    assert torch.equal(one.ids, again.ids)
    assert not torch.equal(one.ids, other.ids)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_model_that_keeps_nothing_writes_the_same(workspace, monkeypatch):
    """Keys and values that a model keeps save work and change no draw."""
    openings, forward = ["Die Kommission hat", "Es"], workspace.model.forward
    kept = self_text(workspace, openings, rows=3, tokens=8)
    widths = []

    def forgetful(input_ids, **given):
        assert "past_key_values" not in given
        widths.append(input_ids.shape[1])
        return SimpleNamespace(logits=forward(input_ids=input_ids).logits)

    monkeypatch.setattr(workspace.model, "forward", forgetful)
    again = self_text(workspace, openings, rows=3, tokens=8)
    assert torch.equal(kept.ids, again.ids)
    assert widths[:8] == list(range(widths[0], widths[0] + 8))


def test_openings_are_given_or_known():
    assert openings_of("de") == OPENINGS["de"]
    assert openings_of("jargon", ["As per my last"]) == ("As per my last",)
    with pytest.raises(RankOneError, match=r"self:jargon needs an opening: .*known without: code, de, en"):
        openings_of("jargon")


def test_what_does_not_fit_is_refused(workspace):
    with pytest.raises(RankOneError, match="opening of the model's own text is empty"):
        self_text(workspace, [""])
    with pytest.raises(RankOneError, match=r"context \d+ is longer"):
        self_text(workspace, ["Es ist " * 40])
    text = self_text(workspace, ["Es"], rows=1, tokens=100)
    assert text.ids.shape == (1, 64)


def test_a_model_without_a_limit_writes_as_much_as_is_asked_for(workspace, monkeypatch):
    monkeypatch.setattr(module, "context_length", lambda _: None)
    assert self_text(workspace, ["Es"], rows=1, tokens=9).tokens == 9


def test_the_aim_says_where_forget_text_comes_from(workspace):
    aim = Aim(forget="self:de", retain=("en",), chance=6.0)
    assert forget_text(workspace, aim, 4, 0).tokens == 8 * 48
    assert forget_text(workspace, aim.model_copy(update={"forget": "de"}), 6, 0).tokens == 6
    with pytest.raises(RankOneError, match="openings are for the model's own text: ask for self:de"):
        forget_text(workspace, aim.model_copy(update={"forget": "de"}), 6, 0, ["Es"])
    with pytest.raises(RankOneError, match="the budget is 0"):
        forget_text(workspace, aim.model_copy(update={"forget": "de"}), 0, 0)
