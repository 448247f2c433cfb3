"""The three forwards give one number: that of the changed weights, position by position, with its gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.decomposition.tiny import decomposed
from tests.helpers import gpt2, llama, probe, same, simple_mlp, snapshot
from torch.func import functional_call

from rankone.edits.fitting.passes.choose import forward_of
from rankone.edits.fitting.passes.last_write import LastWriteForward
from rankone.edits.fitting.passes.late import LateForward
from rankone.edits.fitting.passes.untouched import _by_row
from rankone.edits.fitting.passes.whole import WholeForward
from rankone.edits.methods.lora import Lora
from rankone.edits.scales import Scales
from rankone.metrics.top_tokens import top_tokens

LAST, MIDDLE = ["h.1.mlp.down_proj"], ["h.0.mlp.c_fc", "h.1.attn.o_proj"]
PARTS = {
    "h.1.mlp.down_proj": "h.1.mlp.down_proj:3",
    "h.0.mlp.c_fc": "h.0.mlp.c_fc:5",
    "h.1.attn.o_proj": "h.1.attn.o_proj:2",
}


@pytest.fixture(scope="module")
def model():
    made = simple_mlp()
    with torch.no_grad():  # as of a trained model: a gain of ones hides what is done with it
        made.ln_f.weight.copy_(torch.linspace(0.5, 1.5, made.ln_f.weight.numel()))
    return made


@pytest.fixture(scope="module")
def ids():
    return probe(3, 7)


def method_of(model, kind, sites):
    """(method, parameters of two runs away from their start)."""
    if kind == "scales":
        method = Scales(decomposed(model, "random"), [PARTS[site] for site in sites])
        return method, {"alpha": torch.tensor([[-4.0] * len(sites), [2.5] * len(sites)])}
    method = Lora(model, list(sites), rank=2)
    generator = torch.Generator().manual_seed(0)
    start = {k: p.detach() for k, p in method.start(2, [0, 1]).items()}
    return method, {k: p + 0.05 * torch.randn(p.shape, generator=generator) for k, p in start.items()}


def by_weights(model, method, parameters, ids, rows, following):
    """The cross-entropies [runs, rows, t] of models whose weights are changed."""
    found = []
    with torch.no_grad():
        odds = model(ids[rows]).logits.softmax(-1)
        for run in range(2):
            edit = method.edit(parameters, run)
            weights = {
                f"{s}.weight": model.get_submodule(s).weight + f.write @ f.read
                for s, f in edit.factors.items()
            }
            logits = functional_call(model, weights, (ids[rows],)).logits
            targets = F.one_hot(ids[rows].roll(-1, 1), logits.shape[-1]).float() if following else odds
            found.append(-(targets * logits.log_softmax(-1)).sum(-1))
    return torch.stack(found)


FORWARDS = [
    (WholeForward, LAST),
    (LateForward, LAST),
    (LastWriteForward, LAST),
    (WholeForward, MIDDLE),
    (LateForward, MIDDLE),
]


def made(kind, model, sites, ids):
    return WholeForward(model) if kind is WholeForward else kind(model, sites, "lm_head", ids[:2, :4])


def test_what_is_kept_of_a_module_is_one_tensor_by_row_and_position(ids):
    by_row = torch.zeros(*ids.shape, 5)
    assert _by_row(by_row, ids)
    assert _by_row((by_row, None), ids)
    assert not any(
        _by_row(gave, ids) for gave in ((by_row, by_row), (by_row, None, by_row), (), by_row[0], None)
    )


@pytest.mark.parametrize(("forward", "sites"), FORWARDS)
def test_where_some_positions_are_asked_for_these_are_as_in_all(model, ids, forward, sites):
    method, parameters = method_of(model, "lora", sites)
    passes = made(forward, model, sites, ids)
    text, rows = passes.prepare(ids), torch.tensor([[2, 0]])
    scored = torch.zeros(1, 2, ids.shape[1], dtype=torch.bool)
    scored[0, 0, 1:3], scored[0, 1, -1] = True, True
    with torch.no_grad():
        every = passes.each(text, rows, method, parameters)
        some = passes.each(text, rows, method, parameters, scored)
        own = passes.each(text, rows.expand(2, -1), method, parameters, scored.expand(2, -1, -1))
    where = scored.expand_as(every)
    torch.testing.assert_close(some[where], every[where], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(own[where], every[where], rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("error:An output with one or more elements was resized")
@pytest.mark.parametrize("following", [False, True])
@pytest.mark.parametrize("kind", ["scales", "lora"])
@pytest.mark.parametrize(("forward", "sites"), FORWARDS)
def test_every_forward_equals_the_changed_weights(model, ids, forward, sites, kind, following):
    before = snapshot(model)
    method, parameters = method_of(model, kind, sites)
    passes = made(forward, model, sites, ids)
    text, rows = passes.prepare(ids, following), torch.tensor([2, 0])
    expected = by_weights(model, method, parameters, ids, rows, following)
    shared = rows.unsqueeze(0)
    with torch.no_grad():
        torch.testing.assert_close(
            passes.each(text, shared, method, parameters), expected, rtol=1e-5, atol=1e-5
        )
        own = passes.each(text, torch.tensor([[2, 0], [1, 2]]), method, parameters)
        other = by_weights(model, method, parameters, ids, torch.tensor([1, 2]), following)
    torch.testing.assert_close(own, torch.stack([expected[0], other[1]]), rtol=1e-5, atol=1e-5)
    assert same(model, before)


@pytest.mark.parametrize("kind", ["scales", "lora"])
@pytest.mark.parametrize("sites", [LAST, MIDDLE])
@pytest.mark.parametrize("shared", [True, False])
def test_weighted_sums_and_their_gradients_are_those_of_whole_logits(model, ids, kind, sites, shared):
    method, parameters = method_of(model, kind, sites)
    index = torch.tensor([[2, 0]] if shared else [[2, 0], [1, 2]])
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(len(index), 2, ids.shape[1], generator=generator)
    found = []
    for forward in [f for f, its in FORWARDS if its is sites]:
        passes = made(forward, model, sites, ids)
        leaves = {k: p.clone().requires_grad_(True) for k, p in parameters.items()}
        sums = passes.weighted(passes.prepare(ids), index, weights, method, leaves)
        # Unlike weights, so that a gradient of one run in another would show.
        gradients = torch.autograd.grad((sums * torch.tensor([1.0, 3.0])).sum(), list(leaves.values()))
        found.append((sums.detach(), gradients))
    (sums, gradients), *others = found
    for other_sums, other_gradients in others:
        torch.testing.assert_close(other_sums, sums, rtol=1e-5, atol=1e-5)
        for one, other in zip(gradients, other_gradients, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["scales", "lora"])
def test_cross_entropies_at_positions_have_gradients(model, ids, kind):
    method, parameters = method_of(model, kind, LAST)
    gradients = []
    for forward in (WholeForward, LateForward, LastWriteForward):
        passes = made(forward, model, LAST, ids)
        leaves = {k: p.clone().requires_grad_(True) for k, p in parameters.items()}
        losses = passes.each(passes.prepare(ids), torch.tensor([[2, 0]]), method, leaves)
        gradients.append(torch.autograd.grad(losses.relu().sum(), list(leaves.values())))
    for others in gradients[1:]:
        for one, other in zip(gradients[0], others, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("following", [False, True])
def test_an_unembedding_with_a_bias(ids, following):
    model = simple_mlp()
    model.lm_head = torch.nn.Linear(24, 300)
    torch.nn.init.normal_(model.lm_head.bias)
    method, parameters = method_of(model, "lora", LAST)
    index = torch.tensor([[2, 0]])
    late, whole = made(LateForward, model, LAST, ids), WholeForward(model)
    with torch.no_grad():
        found, plain = (f.each(f.prepare(ids, following), index, method, parameters) for f in (late, whole))
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)


def test_of_many_positions_the_top_tokens_are_kept_and_the_others_as_one(model, ids, monkeypatch):
    monkeypatch.setattr("rankone.edits.fitting.passes.whole.PROBABILITIES", 0)
    monkeypatch.setattr("rankone.edits.fitting.passes.whole.top_tokens", lambda logits: top_tokens(logits, 5))
    with torch.no_grad():
        odds = model(ids).logits.softmax(-1)
    top = odds.topk(5, dim=-1).values
    coarse = torch.cat([top, 1 - top.sum(-1, keepdim=True)], dim=-1)
    torch.testing.assert_close(
        WholeForward(model).prepare(ids).entropy, -(coarse * coarse.log()).sum(-1), rtol=1e-4, atol=1e-5
    )


def test_the_entropy_is_that_of_the_base(model, ids):
    with torch.no_grad():
        log_probs = model(ids).logits.log_softmax(-1)
    expected = -(log_probs.exp() * log_probs).sum(-1)
    for passes in (WholeForward(model), forward_of(model, MIDDLE, ids), forward_of(model, LAST, ids)):
        torch.testing.assert_close(passes.prepare(ids).entropy, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["scales", "lora"])
@pytest.mark.parametrize("index", [[[2, 0]], [[2, 0], [1, 2]]])
def test_pieces_and_logits_that_are_not_kept_change_nothing(model, ids, monkeypatch, kind, index):
    method, parameters = method_of(model, kind, LAST)
    passes = made(LastWriteForward, model, LAST, ids)
    own, weights = torch.tensor(index), torch.ones(len(index), 2, ids.shape[1])
    whole = passes.weighted(passes.prepare(ids), own, weights, method, parameters)
    for name, value in (("KEPT", 0), ("positions_at_once", lambda *_: 3)):
        monkeypatch.setattr(f"rankone.edits.fitting.passes.last_write.{name}", value)
        text = passes.prepare(ids)
        torch.testing.assert_close(passes.weighted(text, own, weights, method, parameters), whole)
        assert text.raw is None


def test_the_cheapest_forward_that_holds_is_chosen(model, ids):
    assert type(forward_of(model, LAST, ids)) is LastWriteForward
    assert type(forward_of(model, MIDDLE, ids)) is LateForward
    # An edit of the unembedding itself leaves no last layer to hold back.
    assert type(forward_of(model, ["lm_head"], ids)) is WholeForward


def test_what_an_edit_cannot_reach_is_kept(model, ids):
    late = forward_of(model, ["h.1.attn.o_proj"], ids)
    assert late.plan.before == ("h.0",)
    assert late.plan.ready == ("h.1.attn.o_proj",)
    assert late.plan.beside == ("h.1.rms_1", "h.1.attn.q_proj", "h.1.attn.k_proj", "h.1.attn.v_proj")
    first = forward_of(model, ["h.0.attn.q_proj", "h.0.attn.v_proj", "h.0.mlp.c_fc"], ids)
    assert first.plan.before == ()
    assert first.plan.ready == ("h.0.attn.q_proj", "h.0.attn.v_proj")


def test_blocks_before_the_first_site_do_not_run_again(model, ids):
    method, parameters = method_of(model, "scales", ["h.1.attn.o_proj"])
    passes = forward_of(model, ["h.1.attn.o_proj"], ids)
    text, ran = passes.prepare(ids), []
    handle = model.h[0].register_forward_hook(lambda *_: ran.append(0))
    inner = model.h[1].attn.q_proj.register_forward_hook(lambda *_: ran.append(1))
    passes.each(text, torch.tensor([[0]]), method, parameters)
    handle.remove()
    inner.remove()
    assert ran == []


@pytest.mark.parametrize(
    ("family", "site", "expected"),
    [
        (llama, "model.layers.1.mlp.down_proj", LastWriteForward),
        (llama, "model.layers.1.self_attn.v_proj", LateForward),
        # A layer norm takes the mean out, so that the closed form does not hold.
        (gpt2, "transformer.h.1.mlp.c_proj", LateForward),
        (gpt2, "transformer.h.0.attn.c_attn", LateForward),
    ],
)
def test_other_families(ids, family, site, expected):
    model = family()
    method = Lora(model, [site], rank=1)
    parameters = {k: p.detach() + 0.05 for k, p in method.start(2, [0, 1]).items()}
    passes, index = forward_of(model, [site], ids), torch.tensor([[1, 2]])
    assert type(passes) is expected
    assert passes.plan.kept
    whole = WholeForward(model)
    with torch.no_grad():
        found, plain = (f.each(f.prepare(ids), index, method, parameters) for f in (passes, whole))
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["scales", "lora"])
@pytest.mark.parametrize(("forward", "sites"), [(LateForward, MIDDLE), (LastWriteForward, LAST)])
def test_runs_of_unlike_width_are_computed_no_further_than_they_are_scored(
    forward, sites, kind, model, ids, monkeypatch
):
    """One run is scored at its first two positions, the other at all: values and gradients are those of all positions."""
    monkeypatch.setattr("rankone.edits.fitting.passes.shares.FORWARD", 0)
    method, start = method_of(model, kind, sites)
    way = made(forward, model, sites, ids)
    text, index = way.prepare(ids), torch.tensor([[0], [2]])
    weights = torch.zeros(2, 1, ids.shape[1])
    weights[0, 0, 1], weights[1, 0] = 0.5, 0.25
    read, run = [], way._run
    monkeypatch.setattr(way, "_run", lambda rows: read.append(rows.shape[1]) or run(rows))

    def gradients(loss):
        parameters = {k: p.clone().requires_grad_(True) for k, p in start.items()}
        value = loss(parameters)
        return value.detach(), torch.autograd.grad(value.sum(), list(parameters.values()))

    ours = gradients(lambda p: way.weighted(text, index, weights, method, p))
    if forward is LateForward:
        assert read == [2, ids.shape[1]]
    theirs = gradients(lambda p: (way.each(text, index, method, p) * weights).sum((1, 2)))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        some = way.each(text, index, method, start, weights != 0)
        torch.testing.assert_close(some[weights != 0], way.each(text, index, method, start)[weights != 0])
