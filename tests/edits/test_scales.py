"""Scales: an edit of the weights that equals masking the subcomponents by α with delta on."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import decomposed, numbered
from tests.helpers import gpt2, llama, probe, same, simple_mlp, snapshot

from rankone.core.errors import RankOneError
from rankone.decomposition.model import DecomposedModel
from rankone.edits.adapters import adapted
from rankone.edits.scales import Scales, scale_edit

CHOSEN = {
    simple_mlp: {"h.0.mlp.c_fc:3": -2.0, "h.0.mlp.c_fc:7": 0.0, "h.1.attn.v_proj:5": 4.0},
    gpt2: {
        "transformer.h.0.mlp.c_fc:3": -2.0,
        "transformer.h.0.mlp.c_fc:7": 0.0,
        "transformer.h.1.attn.c_attn:5": 4.0,
    },
    llama: {
        "model.layers.0.mlp.up_proj:3": -2.0,
        "model.layers.0.mlp.up_proj:7": 0.0,
        "model.layers.1.self_attn.v_proj:5": 4.0,
    },
}


def logits(model, ids):
    with torch.no_grad():
        return model(ids).logits


@pytest.mark.parametrize("build", list(CHOSEN))
def test_scaling_equals_masking_with_delta_on(build):
    model, ids = build(), probe()
    decomposition, scales = decomposed(model, "random"), CHOSEN[build]
    mask = torch.ones(1, 1, decomposition.total)
    for name, alpha in scales.items():
        mask[..., decomposition.column(name)] = alpha
    with DecomposedModel(model, decomposition) as wrapped, torch.no_grad():
        masked = wrapped.masked(ids, mask, torch.ones(1, 1, len(decomposition.sites)))
    plain = logits(model, ids)
    with scale_edit(decomposition, scales).applied(model):
        edited = logits(model, ids)
    assert torch.allclose(edited, masked, atol=1e-4)
    assert (edited - plain).abs().max() > 0.1


def test_the_change_is_the_sum_over_the_chosen():
    model = simple_mlp()
    decomposition, scales = decomposed(model, "random"), CHOSEN[simple_mlp]
    edit = scale_edit(decomposition, scales)
    assert edit.sites == ("h.0.mlp.c_fc", "h.1.attn.v_proj")
    assert [edit.rank(site) for site in edit.sites] == [2, 1]
    read, write = decomposition.factors("h.0.mlp.c_fc")
    expected = -3.0 * torch.outer(write[3], read[:, 3]) - 1.0 * torch.outer(write[7], read[:, 7])
    factors = edit.factors["h.0.mlp.c_fc"]
    assert torch.allclose(factors.write @ factors.read, expected, atol=1e-6)


def test_alpha_one_changes_nothing():
    model, ids = simple_mlp(), probe()
    before, plain = snapshot(model), logits(model, ids)
    with scale_edit(decomposed(model, "random"), dict.fromkeys(CHOSEN[simple_mlp], 1.0)).applied(model):
        assert same(model, before)
        assert torch.equal(logits(model, ids), plain)


def test_zero_on_all_of_a_faithful_site_deletes_its_weight():
    model = simple_mlp()
    decomposition = decomposed(model, "aligned")
    names = [name for name in decomposition.names() if name.startswith("h.0.mlp.down_proj:")]
    with scale_edit(decomposition, dict.fromkeys(names, 0.0)).applied(model):
        assert model.get_parameter("h.0.mlp.down_proj.weight").abs().max() < 1e-6


@pytest.fixture(scope="module")
def fitted():
    """The method with the parameters of three runs, all α different."""
    model = simple_mlp()
    scales = Scales(decomposed(model, "random"), list(CHOSEN[simple_mlp]))
    return model, scales, {"alpha": torch.nn.Parameter(torch.arange(9.0).view(3, 3) / 2 - 1)}


def test_the_fitted_edit_equals_scale_edit(fitted):
    _, scales, parameters = fitted
    for run in range(3):
        found = scales.edit(parameters, run)
        named = dict(zip(scales.components, parameters["alpha"][run].tolist(), strict=True))
        assert scales.scales(parameters, run) == named
        expected = scale_edit(scales.parts, named)
        assert found.sites == expected.sites
        assert found.method == "scales"
        for site in found.sites:
            for own, other in zip(found.factors[site], expected.factors[site], strict=True):
                assert torch.equal(own, other)


def test_the_change_while_fitting_is_the_edit_of_each_run(fitted):
    model, scales, parameters = fitted
    ids = probe(rows=6)
    with adapted(model, scales, parameters, 3), torch.no_grad():
        together = model(ids).logits
    for run in range(3):
        with scales.edit(parameters, run).applied(model):
            alone = logits(model, ids[2 * run : 2 * run + 2])
        assert torch.allclose(together[2 * run : 2 * run + 2], alone, atol=1e-4)


def test_the_start_changes_nothing(fitted):
    model, scales, _ = fitted
    ids = probe(rows=4)
    with adapted(model, scales, scales.start(2, [0, 1]), 2):
        assert torch.equal(logits(model, ids), logits(simple_mlp(), ids))


def test_names_keep_the_original_numbers():
    model = simple_mlp()
    decomposition = numbered(model, {"h.0.mlp.c_fc": [2, 17, 39], "h.1.attn.q_proj": [5]})
    read, write = decomposition.factors("h.0.mlp.c_fc")
    factors = scale_edit(decomposition, {"h.0.mlp.c_fc:17": 3.0}).factors["h.0.mlp.c_fc"]
    assert torch.allclose(factors.write @ factors.read, 2.0 * torch.outer(write[1], read[:, 1]))


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("h.0.mlp.c_fc:18", r"unknown subcomponent .*Nearest: h\.0\.mlp\.c_fc:17, h\.0\.mlp\.c_fc:39"),
        ("h.0.mlp.c_fc:x", r"unknown subcomponent .*Nearest: h\.0\.mlp\.c_fc:2, "),
        ("h.0.mlp.cfc:17", r"unknown site in 'h\.0\.mlp\.cfc:17'.*Nearest: h\.0\.mlp\.c_fc"),
        ("h.0.mlp.c_fc", r"unknown site in 'h\.0\.mlp\.c_fc': write SITE:NUMBER.*Nearest: h\.0\.mlp\.c_fc"),
    ],
)
def test_an_unknown_component_offers_the_nearest(name, offered):
    decomposition = numbered(simple_mlp(), {"h.0.mlp.c_fc": [2, 17, 39], "h.1.attn.q_proj": [5]})
    for use in (lambda: scale_edit(decomposition, {name: 0.0}), lambda: Scales(decomposition, [name])):
        with pytest.raises(RankOneError, match=offered):
            use()


def test_a_component_given_twice_is_refused():
    decomposition = decomposed(simple_mlp(), "random")
    for second in ("h.0.mlp.c_fc:3", "h.0.mlp.c_fc:03"):
        with pytest.raises(RankOneError, match=rf"'{second}' is given twice"):
            Scales(decomposition, ["h.0.mlp.c_fc:3", "h.1.attn.v_proj:5", second])


GROUPS = {
    "c3": ["h.0.mlp.c_fc:3", "h.1.attn.v_proj:5", "h.0.mlp.c_fc:9"],
    "h.0.mlp.c_fc:7": ["h.0.mlp.c_fc:7"],
}


def test_a_group_shares_one_scale():
    """Two runs with different α: the change while fitting, and the edit, are those of α on each member."""
    model, ids = simple_mlp(), probe(rows=4)
    decomposition = decomposed(model, "random")
    method = Scales(decomposition, GROUPS)
    assert method.start(2, [0, 1])["alpha"].shape == (2, 2)
    assert method.components == ["c3", "h.0.mlp.c_fc:7"]
    assert sorted(method.sites()) == ["h.0.mlp.c_fc", "h.1.attn.v_proj"]
    parameters = {"alpha": torch.nn.Parameter(torch.tensor([[-2.0, 0.5], [3.0, -1.0]]))}
    with adapted(model, method, parameters, 2), torch.no_grad():
        together = model(ids).logits
    for run, (own, single) in enumerate([(-2.0, 0.5), (3.0, -1.0)]):
        named = {**dict.fromkeys(GROUPS["c3"], own), "h.0.mlp.c_fc:7": single}
        expected, found = scale_edit(decomposition, named), method.edit(parameters, run)
        assert found.description == f"c3 × {own:.3g}, h.0.mlp.c_fc:7 × {single:.3g}"
        assert method.scales(parameters, run) == {"c3": own, "h.0.mlp.c_fc:7": single}
        for site in expected.sites:
            ours, theirs = found.factors[site], expected.factors[site]
            assert torch.allclose(ours.write @ ours.read, theirs.write @ theirs.read, atol=1e-6)
        with expected.applied(model):
            alone = logits(model, ids[2 * run : 2 * run + 2])
        assert torch.allclose(together[2 * run : 2 * run + 2], alone, atol=1e-4)


def test_the_gradient_of_a_group_is_the_sum_over_its_members():
    model, ids = simple_mlp(), probe()
    decomposition = decomposed(model, "random")

    def gradient(components):
        method = Scales(decomposition, components)
        parameters = method.start(1, [0])
        with adapted(model, method, parameters, 1):
            model(ids).logits.square().mean().backward()
        return parameters["alpha"].grad

    single = gradient([*GROUPS["c3"], "h.0.mlp.c_fc:7"])
    grouped = gradient(GROUPS)
    assert torch.allclose(grouped[0], torch.stack((single[0, :3].sum(), single[0, 3])), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("components", "said"),
    [
        (
            {**GROUPS, "h.0.mlp.c_fc:9": ["h.0.mlp.c_fc:9"]},
            r"'h\.0\.mlp\.c_fc:9' is given twice \(by c3 and h",
        ),
        ({**GROUPS, "c4": ["h.0.mlp.c_fc:7"]}, r"'h\.0\.mlp\.c_fc:7' is given twice \(by h\S+ and c4\)"),
        ({**GROUPS, "c4": ["h.0.mlp.c_fc:3"]}, r"'h\.0\.mlp\.c_fc:3' is given twice \(by c3 and c4\)"),
    ],
)
def test_a_subcomponent_in_two_groups_is_refused(components, said):
    with pytest.raises(RankOneError, match=said):
        Scales(decomposed(simple_mlp(), "random"), components)


def test_the_description_names_the_scales():
    decomposition = decomposed(simple_mlp(), "random")
    one = scale_edit(decomposition, {"h.0.mlp.c_fc:3": -2.5})
    many = scale_edit(decomposition, {f"h.0.mlp.c_fc:{i}": 0.0 for i in range(5)})
    assert one.description == "h.0.mlp.c_fc:3 × -2.5"
    assert many.description.endswith("h.0.mlp.c_fc:2 × 0 and 2 more")
    assert scale_edit(decomposition, {"h.0.mlp.c_fc:3": 0.0}, "no German").description == "no German"
