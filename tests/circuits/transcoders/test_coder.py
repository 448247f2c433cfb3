"""A transcoder by hand: what is kept of a batch, what is written, what a step keeps of norms."""

from __future__ import annotations

import pytest
import torch

from rankone.circuits.transcoders.coder import Transcoder, smallest_kept
from rankone.circuits.transcoders.codes import Codes, Pattern, read_codes
from rankone.circuits.transcoders.config import CoderConfig, TranscodersConfig
from rankone.circuits.transcoders.judging.jacobians import jacobian_cosine
from rankone.circuits.transcoders.judging.similarity import alike
from rankone.circuits.transcoders.losses import local_losses
from rankone.circuits.transcoders.places import Mlp
from rankone.core.errors import RankOneError

RAW = torch.tensor([[5.0, 1.0, 0.0], [4.0, 3.0, 2.0]])


def coder(reach="per-layer", latents=3, k=1, layers=2, width=2):
    return Transcoder(CoderConfig(reach=reach, latents=latents, k=k), layers, width)


def reading_itself(k=1):
    """A coder whose latents are what it reads."""
    made = coder(k=k, width=3)
    with torch.no_grad():
        made.encoder[0] = torch.eye(3)
    return made


def table(codes):
    return codes.written(torch.eye(codes.pattern.shape[1])).tolist()


def test_a_batch_keeps_its_largest_whichever_token_they_are_of():
    assert table(reading_itself().codes(0, RAW)) == [[5.0, 0.0, 0.0], [4.0, 0.0, 0.0]]
    assert table(reading_itself(2).codes(0, RAW)) == [[5.0, 0.0, 0.0], [4.0, 3.0, 2.0]]
    assert table(reading_itself(3).codes(0, RAW)) == RAW.tolist()
    assert table(reading_itself(3).codes(0, -RAW)) == [[0.0] * 3] * 2
    assert reading_itself(2).codes(0, RAW).fired().tolist() == [True, True, True]
    assert reading_itself(1).codes(0, RAW).fired().tolist() == [True, False, False]


@pytest.mark.parametrize("k", [1, 5, 40, 199, 200])
def test_the_guess_at_what_is_kept_changes_nothing(k):
    drawn = torch.randn(500, 200, generator=torch.Generator().manual_seed(k)).sub(0.5)
    ordered = torch.cat([drawn.flatten().sort().values, drawn.new_zeros(200)]).view(-1, 200)
    for read in (drawn, drawn.relu(), ordered, ordered.flip(0), torch.ones(501, 200)):
        tiny = torch.finfo(read.dtype).tiny
        wanted = read.flatten().sort(descending=True).values[k * len(read) - 1].clamp_min(tiny)
        assert float(smallest_kept(read, k)) == (float(wanted) if k < 200 else tiny)


def test_a_threshold_judges_each_token_alone():
    made = reading_itself()
    with pytest.raises(RankOneError, match="no threshold yet"):
        made.codes(0, RAW, "threshold")
    made.threshold[0] = 2.5
    assert table(made.codes(0, RAW, "threshold")) == [[5.0, 0.0, 0.0], [4.0, 3.0, 0.0]]


def test_gradients_over_what_is_kept_are_those_of_the_whole_table():
    draw = torch.Generator().manual_seed(0)
    x, encoder, bias, decoder = (
        torch.randn(*size, generator=draw, dtype=torch.float64).requires_grad_()
        for size in ((7, 4), (9, 4), (9,), (9, 5))
    )
    read = x @ encoder.T + bias
    chosen = read > 0.8
    chosen[2] = False  # a token that keeps none
    wanted = (read * chosen) @ decoder
    said = read_codes(x, encoder, bias, read, chosen).written(decoder)
    torch.testing.assert_close(said, wanted)
    weights = torch.randn(7, 5, generator=draw, dtype=torch.float64)
    given = (x, encoder, bias, decoder)
    for a, b in zip(
        torch.autograd.grad((said.square() * weights).sum(), given),
        torch.autograd.grad((wanted.square() * weights).sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    nothing = read_codes(x, encoder, bias, read, torch.zeros_like(chosen)).written(decoder)
    assert not any(g.any() for g in torch.autograd.grad(nothing.sum(), given))


def test_what_is_written_is_a_layers_own_or_that_of_all_before_it():
    tables = [torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[0.0, 3.0, 0.0]])]
    codes = [Codes(Pattern.of(one > 0), one[one > 0]) for one in tables]
    for reach in ("per-layer", "cross-layer"):
        made = coder(reach)
        with torch.no_grad():
            made.decoder_bias[1] = torch.tensor([10.0, 0.0])
        wanted = tables[1] @ made.decoders[1][0] + torch.tensor([10.0, 0.0])
        if reach == "cross-layer":
            wanted = wanted + tables[0] @ made.decoders[0][1]
        torch.testing.assert_close(made.output(1, codes), wanted)
    assert (coder("cross-layer").active_per_output(), coder().active_per_output()) == (1.5, 1.0)
    assert coder("cross-layer").active_parameters() == 2 * (1 + 2) + 2 * (1 + 1)


def test_latents_write_vectors_of_norm_one_and_gradients_do_not_change_it():
    made = coder("cross-layer")
    assert torch.allclose(made.decoders[0].square().sum((0, 2)), torch.ones(3))
    made.decoders[0].grad = made.decoders[0].detach() * 3 + torch.ones_like(made.decoders[0])
    made.project_gradients()
    assert torch.allclose((made.decoders[0].grad * made.decoders[0]).sum((0, 2)), torch.zeros(3), atol=1e-6)


def test_losses_are_the_share_left_and_the_dead_learn_from_it():
    made = coder(layers=1)
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    with torch.no_grad():
        made.encoder_bias.fill_(-100.0)
    left, revived, codes = local_losses(made, [x], [x - x.mean(0)], nothing)
    assert float(left) == pytest.approx(1.0)
    assert float(revived) == 0
    assert not codes[0].fired().any()
    with torch.no_grad():
        made.encoder_bias.fill_(5.0)
    _, revived, _ = local_losses(made, [x], [x], ~nothing)
    revived.sum().backward()
    assert made.encoder.grad.abs().sum() > 0


def test_two_dictionaries():
    first = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    second = torch.tensor([[0.0, -1.0], [3.0, 3.0], [0.1, 1.0]])
    said = alike([first], [second], ("a", "b"))
    assert said.mmcs == pytest.approx((2**-0.5 + 1) / 2, abs=1e-4)
    assert said.split == 0.5  # the second latent has two near ones above .5, the first one
    assert said.matched <= said.mmcs
    assert alike([first], [first], ("a", "a")).matched == pytest.approx(1.0)


def test_the_jacobian_of_what_computes_alike_is_alike():
    mlp = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    model = torch.nn.ModuleDict({"mlp": mlp})
    made = coder(k=3, layers=1)
    made.threshold[0] = 0.0
    with torch.no_grad():
        made.encoder[0], made.encoder_bias[0] = mlp[0].weight, mlp[0].bias
        made.decoders[0][0] = mlp[2].weight.T
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(1)) + 1
    assert jacobian_cosine(model, [Mlp("mlp", "mlp.2", ("mlp.2",))], made, [x]) == pytest.approx(
        1.0, abs=1e-5
    )
    with torch.no_grad():
        made.decoders[0].neg_()
    assert jacobian_cosine(model, [Mlp("mlp", "mlp.2", ("mlp.2",))], made, [x]) == pytest.approx(
        -1.0, abs=1e-5
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"coders": []}, "coders"),
        ({"coders": [{}, {}]}, "asked for twice"),
        ({"coders": [{"k": 9, "latents": 8}]}, "k is 9, and there are 8 latents"),
        ({"coders": [{}], "batch": 100}, "whole rows"),
        ({"coders": [{"reach": "far"}]}, "reach"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(values, said):
    with pytest.raises(RankOneError, match=said):
        TranscodersConfig.checked(values, "recipe")
