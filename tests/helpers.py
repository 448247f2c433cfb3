"""Tiny random models for tests; every builder is deterministic in its seed."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from rankone.edits.lowrank import Factors, LowRankEdit
from rankone.models.simple_mlp import SimpleMLPConfig, SimpleMLPForCausalLM
from rankone.models.sites import find_sites
from rankone.models.tokenizer import train_tokenizer
from rankone.text.sources.builtin import BuiltinCorpus
from rankone.workspace import Workspace

VOCAB = 300


def simple_mlp(seed: int = 0, **overrides: int) -> SimpleMLPForCausalLM:
    """Two layers, width 24, MLP 40, 300 entries; every weight large enough to make logits differ."""
    sizes = {
        "vocab_size": VOCAB,
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 40,
        "max_position_embeddings": 64,
    }
    torch.manual_seed(seed)
    config = SimpleMLPConfig(
        **{**sizes, **overrides}, initializer_range=0.2, bos_token_id=0, eos_token_id=0, pad_token_id=0
    )
    return SimpleMLPForCausalLM(config).eval()


def gpt2(seed: int = 0, layers: int = 2) -> GPT2LMHeadModel:
    """A GPT-2: Conv1D weights, tied head."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=VOCAB,
        n_embd=24,
        n_layer=layers,
        n_head=3,
        n_positions=64,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config).eval()


def llama(seed: int = 0, layers: int = 2) -> LlamaForCausalLM:
    """A Llama with grouped queries and an untied head."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=24,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=40,
        max_position_embeddings=64,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config).eval()


def random_edit(
    model: PreTrainedModel, ranks: dict[str, int], seed: int = 0, size: float = 0.1
) -> LowRankEdit:
    """Random factors of the given rank per site pattern."""
    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for pattern, rank in ranks.items():
        for site in find_sites(model, [pattern]):
            write = torch.randn(site.d_out, rank, generator=generator) * size
            factors[site.name] = Factors(write, torch.randn(rank, site.d_in, generator=generator))
    return LowRankEdit(factors, description=f"random {seed}", method="test")


def probe(rows: int = 2, length: int = 12, seed: int = 0) -> Tensor:
    """Random token ids [rows, length]."""
    return torch.randint(1, VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


def tokenizer() -> PreTrainedTokenizerBase:
    """A byte-level tokenizer of 300 entries."""
    text = [
        "the cat sat on the mat and the dog sat on the log with a hat and a bat, the end of the tale"
    ] * 20
    return train_tokenizer(text, VOCAB, 64)


def snapshot(model: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(model: torch.nn.Module, before: dict[str, Tensor]) -> bool:
    """Whether every parameter is bit for bit what the snapshot holds."""
    return all(torch.equal(p, before[name]) for name, p in model.named_parameters())


class NoWords:
    """A tokenizer without entries, for models whose vocabulary has no words."""

    chat_template = None
    bos_token_id = eos_token_id = 0

    def __len__(self) -> int:
        return 0

    def get_vocab(self) -> dict[str, int]:
        return {}


def workspace(model, parts=None, words=None, corpus=None) -> Workspace:
    """A model with its parts; without a tokenizer unless one is given, beside the built-in text."""
    return Workspace(model, words or NoWords(), corpus or BuiltinCorpus(), parts)


def laddered(account, steps: tuple[int, ...]):
    """`account_on` with a short adversary, whatever the run asks for; `.func` is the whole one."""

    def quick(*given, **named):
        return account(*given, **{**named, "ladder": steps})

    quick.func = account
    return quick
