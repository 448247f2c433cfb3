"""Next-token cross-entropy by hand, on real models row by row, and whatever the chunks."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import pytest
import torch
from tests.helpers import llama, probe, simple_mlp

from rankone.core.errors import RankOneError
from rankone.metrics import cross_entropy as module
from rankone.metrics.cross_entropy import (
    PassageLosses,
    cross_entropies,
    cross_entropy,
    next_token_losses,
    passage_losses,
    prediction_losses,
    text_losses,
)
from rankone.text.blocks import Blocks

# Over two tokens, the second with odds 3 : 1 at the first position, even at the next, 1 : 3 at the last.
LOGITS = torch.tensor([[[0.0, math.log(3)], [0.0, 0.0], [math.log(3), 0.0]]])
IDS = torch.tensor([[1, 1, 0]])


def test_by_hand():
    """Token 1 is predicted at 0 with 3/4, token 2 at 1 with 1/2; what is predicted at 2 is not scored."""
    found = next_token_losses(LOGITS, IDS)
    assert found.tolist() == [pytest.approx([0.0, math.log(4 / 3), math.log(2)])]


def test_ids_and_probabilities_by_hand():
    """Even odds of both tokens at the first position: −½ ln ¼ − ½ ln ¾; a sure one is the same as its id."""
    odds = torch.tensor([[[0.5, 0.5], [0.0, 1.0], [1.0, 0.0]]])
    first = -0.5 * math.log(3 / 16)
    expected = torch.tensor([[first, math.log(2), math.log(4 / 3)]])
    torch.testing.assert_close(prediction_losses(LOGITS, odds), expected)
    torch.testing.assert_close(prediction_losses(LOGITS, IDS)[:, 1:], expected[:, 1:])
    torch.testing.assert_close(prediction_losses(LOGITS[0], odds[0]), expected[0])


def test_only_valid_tokens_are_scored_and_the_first_never():
    valid = torch.tensor([[True, False, True]])
    assert next_token_losses(LOGITS, IDS, valid).tolist() == [pytest.approx([0.0, 0.0, math.log(2)])]
    assert valid.tolist() == [[True, False, True]], "what was given is as it was"


def test_losses_are_not_changed_once_measured():
    measured = PassageLosses(torch.tensor([1.0]), torch.tensor([2]))
    with pytest.raises(FrozenInstanceError):
        measured.sums = torch.tensor([0.0])


def test_gradients_reach_the_logits_that_predict():
    logits = LOGITS.clone().requires_grad_()
    next_token_losses(logits, IDS).sum().backward()
    # softmax − one-hot: (1/4, 3/4) − (0, 1) and (1/2, 1/2) − (1, 0).
    expected = torch.tensor([[[0.25, -0.25], [-0.5, 0.5], [0.0, 0.0]]])
    torch.testing.assert_close(logits.grad, expected)


def test_bf16_logits_are_scored_in_fp32():
    found = next_token_losses(LOGITS.bfloat16(), IDS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, next_token_losses(LOGITS.bfloat16().float(), IDS))


def text(rows=5, length=9):
    ids = probe(rows, length)
    valid = torch.arange(length) < torch.tensor([9, 5, 2, 9, 7]).unsqueeze(1)
    valid[:, 0] = False
    return Blocks(ids, valid)


@pytest.mark.parametrize("at_once", [1, 300 * 9 * 2, 300 * 9 * 2 + 1, 1 << 25])
@pytest.mark.parametrize("build", [simple_mlp, llama])
def test_sums_by_passage_whatever_the_chunks(build, at_once, monkeypatch):
    monkeypatch.setattr(module, "LOGITS_AT_ONCE", at_once)
    model, blocks = build(), text()
    found = passage_losses(model, blocks)
    assert found.tokens.tolist() == [8, 4, 1, 8, 6]
    assert found.sums.dtype == torch.float64
    for i in range(5):
        with torch.no_grad():
            p = model(input_ids=blocks.ids[i : i + 1]).logits[0].double().log_softmax(-1)
        expected = -sum(float(p[t - 1, blocks.ids[i, t]]) for t in range(1, 9) if blocks.valid[i, t])
        assert float(found.sums[i]) == pytest.approx(expected, rel=1e-5)
    assert found.mean == pytest.approx(float(found.sums.sum()) / 27)


def test_means_are_over_tokens_not_over_passages():
    losses = PassageLosses(torch.tensor([6.0, 2.0], dtype=torch.float64), torch.tensor([3, 1]))
    assert losses.mean == 2.0
    assert PassageLosses(torch.tensor([3.0, 3.0]), torch.tensor([1, 3])).mean == 1.5


def test_by_domain():
    model, blocks = simple_mlp(), text()
    found = cross_entropies(model, {"b": blocks, "a": blocks.rows(0, 2)})
    assert list(found) == ["b", "a"]
    assert found["b"] == cross_entropy(model, blocks)
    assert found["a"] == cross_entropy(model, blocks.rows(0, 2)) != found["b"]


def test_nothing_to_score_is_refused():
    blocks = text()
    with pytest.raises(RankOneError, match="no token to score"):
        passage_losses(simple_mlp(), Blocks(blocks.ids, torch.zeros_like(blocks.valid)))


def test_the_error_of_a_mean_by_hand():
    """7 nats over 2 tokens, 1 over 2: mean 2, residuals 3 and −3, error √(2 · 18) / 4."""
    losses = PassageLosses(torch.tensor([7.0, 1.0], dtype=torch.float64), torch.tensor([2, 2]))
    assert losses.error == pytest.approx(6 / 4)
    assert PassageLosses(torch.tensor([7.0, 0.0]), torch.tensor([2, 0])).error is None


def test_the_error_of_three_passages_and_an_empty_one_by_hand():
    """Residuals 3, −3 and 0 over 6 tokens: √(3/2 · 18) / 6; a passage without a scored token is none."""
    losses = PassageLosses(
        torch.tensor([7.0, 1.0, 0.0, 4.0], dtype=torch.float64), torch.tensor([2, 2, 0, 2])
    )
    assert losses.error == pytest.approx(math.sqrt(27) / 6)


def test_a_first_token_that_is_marked_is_not_counted():
    blocks = text()
    blocks.valid[:, 0] = True
    assert passage_losses(simple_mlp(), blocks).tokens.tolist() == [8, 4, 1, 8, 6]


def test_memory_at_once_is_what_its_comment_says():
    assert module.LOGITS_AT_ONCE * 4 == 128 * 2**20


def test_no_more_rows_than_memory_allows_go_together(monkeypatch):
    model, seen = simple_mlp(), []
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    for at_once, expected in ((300 * 9 * 2, [2, 2, 1]), (300 * 9 * 2 - 1, [1] * 5), (1, [1] * 5)):
        monkeypatch.setattr(module, "LOGITS_AT_ONCE", at_once)
        seen.clear()
        passage_losses(model, text())
        assert seen == expected
    hook.remove()


@pytest.mark.parametrize(("value", "said"), [(float("nan"), "nan"), (float("inf"), "nan"), (1e38, "inf|nan")])
def test_no_figure_is_no_number(value, said):
    """Finite weights, and finite logits of short texts, may overflow in a longer one."""
    model = llama()
    model.lm_head.weight.data[:5] = value
    ids = torch.arange(12).view(1, 12) % 7
    text = {"de": Blocks(ids, torch.ones_like(ids, dtype=torch.bool))}
    for measure in (text_losses, cross_entropies):
        with pytest.raises(
            RankOneError, match=rf"cross-entropy of 'de' is ({said}): logits overflow in float32"
        ):
            measure(model, text)
    with pytest.raises(RankOneError, match=r"cross-entropy of this text is"):
        passage_losses(model, text["de"])
