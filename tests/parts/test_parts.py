"""Parts: names, places, choices, and what does not fit."""

from __future__ import annotations

import pytest
import torch

from rankone.core.errors import RankOneError
from rankone.parts.naming import site_key
from rankone.parts.parts import Parts, united


def made(origin: str = "neuron") -> Parts:
    factors = {
        "h.0.a": (torch.arange(6.0).view(2, 3), torch.arange(12.0).view(3, 4)),
        "h.1.b": (torch.ones(5, 2), torch.ones(2, 3)),
    }
    return Parts(factors, origin, {"h.0.a": torch.tensor([0, 4, 7]), "h.1.b": torch.tensor([1, 2])})


def test_site_key_has_no_dots():
    assert site_key("h.0.mlp.c_fc") == "h-0-mlp-c_fc"


def test_names_tell_the_origin():
    assert made().names() == [
        "neuron/h.0.a:0",
        "neuron/h.0.a:4",
        "neuron/h.0.a:7",
        "neuron/h.1.b:1",
        "neuron/h.1.b:2",
    ]
    assert made("").names()[0] == "h.0.a:0"


def test_a_part_is_found_by_its_name():
    parts = made()
    assert parts.locate("neuron/h.0.a:7") == ("h.0.a", 2)
    assert parts.column("neuron/h.1.b:1") == 3
    v, u = parts.vectors("neuron/h.0.a:4")
    assert v.tolist() == [1, 4]
    assert u.tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "neuron/h.0.c:1",
            "unknown site in 'neuron/h.0.c:1': write SITE:NUMBER, as neuron/h.3.attn.v_proj:513",
        ),
        (
            "neuron/h.0.a:5",
            "unknown part 'neuron/h.0.a:5': 'h.0.a' keeps 3 parts. Nearest: neuron/h.0.a:4, neuron/h.0.a:7",
        ),
        ("neuron/h.0.a:x", "unknown part 'neuron/h.0.a:x'"),
    ],
)
def test_a_wrong_name_is_an_error_that_offers_others(name, said):
    with pytest.raises(RankOneError) as caught:
        made().locate(name)
    assert str(caught.value).startswith(said)


def test_chosen_parts_keep_their_names():
    chosen = made().chosen(["neuron/h.1.b:2", "neuron/h.0.a:7", "neuron/h.0.a:0", "neuron/h.0.a:7"])
    assert chosen.names() == ["neuron/h.0.a:0", "neuron/h.0.a:7", "neuron/h.1.b:2"]
    assert chosen.factors("h.0.a")[0].tolist() == [[0, 2], [3, 5]]
    assert chosen.factors("h.0.a")[1].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]


def test_sets_of_one_origin_become_one_with_each_part_once():
    """A part that stands in two sets is as the first has it; numbers of a site come in order."""
    first = made().chosen(["neuron/h.0.a:7"])
    second = Parts(
        {"h.0.a": (torch.zeros(2, 2), torch.zeros(2, 4))}, "neuron", {"h.0.a": torch.tensor([7, 2])}
    )
    whole = united([first, second, made().chosen(["neuron/h.1.b:2"])])
    assert whole.names() == ["neuron/h.0.a:2", "neuron/h.0.a:7", "neuron/h.1.b:2"]
    assert whole.factors("h.0.a")[0].tolist() == [[0, 2], [0, 5]]
    assert whole.factors("h.0.a")[1].tolist() == [[0, 0, 0, 0], [8, 9, 10, 11]]


def test_factors_that_do_not_fit_are_refused():
    with pytest.raises(RankOneError, match=r"the parts of 'h' do not fit: V is \[2, 3\], U \[2, 4\]"):
        Parts({"h": (torch.zeros(2, 3), torch.zeros(2, 4))})
