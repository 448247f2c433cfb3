"""Greedy text against an argmax over whole rows, whatever the checkpoint asks for."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import gpt2, llama, simple_mlp
from transformers import MambaConfig, MambaForCausalLM

from rankone.models.greedy import end_ids, greedy

PROMPT = [0, 5, 17, 5]


def mamba(seed=0):
    torch.manual_seed(seed)
    config = MambaConfig(
        vocab_size=300,
        hidden_size=24,
        state_size=4,
        num_hidden_layers=2,
        initializer_range=0.5,
        tie_word_embeddings=False,
    )
    return MambaForCausalLM(config).eval()


def by_argmax(model, ids, tokens):
    """One token at a time, the whole row read anew."""
    row = list(ids)
    for _ in range(tokens):
        with torch.no_grad():
            row.append(int(model(input_ids=torch.tensor([row])).logits[0, -1].argmax()))
    return row[len(ids) :]


def talkative(build, tokens):
    """The first random model that says different things, and what it says."""
    for seed in range(30):
        model = build(seed)
        expected = by_argmax(model, PROMPT, tokens)
        if len(set(expected)) > 1:
            return model, expected
    raise AssertionError("no seed will do")


@pytest.mark.parametrize("build", [simple_mlp, gpt2, llama, mamba])
def test_it_is_the_argmax_loop(build):
    model, expected = talkative(build, 12)
    assert greedy(model, [PROMPT], 12)[0] == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 5.0},
        {"num_beams": 4},
        {"no_repeat_ngram_size": 1},
        {"suppress_tokens": "most likely"},
        {"do_sample": True, "temperature": 9.0},
        {"forced_eos_token_id": 3},
    ],
)
def test_settings_of_the_checkpoint_change_nothing(settings):
    model, expected = talkative(llama, 8)
    if "suppress_tokens" in settings:
        settings = {"suppress_tokens": expected[:1]}
    for name, value in settings.items():
        setattr(model.generation_config, name, value)
    assert greedy(model, [PROMPT], 8)[0] == expected


def test_a_padding_token_in_the_prompt_is_seen():
    """pad = bos ≠ eos, and the prompt starts with it."""
    model = llama()
    model.generation_config.pad_token_id = model.config.pad_token_id = 0
    model.generation_config.eos_token_id = 7
    assert greedy(model, [PROMPT], 8)[0] == by_argmax(model, PROMPT, 8)


def test_it_stops_after_an_end():
    model, expected = talkative(llama, 8)
    end = expected[3]
    first = expected.index(end)
    assert greedy(model, [PROMPT], 8, {end})[0] == expected[: first + 1]
    assert greedy(model, [PROMPT], 1, {end})[0] == expected[:1]
    # An end in the prompt ends nothing.
    assert greedy(model, [[*PROMPT[:-1], end]], 2, {end})[0]


def test_ends_are_those_of_the_settings():
    model = llama()
    model.generation_config.eos_token_id = [3, 9]
    assert end_ids(model) == {3, 9}
    model.generation_config.eos_token_id = 0
    assert end_ids(model) == {0}
    model.generation_config.eos_token_id = None
    model.config.eos_token_id = 5
    assert end_ids(model) == {5}
    model.config.eos_token_id = None
    assert end_ids(model) == set()
