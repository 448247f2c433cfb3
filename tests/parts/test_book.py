"""A book: several origins at once, parts made from weights on demand, an edit over all of them; saved and read."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import llama, probe, simple_mlp

from rankone.core.errors import RankOneError
from rankone.edits.scales import Scales, scale_edit
from rankone.models.sites import find_sites
from rankone.parts.book import Book
from rankone.parts.moments import collect_moments
from rankone.parts.parts import load_parts
from rankone.parts.sources import make_parts
from rankone.parts.storage import save_parts

SITE = "h.1.mlp.down_proj"


def directions(model, source="contrast", of="fr"):
    sites = find_sites(model, ["*.mlp.*"])
    return make_parts(
        source,
        sites,
        of,
        collect_moments(model, sites, probe(seed=1)),
        collect_moments(model, sites, probe(seed=2)),
    )


@pytest.fixture
def opened():
    model = simple_mlp()
    decomposition = decomposed(model, "random")
    return model, decomposition, Book([decomposition, directions(model)], model)


def test_a_name_finds_its_set(opened):
    model, decomposition, book = opened
    assert book.origins == ["", "contrast-fr"]
    assert book.locate(f"{SITE}:3") == decomposition.locate(f"{SITE}:3")
    assert book.locate(f"contrast-fr/{SITE}:0") == (SITE, 0)
    assert torch.equal(book.vectors(f"{SITE}:3").u, decomposition.vectors(f"{SITE}:3").u)
    assert book.locate(f"neuron/{SITE}:5")[0] == SITE
    assert torch.equal(book.vectors(f"neuron/{SITE}:5").u, model.get_parameter(f"{SITE}.weight")[:, 5])
    assert torch.equal(
        book.vectors(f"singular/{SITE}:2").u,
        make_parts("singular", find_sites(model, [SITE]), count=3).vectors(f"singular/{SITE}:2").u,
    )
    assert len(book.names()) == decomposition.total + 4


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "contrast-de/h.1.mlp.down_proj:0",
            r"no parts of origin 'contrast-de' are open.*Nearest: contrast",
        ),
        ("neuron/h.1.mlp.down_proj", "has no number"),
        ("neuron/h.1.mlp.down_proj:4000", "has no coordinate 4000"),
        ("neuron/h.9.mlp.down_proj:1", "no site matches 'h.9.mlp.down_proj'"),
        ("neuron/h.1.attn.v_proj:1", "none of the 1 sites has neuron parts"),
        ("contrast-fr/h.1.mlp.down_proj:1", "unknown part"),
    ],
)
def test_a_wrong_name_is_named(opened, name, said):
    with pytest.raises(RankOneError, match=said):
        opened[2].locate(name)


def test_a_neuron_that_a_set_lacks_is_made_from_the_weights(opened):
    model = opened[0]
    some = make_parts("neuron", find_sites(model, [SITE]), numbers={SITE: [3, 9]})
    book = Book([some], model)
    assert book.holding(f"neuron/{SITE}:9") is some
    assert torch.equal(book.vectors(f"neuron/{SITE}:5").u, model.get_parameter(f"{SITE}.weight")[:, 5])
    both = book.gathered([f"neuron/{SITE}:9", f"neuron/{SITE}:5"])
    assert both.names() == [f"neuron/{SITE}:5", f"neuron/{SITE}:9"]
    assert torch.equal(both.vectors(f"neuron/{SITE}:9").u, some.vectors(f"neuron/{SITE}:9").u)
    with pytest.raises(RankOneError, match=r"a set of parts is of one. Take each"):
        opened[2].gathered([f"neuron/{SITE}:9", f"contrast-fr/{SITE}:0"])


def test_a_pattern_gathers_every_part_that_it_fits(opened):
    model, decomposition, book = opened
    whole = make_parts("neuron", find_sites(model, ["*.mlp.*"]))
    assert book.gathered(["neuron/h.*.mlp.*:*"]).names() == whole.names()
    assert book.gathered(["neuron/*"]).names() == whole.names()
    only = book.gathered([f"neuron/{SITE}:5", f"neuron/{SITE}:*"])
    assert only.names() == [n for n in whole.names() if SITE in n]
    assert torch.equal(only.vectors(f"neuron/{SITE}:5").u, model.get_parameter(f"{SITE}.weight")[:, 5])
    assert book.gathered(["contrast-fr/*"]).names() == directions(model).names()
    assert book.gathered([f"{SITE}:*"]).names() == [n for n in decomposition.names() if SITE in n]
    site = find_sites(model, [SITE])[0]
    assert book.gathered([f"singular/{SITE}:*"]).total == min(site.d_in, site.d_out)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("neuron/h.9.*:*", "no site matches 'h.9"),
        ("neuron/h.1.attn.*:*", "has neuron parts"),
        (f"neuron/{SITE}:1*", "picks numbers: write neuron/h.1.mlp.down_proj:\\* for all of them"),
        ("contrast-fr/h.9.*", "no part fits 'contrast-fr/h.9"),
        ("contrast-de/*", "no parts of origin 'contrast-de' are open"),
    ],
)
def test_a_pattern_that_fits_nothing_is_named(opened, pattern, said):
    with pytest.raises(RankOneError, match=said):
        opened[2].gathered([pattern])


def test_without_a_model_nothing_is_made(opened):
    with pytest.raises(RankOneError, match="no parts of origin 'neuron' are open"):
        Book([opened[1]]).locate(f"neuron/{SITE}:5")
    with pytest.raises(RankOneError, match="already holds parts of origin 'contrast-fr'"):
        opened[2].add(directions(opened[0]))


def test_an_edit_over_several_origins_is_the_sum_of_its_parts(opened):
    book = opened[2]
    scales = {
        f"{SITE}:3": -1.0,
        f"neuron/{SITE}:5": 0.0,
        f"contrast-fr/{SITE}:0": 3.0,
        "neuron/h.0.mlp.c_fc:2": 2.0,
    }
    edit = scale_edit(book, scales)
    assert edit.sites == ("h.0.mlp.c_fc", SITE)
    expected = sum(
        (alpha - 1) * torch.outer(book.vectors(n).u, book.vectors(n).v)
        for n, alpha in scales.items()
        if SITE in n
    )
    torch.testing.assert_close(
        edit.factors[SITE].write @ edit.factors[SITE].read, expected, rtol=1e-4, atol=1e-5
    )
    method = Scales(book, list(scales))
    run = method.edit({"alpha": torch.tensor([list(scales.values())])}, 0)
    for site in edit.sites:
        torch.testing.assert_close(
            run.factors[site].write @ run.factors[site].read,
            edit.factors[site].write @ edit.factors[site].read,
        )
    with pytest.raises(RankOneError, match=r"ends in '05': write neuron/h.1.mlp.down_proj:5"):
        Scales(book, [f"neuron/{SITE}:5", f"neuron/{SITE}:05"])
    Scales(book, [f"neuron/{SITE}:5", f"{SITE}:5"])  # two parts, though of one number


def test_saved_parts_are_read_again(opened, tmp_path):
    model = opened[0]
    sets = [directions(model), directions(model, "discriminant", "de")]
    save_parts(sets, model, tmp_path / "parts", {"note": "a test"})
    found = load_parts(tmp_path / "parts", model)
    assert [own.origin for own in found] == ["contrast-fr", "discriminant-de"]
    for one, other in zip(sets, found, strict=True):
        assert one.names() == other.names()
        assert one.made == other.made
        for name in one.names():
            assert torch.equal(one.vectors(name).v, other.vectors(name).v)
            assert torch.equal(one.vectors(name).u, other.vectors(name).u)


def test_parts_of_another_model_are_refused(opened, tmp_path):
    save_parts([directions(opened[0])], opened[0], tmp_path / "parts")
    with pytest.raises(RankOneError, match=r"other weights of 'h\.0\.mlp\.c_fc'"):
        load_parts(tmp_path / "parts", simple_mlp(seed=1))
    with pytest.raises(RankOneError, match="which this model lacks"):
        load_parts(tmp_path / "parts", llama())
    with pytest.raises(RankOneError, match="different origins"):
        save_parts([directions(opened[0]), directions(opened[0])], opened[0], tmp_path / "twice")
    assert not (tmp_path / "twice").exists()
