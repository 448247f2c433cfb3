"""What reads and writes the residual stream, by the names of real architectures."""

from __future__ import annotations

import pytest
from tests.helpers import gpt2, llama, simple_mlp

from rankone.models.sites import find_sites
from rankone.models.streams import feeds, reads_residual, writes_residual

LLAMA = "model.layers.{}.{}"


@pytest.mark.parametrize(
    ("model", "leaves"),
    [
        (llama(), {"o_proj", "down_proj"}),
        (gpt2(), {"c_proj"}),
        (simple_mlp(), {"o_proj", "down_proj"}),
    ],
)
def test_writers_and_readers(model, leaves):
    sites = find_sites(model)
    writers = {s.name.rsplit(".", 1)[1] for s in sites if writes_residual(s.name, s.d_out, 24)}
    assert writers == leaves
    assert all(reads_residual(s.name, s.d_in, 24) != (s.name.rsplit(".", 1)[1] in leaves) for s in sites)


def test_what_feeds_what():
    model = llama()
    shapes = {s.name: (s.d_in, s.d_out) for s in find_sites(model)}

    def read_by(writer):
        return {r for r in shapes if feeds(writer, r, shapes, 24)}

    def layer(i, *names):
        return {LLAMA.format(i, n) for n in names}

    attention = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    mlp = ("mlp.up_proj", "mlp.gate_proj")
    (down, o, up, v, q) = (
        LLAMA.format(0, n)
        for n in ("mlp.down_proj", "self_attn.o_proj", "mlp.up_proj", "self_attn.v_proj", "self_attn.q_proj")
    )
    assert read_by(down) == layer(1, *attention, *mlp)
    assert read_by(o) == layer(0, *mlp) | layer(1, *attention, *mlp)
    assert read_by(up) == layer(0, "mlp.down_proj")
    assert read_by(q) == set()
    assert read_by(v) == set()  # grouped: its 12 dimensions are not the 24 that o_proj reads
    assert read_by(LLAMA.format(1, "mlp.down_proj")) == set()


def test_values_feed_the_attention_output():
    shapes = {s.name: (s.d_in, s.d_out) for s in find_sites(simple_mlp())}
    assert {r for r in shapes if feeds("h.0.attn.v_proj", r, shapes, 24)} == {"h.0.attn.o_proj"}
