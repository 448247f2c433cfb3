"""Specificity of what is read, against numbers made by hand and plain loops over positions."""

from __future__ import annotations

import math

import pytest
import torch
from tests.decomposition.evidence.texts import blocks
from tests.decomposition.tiny import decomposed, target

from rankone.core.errors import RankOneError
from rankone.decomposition.evidence import privileged_basis as p
from rankone.decomposition.evidence.reads import read_leaks, reads_of
from rankone.decomposition.evidence.records import BasisFigures, DomainBasis
from rankone.decomposition.model import DecomposedModel
from rankone.text.blocks import Blocks

# Two domains, two inputs; the first reads 4 and 1, the second 1 and 9 (squares), without correlation.
MOMENTS = torch.stack((torch.diag(torch.tensor([4.0, 1.0])), torch.diag(torch.tensor([1.0, 9.0]))))


def texts():
    """The five rows as two domains."""
    whole = blocks()
    return {"en": Blocks(whole.ids[:2], whole.valid[:2]), "de": Blocks(whole.ids[2:], whole.valid[2:])}


@pytest.fixture
def model():
    host = target()
    with DecomposedModel(host, decomposed(host)) as wrapped:
        yield wrapped


def test_specificity_by_hand():
    # Along the first input 2 against 1, along the second 1 against 3, along both √5 against √10.
    found = p.specificity(MOMENTS, torch.tensor([[1.0, 0.0, 1.0], [0.0, 5.0, 1.0]]))
    root = math.sqrt(0.5)
    torch.testing.assert_close(found, torch.tensor([[2.0, 1 / 3, root], [0.5, 3.0, 1 / root]]))


def test_a_direction_that_is_silent_everywhere_has_one():
    assert p.specificity(MOMENTS, torch.zeros(2, 1)).tolist() == [[1.0], [1.0]]


def test_the_highest_other_domain_counts():
    three = torch.cat((MOMENTS, 16 * torch.eye(2).unsqueeze(0)))
    assert p.specificity(three, torch.eye(2))[:, 0].tolist() == [0.5, 0.25, 2.0]


def test_closest_takes_the_matrix_and_not_its_sign_or_size():
    raw = torch.eye(2), torch.eye(2)
    ours = torch.tensor([[-3.0, 0.1], [0.2, 1.0]]), torch.tensor([[9.0, 0.0], [0.0, -0.1]])
    assert p.closest(ours, raw).tolist() == [0, 1]
    crossed = torch.tensor([[1.0], [0.9]]), torch.tensor([[0.0, 1.0]])
    assert p.closest(crossed, raw).tolist() == [1]


def test_contrast_directions_are_those_of_most_excess():
    assert p.contrast_reads(MOMENTS, 0, 1).abs().flatten().tolist() == [1.0, 0.0]
    assert p.contrast_reads(MOMENTS, 1, 1).abs().flatten().tolist() == [0.0, 1.0]


def test_top_by_importance_and_by_lead():
    importance = torch.tensor([[0.9, 0.5, 0.1], [0.9, 0.1, 0.0]])
    assert p.top_parts(importance, 0, "importance", 2).tolist() == [0, 1]
    assert p.top_parts(importance, 0, "lead", 2).tolist() == [1, 2]


def test_kinds_of_sites():
    found = p.kinds_of(["h.0.attn.q_proj", "h.0.mlp.c_fc", "h.1.attn.q_proj"])
    assert found == {"attention": [0, 2], "q_proj": [0, 2], "mlp": [1], "c_fc": [1]}


@pytest.mark.parametrize("name", ["h.0.mlp.c_fc", "h.0.mlp.down_proj", "h.0.attn.v_proj", "h.0.attn.o_proj"])
def test_raw_parts_add_up_to_the_weight(model, name):
    weight = model.modules[model.decomposition.sites.index(name)].matrix()
    read, write = p.raw_parts(name, weight)
    torch.testing.assert_close((read @ write).T, weight)
    one_hot = read if name.endswith(("down_proj", "o_proj")) else write
    assert (one_hot == torch.eye(len(one_hot))).all()


def test_reads_are_those_of_a_plain_loop(model):
    found, decomposition = reads_of(model, texts()), model.decomposition
    own = texts()["de"]
    _, inputs = model.clean(own.ids)
    g = decomposition.logits(inputs, own.present).clamp(0, 1)
    at = decomposition.sites.index("h.0.mlp.down_proj")
    real = [(row, t) for row in range(len(own.ids)) for t in range(own.ids.shape[1]) if own.present[row, t]]
    moment = sum(torch.outer(inputs[at][r, t], inputs[at][r, t]) for r, t in real) / len(real)
    torch.testing.assert_close(found.moments[at][1], moment)
    torch.testing.assert_close(found.importance[1], sum(g[r, t] for r, t in real) / len(real))


def test_the_leak_is_what_inactive_parts_write(model):
    reads, decomposition = reads_of(model, texts()), model.decomposition
    at, name = 0, decomposition.sites[0]
    read, write = decomposition.factors(name)
    written = output = 0.0
    for own in texts().values():
        _, inputs = model.clean(own.ids)
        g = decomposition.logits(inputs, own.present).clamp(0, 1).split(decomposition.counts, -1)[at]
        for r, t in own.present.nonzero().tolist():
            x = inputs[at][r, t]
            written += sum(
                ((1 - g[r, t, c]) * (x @ read[:, c]) * write[c]).square().sum() for c in range(len(write))
            )
            output += (model.modules[at].matrix() @ x).square().sum()
    assert read_leaks(decomposition, reads)[0].model_dump() == {
        "site": name,
        "share": pytest.approx((written / output).item()),
    }


def test_an_aligned_start_is_its_own_basis(model):
    found = p.privileged_basis(model, texts())
    assert {row.domain for row in found.rows} == {"en", "de"}
    for row in found.kinds:
        assert row.ratio_by_importance == pytest.approx(1, rel=1e-4)
        assert row.ratio_by_lead == pytest.approx(1, rel=1e-4)


def test_the_summary_is_a_geometric_mean():
    ones = dict.fromkeys(BasisFigures.model_fields, 1.0)
    rows = [
        DomainBasis(kind="mlp", domain=domain, **{**ones, "best_raw": value})
        for domain, value in (("de", 2.0), ("fr", 8.0))
    ]
    (row,) = p.summary(rows)
    assert row.model_dump() == {"kind": "mlp", **ones, "best_raw": pytest.approx(4.0)}


def test_one_domain_is_refused(model):
    with pytest.raises(RankOneError, match="two or more"):
        p.privileged_basis(model, {"de": texts()["de"]})
