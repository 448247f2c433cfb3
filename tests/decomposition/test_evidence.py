"""The evidence table against plain loops, and what must not count."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.decomposition.tiny import TINY_VOCAB, decomposed, target

from rankone.decomposition import evidence
from rankone.decomposition.evidence import (
    EvidenceText,
    adversarial_rows,
    gather_evidence,
    masking_rows,
    sparsity,
)
from rankone.decomposition.model import DecomposedModel
from rankone.text.blocks import Blocks

LENGTHS = [6, 4, 6, 2, 5]  # real positions of each row, the BOS among them
LONGEST = max(LENGTHS)


def blocks(padding=0):
    ids = torch.randint(1, TINY_VOCAB, (5, LONGEST), generator=torch.Generator().manual_seed(4))
    valid = torch.arange(LONGEST) < torch.tensor(LENGTHS)[:, None]
    ids = torch.where(valid, ids, padding)
    ids[:, 0], valid[:, 0] = 0, False
    return Blocks(ids, valid)


def evidence_text(kind="aligned", padding=0):
    """Evidence on five rows; the wrapped model stays wrapped, since the test drops it anyway."""
    model = target()
    wrapped = DecomposedModel(model, decomposed(model, kind)).__enter__()
    return EvidenceText(wrapped, blocks(padding))


def plain_scores(text, logits):
    """Mean CE and KL, position by position."""
    ce, kl = [], []
    for row, length in enumerate(LENGTHS):
        for t in range(length):
            p, q = (F.log_softmax(x[row, t].double(), -1) for x in (text.clean, logits))
            kl.append((p.exp() * (p - q)).sum().item())
            if t + 1 < length:
                ce.append(-F.log_softmax(logits[row, t].double(), -1)[text.ids[row, t + 1]].item())
    return {"ce": sum(ce) / len(ce), "kl": sum(kl) / len(kl)}


def by_name(rows):
    return {(row["masking"], row["delta"]): row for row in rows}


def approximately(scores):
    return {k: pytest.approx(v, rel=1e-4, abs=1e-6) for k, v in scores.items()}


def test_scores_are_means_over_scored_tokens_and_real_positions():
    text = evidence_text("random")
    mask = torch.rand(text.importance.shape)
    delta = torch.rand(5, LONGEST, len(text.model.decomposition.sites))
    found = text.measure(lambda rows: (mask[rows], delta[rows]))
    with torch.no_grad():
        logits = text.model.masked(text.ids, mask, delta)
    assert found == approximately(plain_scores(text, logits))


def test_rows_are_measured_in_parts_with_the_same_result(monkeypatch):
    text = evidence_text("random")
    source = torch.rand(text.importance.shape[-1])
    whole = by_name(masking_rows(text)), evidence._source_gradient(text, source, False)
    monkeypatch.setattr(evidence, "ROWS_AT_ONCE", 2)
    text = evidence_text("random")
    assert len(text.parts()) == 3
    parts = by_name(masking_rows(text)), evidence._source_gradient(text, source, False)
    for name, row in whole[0].items():
        if name[0] != "stochastic":  # drawn part by part
            assert row["kl"] == pytest.approx(parts[0][name]["kl"], rel=1e-4, abs=1e-6), name
            assert row["ce"] == pytest.approx(parts[0][name]["ce"], rel=1e-4), name
    torch.testing.assert_close(whole[1], parts[1], rtol=0.05, atol=1e-4)


def test_each_masking_is_what_its_name_says():
    text = evidence_text()
    text.importance = torch.rand(text.importance.shape).sub(0.3).clamp(min=0)
    g, rows = text.importance, by_name(masking_rows(text))
    masks = {
        "unmasked": torch.ones_like(g),
        "CI as mask": g,
        "rounded > 0": (g > 0).float(),
        "rounded > 0.1": (g > 0.1).float(),
        "rounded > 0.5": (g > 0.5).float(),
        "zero": torch.zeros_like(g),
    }
    for name, mask in masks.items():
        with torch.no_grad():
            expected = plain_scores(text, text.model.masked(text.ids, mask))
        assert {k: rows[name, False][k] for k in ("ce", "kl")} == approximately(expected), name
    clean = {k: rows["target", None][k] for k in ("ce", "kl")}
    assert clean == approximately({**plain_scores(text, text.clean), "kl": 0.0})
    assert len(rows) == len(masks) + 3
    assert {delta for name, delta in rows if name == "stochastic"} == {False, True}


def test_an_aligned_start_is_exact_unmasked_and_worst_with_nothing():
    text = evidence_text()
    text.importance = torch.full_like(text.importance, 0.8)
    rows = by_name(masking_rows(text))
    assert rows["unmasked", False]["kl"] < 1e-6
    assert rows["unmasked", False]["ce"] == pytest.approx(rows["target", None]["ce"], abs=1e-4)
    zero = rows.pop(("zero", False))["kl"]
    assert all(row["kl"] < 0.5 * zero for row in rows.values())


def test_delta_on_carries_what_the_factors_lack():
    """With factors far from W, a stochastic delta is nearer than none."""
    rows = by_name(masking_rows(evidence_text("random")))
    assert rows["unmasked", False]["kl"] > 0.01
    assert rows["stochastic", True]["kl"] != rows["stochastic", False]["kl"]


def plain_pgd(text, steps, delta):
    """KL after `steps` ascents of one vector shared over all positions: signed gradient, step .1, clamp."""
    decomposition, g = text.model.decomposition, text.importance
    total, sites = decomposition.total, len(decomposition.sites)
    source = torch.rand(total + sites * delta, generator=torch.Generator().manual_seed(0))

    def divergence(vector):
        own = vector[total:].expand(5, LONGEST, -1) if delta else None
        logits = text.model.masked(text.ids, g + (1 - g) * vector[:total], own)
        log_p, log_q = (F.log_softmax(x.float(), -1) for x in (text.clean, logits))
        return F.kl_div(log_q, log_p, log_target=True, reduction="none").sum(-1)[text.present].mean()

    for _ in range(steps):
        leaf = source.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            loss = divergence(leaf)
        (gradient,) = torch.autograd.grad(loss, leaf)
        source = (source + 0.1 * gradient.sign()).clamp(0, 1)
    return divergence(source).item()


@pytest.mark.parametrize("delta", [False, True])
def test_the_ladder_gives_the_last_iterate_of_one_trajectory(delta):
    # An aligned start has no delta to speak of: its sources would climb rounding errors.
    text = evidence_text("random" if delta else "aligned")
    ladder = (1, 3, 6)
    rows = adversarial_rows(text, ladder, delta)
    assert [row["masking"] for row in rows] == [f"adversarial, {n} PGD steps" for n in ladder]
    assert {row["delta"] for row in rows} == {delta}
    for row, steps in zip(rows, ladder, strict=True):
        assert row["kl"] == pytest.approx(plain_pgd(text, steps, delta), rel=0.02), steps
    assert rows[0]["kl"] < rows[1]["kl"] < rows[2]["kl"]


def test_an_adversary_has_no_say_where_the_importance_is_one():
    text = evidence_text()
    text.importance = torch.ones_like(text.importance)
    assert adversarial_rows(text, (2,), delta=False)[0]["kl"] < 1e-6


def test_a_longer_ladder_does_not_change_its_shorter_steps():
    text = evidence_text()
    short, long = adversarial_rows(text, (2,), False), adversarial_rows(text, (2, 4), False)
    assert short[0] == long[0]


def test_padding_does_not_count():
    """Other tokens after the end of a row change no number."""
    results = []
    for padding in (0, 17):
        text = evidence_text("random", padding)
        rows = masking_rows(text) + adversarial_rows(text, (2,), True)
        results.append((by_name(rows), sparsity(text)))
    for name, row in results[0][0].items():
        assert row["kl"] == pytest.approx(results[1][0][name]["kl"], rel=1e-3, abs=1e-6), name
        assert row["ce"] == pytest.approx(results[1][0][name]["ce"], rel=1e-3), name
    assert results[0][1] == results[1][1]


def test_l0_and_alive_by_hand():
    text = evidence_text()
    sites, counts = text.model.decomposition.sites, text.model.decomposition.counts
    assert counts == [8, 8, 8, 8, 12, 12]
    positions = sum(LENGTHS)
    g = torch.zeros_like(text.importance)
    g[0, 0, 0] = g[2, 5, 0] = 0.5  # fires at two positions
    g[0, 1, 1] = 1e-8  # fires once, but its mean importance is below 1e-6
    g[..., 9] = 1.0  # fires everywhere, in the second site
    g[3, 4, 10] = 1.0  # only on padding
    g[4, 3, 55] = 0.3  # the last one, in the last site
    text.importance = g
    found = sparsity(text, {s: 100 for s in sites})
    assert found["l0_total"] == pytest.approx((2 + 1 + positions + 1) / positions)
    assert found["alive_total"] == 3
    assert (found["kept"], found["subcomponents"]) == (56, 600)
    per_site = {row["site"]: row for row in found["per_site"]}
    assert [per_site[s]["alive"] for s in sites] == [1, 1, 0, 0, 0, 1]
    assert [per_site[s]["kept"] for s in sites] == counts
    assert per_site[sites[0]]["l0"] == pytest.approx(3 / positions)
    assert per_site[sites[1]]["l0"] == pytest.approx(1.0)
    assert found["per_layer"] == [
        {"layer": "0", "l0": pytest.approx(found["l0_total"]), "alive": 3, "subcomponents": 600}
    ]
    assert sparsity(text)["subcomponents"] == 56


def test_the_whole_evidence():
    model = target()
    decomposition = decomposed(model, "random")
    lacks = []
    for site in decomposition.sites:
        weight = model.get_submodule(site).weight.detach().double()
        read, write = (p.double() for p in decomposition.factors(site))
        lacks.append((weight, weight - (read @ write).T))
    with DecomposedModel(model, decomposition) as wrapped:
        found = gather_evidence(wrapped, blocks(), (1, 2))
    error = sum(d.square().sum() for _, d in lacks)
    assert found["faithfulness"] == pytest.approx((error / sum(w.numel() for w, _ in lacks)).item(), rel=1e-4)
    share = error / sum(w.square().sum() for w, _ in lacks)
    assert found["delta_norm_share"] == pytest.approx(share.item(), rel=1e-4)
    assert found["tokens"] == sum(LENGTHS)
    assert len(found["rows"]) == 9 + 2 * 2
    assert found["adversary"]["ladder"] == [1, 2]
    assert all(p.grad is None for p in model.parameters())
