"""A LoRA that is two parts is read as those two, whatever their scales; the rest is what is left over."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import simple_mlp

from rankone.core.errors import RankOneError
from rankone.edits.adapter_files import write_adapter
from rankone.edits.lowrank import Factors, LowRankEdit
from rankone.edits.projection.project import project, read_change
from rankone.edits.scales import scale_edit
from rankone.models.sites import find_sites
from rankone.parts.book import Book
from rankone.parts.sources import make_parts

TWO = {"singular/h.0.mlp.c_fc:1": -8.0, "singular/h.1.attn.o_proj:3": 2.5}


@pytest.fixture(scope="module")
def model():
    return simple_mlp()


@pytest.fixture(scope="module")
def book(model):
    return Book([make_parts("singular", find_sites(model), count=6)], model)


@pytest.fixture
def adapter(tmp_path, model, book):
    """A hand-made LoRA that is exactly two parts, on disk in PEFT's format."""
    (tmp_path / "lora").mkdir()
    write_adapter(model, scale_edit(book, TWO).factors, tmp_path / "lora", "mini")
    return tmp_path / "lora"


@pytest.mark.parametrize("keep", [None, 2, 5])
def test_two_parts_are_found_again(model, book, adapter, keep):
    made = project(read_change(adapter, model), book, keep=keep)
    scales = {name: alpha for name, alpha in made.scales().items() if abs(alpha - 1) > 1e-4}
    assert scales == pytest.approx(TWO, abs=1e-4)
    assert made.explained == pytest.approx(1.0, abs=1e-6)
    rest = made.left_over().factors
    assert max(float(f.product(torch.zeros(1)).norm()) for f in rest.values()) < 1e-4


def test_the_change_is_its_projection_and_what_is_left_over(model, book):
    generator = torch.Generator().manual_seed(0)
    site = "h.0.mlp.c_fc"
    pair = Factors(torch.randn(40, 2, generator=generator), torch.randn(2, 24, generator=generator))
    change = LowRankEdit({site: pair}).bind(model)
    made = project(change, book)
    assert 0 < made.explained < 1
    both = made.edit().compose(made.left_over()).factors[site].product(torch.zeros(1))
    assert torch.allclose(both, pair.product(torch.zeros(1)), atol=1e-4)
    # The left over is at right angles to every part: nothing more can be made of them.
    rest = made.left_over().factors[site].product(torch.zeros(1))
    reads, writes = book.factors_at(site)
    assert torch.einsum("co,oi,ic->c", writes, rest, reads).abs().max() < 1e-3
    (row,) = made.sites()
    assert (row.parts, row.kept, row.by_chance) == (6, 6, 6 / 960)


def test_an_edit_is_read_as_well_and_another_models_refused(tmp_path, model, book):
    scale_edit(book, TWO).bind(model).save_pretrained(tmp_path / "edit")
    assert project(read_change(tmp_path / "edit", model), book).explained == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(RankOneError, match="made for another model"):
        read_change(tmp_path / "edit", simple_mlp(seed=3))


def test_a_change_where_no_part_is_open_is_refused(model):
    change = LowRankEdit({"h.0.mlp.c_fc": Factors(torch.ones(40, 1), torch.ones(1, 24))}).bind(model)
    with pytest.raises(RankOneError, match="no part is open at any site"):
        project(change, Book([], model))


def test_rows_are_shares_of_the_whole_the_largest_first(model, book):
    """Two sites; each part's term is (α − 1)² times the squared norm of u vᵀ."""
    made = project(scale_edit(book, TWO).bind(model), book)
    squares = {}
    for name, alpha in TWO.items():
        site, number = name.removeprefix("singular/").rsplit(":", 1)
        reads, writes = book.factors_at(site)
        squares[name] = float(
            (alpha - 1) ** 2 * reads[:, int(number)].norm() ** 2 * writes[int(number)].norm() ** 2
        )
    whole = sum(squares.values())
    order = sorted(TWO, key=lambda name: -squares[name])
    assert [row.site for row in made.sites()] == [
        n.removeprefix("singular/").rsplit(":", 1)[0] for n in order
    ]
    assert [row.size for row in made.sites()] == pytest.approx([squares[n] / whole for n in order], rel=1e-4)
    rows = made.parts()[:2]
    assert [row.part for row in rows] == order
    assert [row.alpha for row in rows] == pytest.approx([TWO[n] for n in order], rel=1e-4)
    assert [row.size for row in rows] == pytest.approx([squares[n] / whole for n in order], rel=1e-4)


def test_the_norm_of_text_is_that_of_each_site(model, book):
    """Of an input that is never read nothing counts."""
    site = "h.0.mlp.c_fc"
    change = LowRankEdit({site: Factors(torch.ones(40, 1), torch.eye(24)[:1])}).bind(model)
    second = torch.eye(24)
    second[0, 0] = 0.0
    assert project(change, book, {site: second}).squared == 0.0
    assert project(change, book).squared == pytest.approx(40.0)


def test_a_site_without_parts_is_left_over_whole(model, book):
    """Its numbers of inputs and outputs differ."""
    there, nowhere = "h.0.mlp.c_fc", "h.0.mlp.down_proj"
    change = scale_edit(book, {f"singular/{there}:1": -8.0}).bind(model)
    other = LowRankEdit({nowhere: Factors(torch.ones(24, 1), torch.ones(1, 40))}).bind(model)
    only = Book([make_parts("singular", find_sites(model, [there]), count=6)], model)
    made = project(change.compose(other), only)
    assert {row.site: (row.parts, row.explained > 0.99) for row in made.sites()} == {
        there: (6, True),
        nowhere: (0, False),
    }
