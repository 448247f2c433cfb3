"""Text to train directions on: what the model writes from the forget text, as far as the fitted scale changes it."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import random_edit
from tests.helpers import workspace as made
from tests.tiny import tiny_model

from rankone.core.errors import RankOneError
from rankone.edits.fitting.run import Fit, Run
from rankone.edits.fitting.text import enough_text as module
from rankone.edits.fitting.text import self_text
from rankone.edits.fitting.text.enough_text import ENOUGH, PIECE, Rises, enough_text
from rankone.edits.fitting.text.forget_text import budget_text
from rankone.edits.fitting.within import SIZED_ON
from rankone.edits.methods.directions import Directions
from rankone.metrics.cross_entropy import next_token_losses
from rankone.text.openers import opener_id

# Of the 64 positions that the tiny model reads an opening takes 17.
ROOM = 64 - 1 - PIECE
ROWS = -(-ENOUGH // ROOM)


@pytest.fixture(scope="module")
def workspace(tokenizer, corpus):
    return made(tiny_model(len(tokenizer)), None, tokenizer, corpus)


def fitted(workspace, budget=4, seed=0, size=3.0):
    method = Directions(random_edit(workspace.model, {"h.0.mlp.down_proj": 1}, size=size))
    run = Run(budget_text(workspace, "de", budget, seed), seed, 1.0, 0.1)
    return Fit(run, method, {k: p[0] for k, p in method.start(1, [0]).items()}, 0, 0.0)


def graded(monkeypatch, *draws):
    """What the edit does to the rows of each draw, in place of what it really does."""
    given = [Rises(torch.tensor(draw), torch.ones(len(draw))) for draw in draws]
    monkeypatch.setattr(module, "_rises", lambda *_: given.pop(0))
    return given


def test_a_row_rises_by_the_mean_over_what_is_scored(workspace):
    fit = fitted(workspace)
    text = module.continuations(workspace, [[5, 6], [7]], 0, 3, 9)
    with torch.no_grad():
        before = next_token_losses(workspace.model(text.ids).logits, text.ids, text.valid)
        with fit.edit.applied(workspace.model):
            after = next_token_losses(workspace.model(text.ids).logits, text.ids, text.valid)
    expected = (after - before).sum(1) / text.valid.sum(1)
    rise, was = module._rises(workspace.model, fit.edit, text)
    torch.testing.assert_close(rise, expected.double(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(was, (before.sum(1) / text.valid.sum(1)).double(), rtol=1e-4, atol=1e-5)
    assert expected.abs().min() > 1e-4


def test_every_row_starts_with_a_piece_of_the_forget_text(workspace, tokenizer, monkeypatch):
    fit = fitted(workspace, budget=3 * PIECE + 2)
    graded(monkeypatch, [9.0] * ROWS)
    text = enough_text(workspace, fit)
    assert text.tokens == ROWS * (workspace.context - 1 - PIECE)
    scored = fit.run.forget.ids[fit.run.forget.valid].tolist()
    first = opener_id(tokenizer)
    starts = {
        tuple(ids[: int(valid.nonzero().min())].tolist())
        for ids, valid in zip(text.ids, text.valid, strict=True)
    }
    before = () if first is None else (first,)
    assert all(start[: len(before)] == before for start in starts)
    assert {start[len(before) :] for start in starts} == {
        tuple(row[i : i + PIECE])
        for row in (
            ids[valid].tolist() for ids, valid in zip(fit.run.forget.ids, fit.run.forget.valid, strict=True)
        )
        for i in range(0, len(row), PIECE)
    }
    assert sorted(t for start in starts for t in start[len(before) :]) == sorted(scored)


def test_what_the_edit_changes_little_is_left_out_and_more_drawn_from_what_is_kept(workspace, monkeypatch):
    left = graded(
        monkeypatch, [4.0, 1.9, *[2.1] * (ROWS - 12), *[0.0] * 10], [4.0, 1.0, *[2.0] * (ROWS - 2)], [9.0]
    )
    text = enough_text(workspace, fitted(workspace), ["Es ist"])
    assert len(left) == 1
    assert len(text.ids) == ROWS
    starts = module.encoded_openings(workspace, ["Es ist"])
    first = module.continuations(workspace, starts, 0, ROWS, ROOM)
    some = [0, *range(2, ROWS - 10)]
    assert torch.equal(text.ids[: len(some), : first.ids.shape[1]], first.ids[some])
    opener = opener_id(workspace.tokenizer)
    begun = [
        [*([] if opener is None else [opener]), *first.ids[i][first.valid[i]][:PIECE].tolist()] for i in some
    ]
    second = module.continuations(workspace, begun, module.SEED_STEP, ROWS, ROOM)
    rest = ROWS - len(some)
    assert torch.equal(text.ids[len(some) :, : second.ids.shape[1]], second.ids[[0, *range(2, ROWS)][:rest]])


def test_the_tokens_that_a_trained_edit_is_sized_on_are_of_all_openings(workspace, tokenizer, monkeypatch):
    """The size is set on the first of them: no opening decides it alone."""
    graded(monkeypatch, [9.0] * ROWS)
    openings = ["Es ist", "Die", "Wir haben"]
    some = enough_text(workspace, fitted(workspace), openings).take(SIZED_ON)
    starts = {tuple(start) for start in module.encoded_openings(workspace, openings)}
    begun = [
        tuple(ids[: int(valid.nonzero().min())].tolist())
        for ids, valid in zip(some.ids, some.valid, strict=True)
    ]
    counts = [begun.count(start) for start in starts]
    assert sum(counts) == len(begun) >= 6
    assert max(counts) - min(counts) <= 1


def test_too_little_in_the_behaviour_is_refused(workspace, monkeypatch):
    few = [9.0, *[0.9] * (ROWS - 1)]
    left = graded(monkeypatch, *[few] * (module.DRAWS + 1))
    with pytest.raises(
        RankOneError, match=r"wrote [\d,]+ tokens by itself, but only \d+ are in text .*takes 500"
    ):
        enough_text(workspace, fitted(workspace))
    assert len(left) == 1


def test_noise_is_not_the_behaviour(workspace, monkeypatch):
    """Text that rises by less than a fifth of its way to chance is what a tolerance lets through anywhere."""
    bar = 0.2 * (workspace.chance - 1.0)
    left = graded(monkeypatch, *[[bar * 0.99] * ROWS] * module.DRAWS)
    with pytest.raises(RankOneError, match=rf"only 0 are in text .*at most by {bar * 0.99:.2f} nats"):
        enough_text(workspace, fitted(workspace))
    assert not left
    graded(monkeypatch, [bar * 1.01] * ROWS)
    assert len(enough_text(workspace, fitted(workspace)).ids) == ROWS


def test_a_short_context_takes_more_rows(workspace, monkeypatch):
    for file in (module, self_text):
        monkeypatch.setattr(file, "context_length", lambda _: 16)
    monkeypatch.setattr(
        module,
        "_rises",
        lambda _model, _edit, text: Rises(torch.ones(len(text.ids)) * 9, torch.ones(len(text.ids))),
    )
    text = enough_text(workspace, fitted(workspace, budget=40))
    assert text.ids.shape[1] <= 16
    assert ENOUGH <= text.tokens < ENOUGH + 16


def test_the_seed_decides(workspace, monkeypatch):
    monkeypatch.setattr(module, "CHANGED", 0.0)  # an untrained model is at chance already
    one, again, other = (enough_text(workspace, fitted(workspace, seed=seed), ["Es"]) for seed in (0, 0, 1))
    assert torch.equal(one.ids, again.ids)
    assert not torch.equal(one.ids, other.ids)
