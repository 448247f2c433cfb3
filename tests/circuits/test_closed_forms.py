"""Edges by the frozen rule against their closed forms, written out for each family in fp64.

What a matrix writes reaches what another reads through a norm with its scale held (residual), through the activation and
the product with the other half (MLP), or through the attention pattern of its head (values).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from tests.circuits.test_attribution import dense, drawn_edges, parts_of
from tests.helpers import probe as token_rows
from tests.models.families import FAMILIES
from torch import Tensor, nn

TOKENS, LATE, EARLY = 6, 4, 1
# Norms of Hugging Face's Llama and its kin compute in fp32 whatever the model is in.
BAR = 1e-6


@dataclass(frozen=True)
class Family:
    """Where a block has its matrices. writer → reads is the residual edge; norms lie on its way, in order."""

    blocks: str
    value: str
    out: str
    up: str
    down: str
    writer: tuple[int, str]
    norms: tuple[tuple[str, Callable[[nn.Module, Tensor, Tensor], Tensor]], ...]
    act: Callable[[Tensor], Tensor]
    by_head: Callable[[Tensor, int, int], Tensor]
    gate: str | None = None


def centred(norm: nn.Module, x: Tensor, write: Tensor) -> Tensor:
    """LayerNorm with its scale held."""
    scale = (x.var(unbiased=False) + norm.eps).rsqrt()  # pyright: ignore[reportOperatorIssue, reportAttributeAccessIssue]
    return (write - write.mean()) * scale * norm.weight  # pyright: ignore[reportOperatorIssue]


def rms(norm: nn.Module, x: Tensor, write: Tensor, more: float = 0.0) -> Tensor:
    """RMS norm with its scale held; Gemma's weight is what is added to one."""
    eps = getattr(norm, "variance_epsilon", None) or norm.eps
    return write * (x.square().mean() + eps).rsqrt() * (norm.weight + more)  # pyright: ignore[reportOperatorIssue, reportAttributeAccessIssue]


def grouped(u: Tensor, heads: int, width: int) -> Tensor:
    """What each query head takes of a value projection: that of its group."""
    kinds = u.view(-1, width)
    return kinds.repeat_interleave(heads // len(kinds), 0)


def last_third(u: Tensor, heads: int, width: int) -> Tensor:
    """Fused, queries, keys and values one after another (GPT-2)."""
    return u[2 * heads * width :].view(heads, width)


def interleaved(u: Tensor, heads: int, width: int) -> Tensor:
    """Fused, head by head (GPT-NeoX)."""
    return u.view(heads, 3, width)[:, 2]


def _llama_like(act: Callable[[Tensor], Tensor], norms: tuple) -> Family:
    return Family(
        *("model.layers", "self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"),
        (1, "self_attn.o_proj"),
        norms,
        act,
        grouped,
        gate="mlp.gate_proj",
    )


GEMMA = (
    ("post_attention_layernorm", partial(rms, more=1.0)),
    ("pre_feedforward_layernorm", partial(rms, more=1.0)),
)
TANH = partial(F.gelu, approximate="tanh")
FORMS = {
    "gpt2": Family(
        *("transformer.h", "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
        *((1, "attn.c_proj"), (("ln_2", centred),), TANH, last_third),
    ),
    "gpt_neox": Family(  # attention and MLP of a block side by side: the writer is of the block before
        *("gpt_neox.layers", "attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h"),
        *("mlp.dense_4h_to_h", (0, "attention.dense"), (("post_attention_layernorm", centred),), F.gelu),
        interleaved,
    ),
    "llama": _llama_like(F.silu, (("post_attention_layernorm", rms),)),
    "qwen3": _llama_like(F.silu, (("post_attention_layernorm", rms),)),
    "gemma2": _llama_like(TANH, GEMMA),
    "gemma3": _llama_like(TANH, GEMMA),
}


class Drawn:
    """A family's model with all edges by the frozen rule, what its norms read, and its attention patterns."""

    def __init__(self, name: str) -> None:
        self.form, self.model = FORMS[name], FAMILIES[name][0]().double()
        self.ids, self.parts = token_rows(1, TOKENS)[0], parts_of(self.model, 2)
        self.made, _, self.table, edges = drawn_edges(self.model, self.parts, self.ids, "frozen")
        self.matrix = dense(edges, len(self.table))
        self.at = {(n.place, n.position, n.number): i for i, n in enumerate(self.table)}
        self.block = self.model.get_submodule(self.form.blocks)[1]  # pyright: ignore[reportIndexIssue]
        self.read: dict[str, Tensor] = {}
        for norm, _ in self.form.norms:
            module = self.block.get_submodule(norm)
            module.register_forward_pre_hook(
                lambda _, given, norm=norm: self.read.update({norm: given[0][0]})
            )
        self.model.set_attn_implementation("eager")
        with torch.no_grad():
            said = self.model(input_ids=self.ids[None], output_attentions=True, use_cache=False)
        self.pattern = said.attentions[1][0].double()

    def site(self, path: str, block: int = 1) -> str:
        return f"{self.form.blocks}.{block}.{path}"

    def edge(self, target: str, j: int, source: str, i: int) -> float:
        return float(self.matrix[self.at[target, j, 0], self.at[source, i, 1]])

    def v(self, site: str) -> Tensor:
        """What the edge's target reads."""
        return self.parts.factors(site)[0][:, 0]

    def written(self, site: str, t: int) -> Tensor:
        """What the edge's source writes at a position, u times its activation."""
        read, write = self.parts.factors(site)
        return write[1] * (self.made.read(site)[t] @ read[:, 1])


def same(edge: float, terms: Tensor) -> bool:
    """Equal, of the sum of what is added up."""
    assert float(terms.abs().sum()) > 1e-4
    return abs(edge - float(terms.sum())) <= BAR * float(terms.abs().sum())


@pytest.fixture(scope="module", params=FORMS)
def drawn(request):
    return Drawn(request.param)


def test_from_the_residual_stream_through_norms(drawn):
    form = drawn.form
    block, matrix = form.writer
    writer, reader = drawn.site(matrix, block), drawn.site(form.gate or form.up)
    write = drawn.written(writer, LATE)
    for name, norm in form.norms:
        write = norm(drawn.block.get_submodule(name), drawn.read[name][LATE], write)
    assert same(drawn.edge(reader, LATE, writer, LATE), drawn.v(reader) * write)


def test_through_the_activation(drawn):
    form = drawn.form
    up, down = drawn.site(form.up), drawn.site(form.down)
    h = drawn.made.written(up)[LATE]
    if form.gate is None:
        terms = drawn.v(down) * form.act(h) / h * drawn.written(up, LATE)
        assert same(drawn.edge(down, LATE, up, LATE), terms)
        return
    gate = drawn.site(form.gate)
    g = drawn.made.written(gate)[LATE]
    # Half of a product of two live values goes to either.
    of_up = drawn.v(down) * form.act(g) * drawn.written(up, LATE) / 2
    of_gate = drawn.v(down) * form.act(g) / g * h * drawn.written(gate, LATE) / 2
    assert same(drawn.edge(down, LATE, up, LATE), of_up)
    assert same(drawn.edge(down, LATE, gate, LATE), of_gate)


def test_from_values_by_the_pattern_of_each_head(drawn):
    form = drawn.form
    value, out = drawn.site(form.value), drawn.site(form.out)
    heads = len(drawn.pattern)
    read = drawn.v(out).view(heads, -1)
    write = form.by_head(drawn.written(value, EARLY), heads, read.shape[1])
    terms = drawn.pattern[:, LATE, EARLY, None] * read * write
    assert same(drawn.edge(out, LATE, value, EARLY), terms)
