"""The context of a pass: bf16 by wish, and attention that keeps its scores where rows are short."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from rankone.decomposition.passes import SHORT, precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("autocast", [True, False])
def test_products_are_in_half_precision_where_asked(autocast):
    a = torch.ones(2, 2)
    with precision(CPU, autocast, 4):
        found = a @ a
    assert found.dtype == (torch.bfloat16 if autocast else torch.float32)
    assert (a @ a).dtype == torch.float32


@pytest.mark.parametrize(("length", "name"), [(SHORT, "Bmm"), (SHORT + 1, "FlashAttention")])
def test_attention_of_short_rows_keeps_its_scores(length, name):
    q = torch.randn(1, 1, length, 8, requires_grad=True)
    with precision(CPU, False, length):
        out = scaled_dot_product_attention(q, q, q)
    nodes, names = [out.grad_fn], []
    while nodes:
        node = nodes.pop()
        if node is not None:
            names.append(type(node).__name__)
            nodes += [parent for parent, _ in node.next_functions]
    assert any(name in found for found in names), names
