"""Attention of a step keeps its scores where rows are short."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from rankone.decomposition.training.passes import AT_ONCE, SHORT, Clean, attention, rows_at_once

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


@pytest.mark.parametrize(
    ("rows", "length", "found"),
    [
        (16, AT_ONCE // 8, 8),
        (6, AT_ONCE // 4, 3),  # four would fit, and do not divide six
        (7, AT_ONCE // 4, 1),
        (3, 2 * AT_ONCE, 1),
        (4, 8, 4),
    ],
)
def test_pieces_on_the_cpu_are_of_one_size_and_short(rows, length, found):
    assert rows_at_once(CPU, rows, length) == found
    assert rows_at_once(torch.device("cuda"), rows, length) == rows


def test_gradients_of_a_piece_go_to_the_whole():
    whole = Clean(torch.zeros(4, 1), [torch.zeros(4, 1)], torch.arange(4.0), torch.zeros(4))
    piece = whole.of(slice(1, 3))
    piece.to_logits.add_(piece.logits)
    assert whole.to_logits.tolist() == [0, 1, 2, 0]
    assert len(piece.output) == len(piece.hidden[0]) == 2
