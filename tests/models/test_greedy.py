"""Batched greedy decoding equals the plain argmax loop, whatever the checkpoint's settings say."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import VOCAB, gpt2, llama, probe, simple_mlp
from transformers import (
    DogeConfig,
    DogeForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    RecurrentGemmaConfig,
    RecurrentGemmaForCausalLM,
)

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


def doge():
    """Its kept keys choose others than its whole rows do, past a window of six."""
    torch.manual_seed(0)
    config = DogeConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        keep_window_size=6,
        initializer_range=0.5,
    )
    return DogeForCausalLM(config).eval()


def recurrent():
    """Two recurrent layers: its kept state cannot be asked for a length."""
    torch.manual_seed(0)
    config = RecurrentGemmaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=2,
        lru_width=32,
        attention_window_size=16,
    )
    return RecurrentGemmaForCausalLM(config).eval()


@pytest.mark.parametrize("build", [doge, recurrent])
def test_without_kept_keys_where_these_choose_otherwise_or_cannot_be_kept(build):
    model = build()
    prompts = rows()[:4]
    expected = [loop(model, row, 12) for row in prompts]
    assert greedy(model, prompts, 12) == expected
    assert [greedy(model, [row], 12)[0] for row in prompts] == expected
    assert model in greedy_room._WITHOUT_CACHE


@pytest.mark.parametrize("build", [simple_mlp, gpt2, llama, mamba, lambda: llama().to(torch.bfloat16)])
def test_kept_keys_are_used_where_they_hold(build):
    model = build()
    greedy(model, rows(), 8)
    assert model not in greedy_room._WITHOUT_CACHE


@pytest.mark.parametrize(("apart", "holds"), [(0.5, True), (2.0, False)])
def test_kept_keys_hold_to_a_thousandth_of_what_logits_differ_by(apart, holds):
    """Of a model whose logits lie close together too."""
    model = llama()
    with torch.no_grad():
        model.lm_head.weight.mul_(0.05)
    ids = [3, 5, 7]
    made = torch.tensor([loop(model, ids, 3)])
    with torch.no_grad():
        last = model(torch.cat([torch.tensor([ids]), made[:, :-1]], 1)).logits[:, -1]
    read = greedy_room._Read([], made, last + apart * 1e-3 * last.std())
    assert greedy_room._holds(model, [ids], read) is holds


def test_what_a_family_makes_of_a_length_is_one_line(monkeypatch):
    model = llama()

    def fails(*_, **__):
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")

    monkeypatch.setattr(model.model, "forward", fails)
    with pytest.raises(
        RankOneError, match=r"LlamaForCausalLM cannot continue 2 tokens: upper bound .* another length"
    ):
        greedy(model, [[1, 2]], 3)


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(
    "full", [MemoryError(), RuntimeError("not enough memory: you tried to allocate 9 bytes")]
)
def test_memory_that_runs_out_is_said_as_such(monkeypatch, cached, full):
    """On a processor it has no class of its own; a model does not go on without kept keys for it."""
    model = llama()

    def fails(*_, **__):
        raise full

    monkeypatch.setattr(model.model, "forward", fails)
    if not cached:
        greedy_room._WITHOUT_CACHE.add(model)
    with pytest.raises(type(full)) as raised:
        greedy(model, [[1, 2]], 3)
    assert raised.value is full
    assert (model in greedy_room._WITHOUT_CACHE) == (not cached)
