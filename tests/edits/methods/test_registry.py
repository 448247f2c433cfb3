"""The registry of methods: found from the folder, two starts each, and sizes that scale the change."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import simple_mlp

from rankone.core.errors import RankOneError
from rankone.edits.methods.coordinate import coordinate_of
from rankone.edits.methods.kind import Target
from rankone.edits.methods.registry import kind_named, kinds
from rankone.models.sites import site_named, weight_of


@pytest.fixture(scope="module")
def target():
    model = simple_mlp()
    parts = decomposed(model, "random")
    chosen = ["h.1.mlp.down_proj:3"]
    return Target(model, parts, chosen[0], parts.names()[:16], lambda: parts.chosen(chosen))


def test_the_methods_are_those_of_the_folder():
    assert list(kinds()) == ["scalar", "sharpened", "neuron", "top16", "lora_r1", "lora_r1_local"]
    assert len({kind.slot for kind in kinds().values()}) == len(kinds())


def test_an_unknown_method_offers_the_nearest():
    with pytest.raises(RankOneError, match=r"unknown method 'lora'; there are scalar, .*Nearest: lora_r1"):
        kind_named("lora")


@pytest.mark.parametrize("name", list(kinds()))
def test_every_method_has_two_starts_that_differ(name, target):
    starts = kinds()[name].starts(target)
    assert len(starts) == 2
    first, second = (s.start(1, [0]) for s in starts)
    assert any(not torch.equal(first[k], second[k]) for k in first)
    assert all(s.name == name for s in starts)


@pytest.mark.parametrize("name", list(kinds()))
def test_a_size_scales_the_change(name, target):
    method = kinds()[name].starts(target)[0]
    generator = torch.Generator().manual_seed(0)
    drawn = {k: torch.randn(v.shape, generator=generator) for k, v in method.start(1, [0]).items()}
    edit, larger = method.edit(drawn, 0), method.edit(method.resized(drawn, 2.5), 0)
    assert edit.sites == larger.sites
    for site in edit.sites:
        own, other = (e.factors[site].write @ e.factors[site].read for e in (edit, larger))
        torch.testing.assert_close(2.5 * own, other, rtol=1e-4, atol=1e-5)


def test_only_one_scale_is_a_direction_without_a_fit(target):
    fixed = {name: kind.starts(target)[0].fixed for name, kind in kinds().items()}
    assert fixed == {
        "scalar": True,
        "sharpened": True,
        "neuron": True,
        "top16": False,
        "lora_r1": False,
        "lora_r1_local": False,
    }


@pytest.mark.parametrize(
    ("single", "origin", "hidden"),
    [
        ("h.1.mlp.down_proj:3", "neuron", "v"),
        ("h.0.mlp.c_fc:5", "neuron", "u"),
        ("h.1.attn.v_proj:2", "channel", "u"),
    ],
)
def test_the_control_is_the_largest_coordinate_of_the_hidden_side(target, single, origin, hidden):
    own = Target(target.model, target.parts, single)
    largest = int(getattr(target.parts.vectors(single), hidden).abs().argmax())
    assert coordinate_of(own) == f"{origin}/{own.site}:{largest}"
    edit = kind_named("neuron").starts(own)[0].edit({"alpha": torch.tensor([[0.0]])}, 0)
    change = edit.factors[own.site].write @ edit.factors[own.site].read
    weight = weight_of(site_named(target.model, own.site))
    expected = torch.zeros_like(weight)
    if hidden == "v":
        expected[:, largest] = -weight[:, largest]
    else:
        expected[largest] = -weight[largest]
    torch.testing.assert_close(change, expected)
