"""Sources of parts: hand-made moments with known answers, exactness of coordinates, names, what is refused."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import gpt2, llama, probe, simple_mlp
from torch import nn

from rankone.core.errors import RankOneError
from rankone.models.sites import Site, find_sites, weight_of
from rankone.parts.moments import SiteMoments, collect_moments
from rankone.parts.origins import FROM_TEXT, FROM_WEIGHTS
from rankone.parts.sources import SOURCES, make_parts, origin_of


def site(weight: torch.Tensor, name: str = "h.0.mlp.down_proj") -> Site:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight.clone()
    return Site(name, layer, weight.shape[1], weight.shape[0], False)


def read(weight: torch.Tensor, x: torch.Tensor, of_output: bool) -> SiteMoments:
    """Moments of given inputs x [n, d_in]."""
    z = x @ weight.T if of_output else x
    return SiteMoments(z.T @ z / len(z), of_output, x.mean(0), x.square().mean(0), weight)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("build", [simple_mlp, gpt2, llama])
def test_neurons_and_channels_make_up_the_weight(build):
    sites = find_sites(build(), None)
    for source in ("neuron", "channel"):
        parts = make_parts(source, sites)
        for own in sites:
            if own.name in parts.sites:
                v, u = parts.factors(own.name)
                torch.testing.assert_close((v @ u).T, weight_of(own))
    both = {*make_parts("neuron", sites).sites, *make_parts("channel", sites).sites}
    assert both == {own.name for own in sites}


@pytest.mark.parametrize(
    ("name", "v", "u"),
    [
        ("neuron/model.layers.1.mlp.down_proj:7", "one", "column"),
        ("neuron/model.layers.1.mlp.gate_proj:7", "row", "one"),
        ("channel/model.layers.1.self_attn.v_proj:7", "row", "one"),
        ("channel/model.layers.1.self_attn.k_proj:7", "row", "one"),
        ("channel/model.layers.1.self_attn.o_proj:7", "one", "column"),
    ],
)
def test_the_hidden_coordinate_is_input_or_output(name, v, u):
    model = llama()
    place = name.partition("/")[2].removesuffix(":7")
    (own,) = find_sites(model, [place])
    found = make_parts(name.partition("/")[0], [own], numbers={place: [2, 7]}).vectors(name)
    weight = weight_of(own)
    kinds = {"row": weight[7], "column": weight[:, 7]}
    for vector, kind, size in ((found.v, v, own.d_in), (found.u, u, own.d_out)):
        expected = torch.eye(size)[7] if kind == "one" else kinds[kind]
        torch.testing.assert_close(vector, expected)


def test_singular_directions_are_those_of_the_weight():
    weight = torch.diag(torch.tensor([1.0, 5.0, 3.0]))
    parts = make_parts("singular", [site(weight)], count=2)
    v, u = parts.factors("h.0.mlp.down_proj")
    torch.testing.assert_close((v @ u).T, torch.diag(torch.tensor([0.0, 5.0, 3.0])))
    assert u[0].abs().argmax() == 1


def test_random_directions_depend_on_seed_and_site_and_not_on_the_count():
    one, other = site(drawn(4, 6), "h.0.mlp.down_proj"), site(drawn(4, 6), "h.1.mlp.down_proj")
    first, more, seeded = (
        make_parts("random", [one, other], count=c, seed=s) for c, s in ((1, 0), (3, 0), (1, 1))
    )
    name = "random/h.0.mlp.down_proj:0"
    assert torch.equal(first.vectors(name).u, more.vectors(name).u)
    assert not torch.equal(first.vectors(name).u, seeded.vectors(name).u)
    assert not torch.equal(first.vectors(name).u, first.vectors("random/h.1.mlp.down_proj:0").u)
    assert float(first.vectors(name).u.norm()) == pytest.approx(1)


@pytest.mark.parametrize("of_output", [True, False])
@pytest.mark.parametrize("shape", [(4, 7), (7, 4)])
def test_a_contrast_direction_has_the_most_energy_beyond_the_share_of_other_text(shape, of_output):
    weight = drawn(*shape)
    own, others = drawn(500, shape[1], seed=1), drawn(500, shape[1], seed=2)
    others[:, 0] *= 3
    y, z = own @ weight.T, others @ weight.T
    moment = y.T @ y / 500 - 0.5 * (z.T @ z) / 500
    expected = torch.linalg.eigh(moment.double()).eigenvectors.flip(1).T[:2].float()
    name = "h.0.mlp.down_proj"
    parts = make_parts(
        "contrast", [site(weight)], "fr",
        {name: read(weight, own, of_output)}, {name: read(weight, others, of_output)}, count=2,
    )  # fmt: skip
    v, u = parts.factors(name)
    torch.testing.assert_close((u @ expected.T).abs(), torch.eye(2), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(v, (u @ weight).T)
    assert parts.names() == [f"contrast-fr/{name}:0", f"contrast-fr/{name}:1"]


def test_a_difference_of_means_points_from_other_to_wanted_text():
    weight = torch.eye(2)
    own, others = torch.tensor([[3.0, 1.0], [5.0, 1.0]]), torch.tensor([[0.0, 1.0], [0.0, -1.0], [3.0, 3.0]])
    name = "h.0.mlp.down_proj"
    parts = make_parts(
        "means", [site(weight)], "fr", {name: read(weight, own, False)}, {name: read(weight, others, False)}
    )
    v, u = parts.vectors(f"means-fr/{name}:0")
    torch.testing.assert_close(u, torch.tensor([1.0, 0.0]))  # (4, 1) − (1, 1)
    torch.testing.assert_close(v, u)


@pytest.mark.parametrize("of_output", [True, False])
def test_a_discriminant_leaks_least_and_writes_what_it_responds_to(of_output):
    """Other text moves along (1, 1, 0), wanted along (1, 0, 0): the filter is blind to one, the pattern is the other."""
    own = drawn(4000, 1) * torch.tensor([[1.0, 0.0, 0.0]]) + 0.01 * drawn(4000, 3, seed=1)
    others = drawn(4000, 1, seed=2) * torch.tensor([[1.0, 1.0, 0.0]]) + 0.01 * drawn(4000, 3, seed=3)
    weight, name = torch.eye(3), "h.0.mlp.down_proj"
    parts = make_parts(
        "discriminant", [site(weight)], "fr",
        {name: read(weight, own, of_output)}, {name: read(weight, others, of_output)}, ridge=1e-4,
    )  # fmt: skip
    v, u = parts.vectors(f"discriminant-fr/{name}:0")
    assert (others @ v).square().mean() < 0.005 * (own @ v).square().mean()
    assert float(u[0].abs()) > 0.999
    # What it responds to is taken away whole by α = 0: v·u = 1 in z.
    assert float(v @ u) == pytest.approx(1, abs=1e-3)
    left = own - (own @ v)[:, None] * u
    assert left.square().mean() < 0.01 * own.square().mean()


def test_scaling_a_direction_scales_the_output_along_it():
    model = simple_mlp()
    (own,) = find_sites(model, ["h.1.mlp.down_proj"])
    moments = collect_moments(model, [own], probe(seed=1)), collect_moments(model, [own], probe(seed=2))
    v, u = make_parts("contrast", [own], "fr", *moments).vectors("contrast-fr/h.1.mlp.down_proj:0")
    x = drawn(5, own.d_in)
    before = x @ weight_of(own).T
    after = before + (-3.0 - 1.0) * (x @ v)[:, None] * u
    torch.testing.assert_close(after @ u, -3.0 * (before @ u))
    torch.testing.assert_close(after - (after @ u)[:, None] * u, before - (before @ u)[:, None] * u)


def test_origins_and_settings_are_told():
    parts = make_parts("random", [site(drawn(4, 6))], count=2, seed=5)
    assert parts.origin == "random"
    assert parts.made["seed"] == 5
    assert origin_of("discriminant", "de") == "discriminant-de"
    assert {name for name, source in SOURCES.items() if source.reads_text} == set(FROM_TEXT)
    assert {name for name, source in SOURCES.items() if not source.reads_text} == set(FROM_WEIGHTS)
    assert not any(p.requires_grad for p in parts.parameters())


def test_what_cannot_be_made_is_refused():
    own = site(drawn(4, 6))
    with pytest.raises(RankOneError, match=r"unknown source of parts 'neurons'.*Nearest: neuron"):
        make_parts("neurons", [own])
    with pytest.raises(RankOneError, match="give moments"):
        make_parts("contrast", [own], "fr")
    with pytest.raises(RankOneError, match="none of the 1 sites has channel parts"):
        make_parts("channel", [own])
    with pytest.raises(RankOneError, match="has no coordinate 6"):
        make_parts("neuron", [own], numbers={own.name: [6]})
