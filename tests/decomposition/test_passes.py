"""Attention of a step keeps its scores where rows are short."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from rankone.decomposition.passes import SHORT, attention

CPU = torch.device("cpu")


@pytest.mark.parametrize(("length", "name"), [(SHORT, "Bmm"), (SHORT + 1, "FlashAttention")])
def test_attention_of_short_rows_keeps_its_scores(length, name):
    q = torch.randn(1, 1, length, 8, requires_grad=True)
    with attention(CPU, length):
        out = scaled_dot_product_attention(q, q, q)
    nodes, names = [out.grad_fn], []
    while nodes:
        node = nodes.pop()
        if node is not None:
            names.append(type(node).__name__)
            nodes += [parent for parent, _ in node.next_functions]
    assert any(name in found for found in names), names
