"""Gradients of all scales at once against finite differences of real edits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.decomposition.tiny import decomposed, target
from tests.helpers import gpt2, same, snapshot, workspace

from rankone.core.errors import RankOneError
from rankone.edits.gradients import scale_gradients, scale_slopes
from rankone.edits.scales import scale_edit
from rankone.text.blocks import Blocks

STEP = 1e-2


def blocks(rows=6, length=9, vocab=30):
    """Rows of different lengths, more than one batch of them."""
    ids = torch.randint(1, vocab, (rows, length), generator=torch.Generator().manual_seed(1))
    valid = torch.ones(rows, length, dtype=torch.bool)
    valid[:, 0] = False
    valid[2, 5:] = False
    valid[5, 2:] = False
    return Blocks(ids, valid)


@pytest.mark.parametrize(("build", "near"), [(target, 3e-6), (gpt2, 1e-7)])
def test_finite_differences(build, near):
    """The built-in architecture normalises in fp32, which limits what differences can tell."""
    model = build().double()
    decomposition = decomposed(model, "random").double()
    text, before = blocks(), snapshot(model)
    found = scale_gradients(workspace(model, decomposition), text)
    assert same(model, before)
    names = decomposition.names()
    chosen = list(range(0, len(names), max(1, len(names) // 12)))

    def rise(scales):
        keep = text.valid[:, 1:]
        with scale_edit(decomposition, scales).applied(model), torch.no_grad():
            logits = model(input_ids=text.ids).logits[:, :-1]
        return float(F.cross_entropy(logits[keep], text.ids[:, 1:][keep]))

    for i in chosen:
        slope = (rise({names[i]: 1 + STEP}) - rise({names[i]: 1 - STEP})) / (2 * STEP)
        assert found[i].item() == pytest.approx(slope, rel=3e-3, abs=near), names[i]
    together = (
        dict.fromkeys([names[i] for i in chosen], 1 + STEP),
        dict.fromkeys([names[i] for i in chosen], 1 - STEP),
    )
    slope = (rise(together[0]) - rise(together[1])) / (2 * STEP)
    assert float(found[chosen].sum()) == pytest.approx(slope, rel=3e-3, abs=10 * near)


def test_squares_are_of_what_positions_contribute():
    """One scored token: its loss has one contribution at the last site, whose square is the gradient's."""
    model = target()
    decomposition = decomposed(model, "random")
    text = Blocks(torch.tensor([[3, 4]]), torch.tensor([[False, True]]))
    found = scale_slopes(model, decomposition, text)
    last = [i for i, name in enumerate(decomposition.names()) if name.startswith("h.0.mlp.down_proj:")]
    torch.testing.assert_close(found.square[last], found.gradient[last].square())
    assert found.gradient[last].abs().max() > 0
    torch.testing.assert_close(found.gradient, scale_gradients(workspace(model, decomposition), text))


def test_frozen_models_will_do():
    model = target()
    decomposition = decomposed(model, "random")
    free = scale_gradients(workspace(model, decomposition), blocks())
    frozen = scale_gradients(workspace(model.requires_grad_(False), decomposition), blocks())
    assert torch.equal(free, frozen)
    assert free.abs().max() > 0


def test_bad_text_and_numbers_are_refused():
    model = target()
    decomposition = decomposed(model, "random")
    empty = Blocks(torch.ones(1, 3, dtype=torch.long), torch.zeros(1, 3, dtype=torch.bool))
    with pytest.raises(RankOneError, match="is empty"):
        scale_gradients(workspace(model, decomposition), empty)
    with torch.no_grad():
        model.wte.weight.fill_(float("nan"))
    with pytest.raises(RankOneError, match="not finite"):
        scale_gradients(workspace(model, decomposition), blocks())
