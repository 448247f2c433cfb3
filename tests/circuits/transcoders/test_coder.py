"""A transcoder by hand: what is kept of a batch, what is written, what a step keeps of norms."""

from __future__ import annotations

import pytest
import torch

from rankone.circuits.transcoders.coder import Transcoder, smallest_kept
from rankone.circuits.transcoders.config import CoderConfig, TranscodersConfig
from rankone.circuits.transcoders.judging.jacobians import jacobian_cosine
from rankone.circuits.transcoders.judging.similarity import alike
from rankone.circuits.transcoders.losses import local_losses
from rankone.circuits.transcoders.places import Mlp
from rankone.core.errors import RankOneError

RAW = torch.tensor([[5.0, 1.0, 0.0], [4.0, 3.0, 2.0]])


def coder(reach="per-layer", latents=3, k=1, layers=2, width=2):
    return Transcoder(CoderConfig(reach=reach, latents=latents, k=k), layers, width)


def test_a_batch_keeps_its_largest_whichever_token_they_are_of():
    made = coder(k=1)
    kept = made.kept(0, RAW)
    assert kept.tolist() == [[5.0, 0.0, 0.0], [4.0, 0.0, 0.0]]
    assert coder(k=2).kept(0, RAW).tolist() == [[5.0, 0.0, 0.0], [4.0, 3.0, 2.0]]
    assert coder(k=3).kept(0, RAW).tolist() == RAW.tolist()
    assert float(smallest_kept(RAW, 1)) == 4.0


def test_a_threshold_judges_each_token_alone():
    made = coder()
    with pytest.raises(RankOneError, match="no threshold yet"):
        made.kept(0, RAW, "threshold")
    made.threshold[0] = 2.5
    assert made.kept(0, RAW, "threshold").tolist() == [[5.0, 0.0, 0.0], [4.0, 3.0, 0.0]]


def test_what_is_written_is_a_layers_own_or_that_of_all_before_it():
    codes = [torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[0.0, 3.0, 0.0]])]
    for reach in ("per-layer", "cross-layer"):
        made = coder(reach)
        with torch.no_grad():
            made.decoder_bias[1] = torch.tensor([10.0, 0.0])
        wanted = codes[1] @ made.decoders[1][0] + torch.tensor([10.0, 0.0])
        if reach == "cross-layer":
            wanted = wanted + codes[0] @ made.decoders[0][1]
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
    assert not codes[0].any()
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
