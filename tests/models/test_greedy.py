"""Batched greedy decoding equals the plain argmax loop, whatever the checkpoint's settings say."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import VOCAB, gpt2, llama, probe, simple_mlp
from transformers import MambaConfig, MambaForCausalLM

from rankone.core.errors import RankOneError
from rankone.models import greedy as greedy_room
from rankone.models.greedy import end_ids, greedy


def mamba():
    torch.manual_seed(0)
    config = MambaConfig(
        vocab_size=VOCAB, hidden_size=24, num_hidden_layers=2, state_size=4, initializer_range=0.5
    )
    return MambaForCausalLM(config).eval()


def loop(model, row, tokens, ends=()):
    """One prompt, the whole sequence every step."""
    ids = list(row)
    for _ in range(tokens):
        with torch.no_grad():
            ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        if ids[-1] in ends:
            break
    return ids[len(row) :]


def rows():
    """Prompts of 2 to 14 tokens."""
    ids = probe(9, 14).tolist()
    return [row[: 2 + (7 * i) % 13] for i, row in enumerate(ids)]


@pytest.mark.parametrize("build", [simple_mlp, gpt2, llama, mamba])
def test_together_equals_one_by_one(build, monkeypatch):
    monkeypatch.setattr(greedy_room, "TOGETHER", 4)
    model = build()
    assert greedy(model, rows(), 8) == [loop(model, row, 8) for row in rows()]


def test_an_end_is_the_last_token():
    model = llama()
    free = greedy(model, rows(), 8)
    ends = {free[0][3], free[5][0]}
    assert greedy(model, rows(), 8, ends) == [loop(model, row, 8, ends) for row in rows()]
    assert any(len(made) == 1 for made in greedy(model, rows(), 8, ends))


def test_settings_of_the_checkpoint_do_not_matter():
    model = llama()
    model.generation_config.repetition_penalty = 1.9
    model.generation_config.num_beams = 3
    model.generation_config.suppress_tokens = list(range(50))
    model.generation_config.pad_token_id = model.generation_config.bos_token_id = 5
    assert greedy(model, rows(), 8) == [loop(model, row, 8) for row in rows()]


def test_ends_of_checkpoint_and_tokenizer_count(tokenizer):
    model = llama()
    model.generation_config.eos_token_id = [7, 9]
    assert end_ids(model, tokenizer) == {0, 7, 9}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (([[1, 2]], 0), "0 tokens are asked for"),
        (([[1, 2], []], 3), "a prompt has no tokens"),
        (([[1] * 60], 5), "a prompt of 60 tokens and 5 more are longer than the 64 positions"),
    ],
)
def test_bad_input_is_named(given, complaint):
    with pytest.raises(RankOneError, match=complaint):
        greedy(llama(), *given)


def test_a_weight_that_is_no_number_is_named():
    model = llama()
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(RankOneError, match="not finite"):
        greedy(model, rows(), 3)


def test_nothing_is_asked_nothing_is_said():
    assert greedy(llama(), [], 3) == []
