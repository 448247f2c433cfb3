"""Layers and kinds of sites, from their names."""

from __future__ import annotations

from rankone.decomposition.evidence.groups import channels_of, groups, kind_of_site, layer_of


def test_layer_and_kind_of_a_site():
    assert layer_of("model.layers.12.self_attn.q_proj") == "12"
    assert kind_of_site("model.layers.12.self_attn.q_proj") == "self_attn.q_proj"
    assert layer_of("lin1") == "-"
    assert kind_of_site("lin1") == "lin1"
    # Experts have numbers of their own: the first one is the layer's, and all are of one kind.
    assert layer_of("h.3.experts.5.up") == "3"
    assert kind_of_site("h.3.experts.5.up") == "experts.up"


def test_every_site_is_in_one_layer_and_one_kind():
    sites = ["h.0.q", "h.0.up", "h.1.q", "h.1.up"]
    assert groups(sites) == [
        ("layer", "0", ["h.0.q", "h.0.up"]),
        ("layer", "1", ["h.1.q", "h.1.up"]),
        ("kind", "q", ["h.0.q", "h.1.q"]),
        ("kind", "up", ["h.0.up", "h.1.up"]),
    ]
    assert channels_of(sites, [2, 1, 3, 0], ["h.0.q", "h.1.q"]).tolist() == [True] * 2 + [False] + [True] * 3
