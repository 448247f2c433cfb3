"""Forwards in bfloat16 on a CPU: products are rounded, attention is not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rankone.edits.fitting.passes.arithmetic import short_products

CPU = torch.device("cpu")


@pytest.fixture
def heads():
    return torch.randn(3, 2, 4, 5, 8, generator=torch.Generator().manual_seed(0))


def test_products_are_rounded_and_attention_is_exact(heads):
    exact = F.scaled_dot_product_attention(*heads, is_causal=True)
    with short_products(CPU, True):
        assert torch.equal(F.scaled_dot_product_attention(*heads, is_causal=True), exact)
        assert (heads[0] @ heads[1].transpose(-1, -2)).dtype == torch.bfloat16
        short = F.scaled_dot_product_attention(*heads.bfloat16(), is_causal=True)
    assert short.dtype == torch.bfloat16
    wide = F.scaled_dot_product_attention(*heads.bfloat16().float(), is_causal=True)
    assert torch.equal(short, wide.bfloat16())


def test_nothing_is_rounded_where_it_is_not_wanted(heads):
    with short_products(CPU, False):
        assert (heads[0] @ heads[1].transpose(-1, -2)).dtype == torch.float32


def test_attention_is_as_before_after_the_block(heads):
    with pytest.raises(RuntimeError, match="given"), short_products(CPU, True):
        raise RuntimeError("given")
    with torch.autocast("cpu", torch.bfloat16):
        assert F.scaled_dot_product_attention(*heads).dtype == torch.bfloat16
