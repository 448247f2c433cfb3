"""Sharpening: the closed form by hand and by gradient, and the verb on a tiny model."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.tiny import tiny_model

from rankone.core.errors import RankOneError
from rankone.edits.requests import Sharpened, SharpenReply, SharpenRequest
from rankone.edits.sharpen import sharpen, sharpened_read
from rankone.parts.book import Book
from rankone.workspace import Workspace


def test_what_other_text_fills_is_turned_down_by_hand():
    """Others have energy 1 and 3 along two axes; target text lies along (1, 1). Ridge .5 × 2 = 1 makes them 2 and 4."""
    v, own = torch.tensor([1.0, 1.0]), torch.ones(2, 2)
    found = sharpened_read(v, own, torch.diag(torch.tensor([1.0, 3.0])), ridge=0.5)
    # w = (1/2, 1/4); on (1, 1) v gives 2 and w gives 3/4, so s = 8/3.
    torch.testing.assert_close(found, torch.tensor([4 / 3, 2 / 3]))
    assert float(found.sum()) == pytest.approx(float(v.sum()))


def test_the_scale_is_the_least_squares_fit_on_target_text():
    generator = torch.Generator().manual_seed(0)
    x, other = torch.randn(50, 6, generator=generator), torch.randn(80, 6, generator=generator)
    v = torch.randn(6, generator=generator)
    new = sharpened_read(v, x.T @ x / 50, other.T @ other / 80)
    s = torch.linalg.lstsq((x @ new).unsqueeze(1), (x @ v).unsqueeze(1)).solution
    assert float(s) == pytest.approx(1.0, abs=1e-4)
    assert (other @ new).square().mean() < (other @ v).square().mean()


def test_a_part_that_answers_to_nothing_is_refused():
    with pytest.raises(RankOneError, match="does not answer to the target text"):
        sharpened_read(torch.ones(2), torch.zeros(2, 2), torch.eye(2))


@pytest.fixture(scope="module")
def workspace(tokenizer, corpus):
    model = tiny_model(len(tokenizer))
    return Workspace(model, tokenizer, corpus, decomposed(model, "random"))


def test_sharpened_parts_are_parts(workspace):
    names = ("h.0.mlp.down_proj:3", "h.0.attn.v_proj:5", "h.0.mlp.down_proj:1")
    (made,), reply = sharpen(
        workspace, SharpenRequest(names=names, of="de", tokens=300), Book([workspace.require_parts()])
    )
    assert sorted(made.names()) == sorted(f"sharpened-de/{name}" for name in names)
    assert [row.name for row in reply.parts] == [f"sharpened-de/{name}" for name in names]
    assert "de" not in reply.against
    assert set(reply.against) < set(workspace.corpus.domains())
    for name in names:
        new, old = made.vectors(f"sharpened-de/{name}"), workspace.require_parts().vectors(name)
        assert torch.equal(new.u, old.u)
        assert not torch.allclose(new.v, old.v)
    for row in reply.parts:
        assert row.leak_after < row.leak_before
        assert 0 < row.fidelity <= 1.0001
        assert 0 < row.cosine < 1


def _read(workspace, site, domain, tokens):
    """What a site reads on training text of a domain, [positions, d_in]."""
    text, seen = workspace.blocks(domain, "train", tokens), []
    with (
        workspace.model.get_submodule(site).register_forward_pre_hook(lambda _, given: seen.append(given[0])),
        torch.no_grad(),
    ):
        workspace.model(text.ids)
    return seen[0][text.present]


def test_figures_of_a_sharpened_part_by_hand(workspace):
    """Every other domain has the same weight, however much text it has; fidelity is a cosine over the target's positions."""
    name, site = "h.0.mlp.down_proj:3", "h.0.mlp.down_proj"
    request = SharpenRequest(names=(name,), of="de", against=("en", "fr"), tokens=200)
    (made,), reply = sharpen(workspace, request)
    old, new = workspace.require_parts().vectors(name).v, made.vectors(f"sharpened-de/{name}").v
    target = _read(workspace, site, "de", 200)
    others = [_read(workspace, site, domain, 200) for domain in ("en", "fr")]

    def leak(v):
        off = sum(float((x @ v).square().mean()) for x in others) / len(others)
        return (off / float((target @ v).square().mean())) ** 0.5

    (row,) = reply.parts
    assert row.leak_before == pytest.approx(leak(old), rel=1e-4)
    assert row.leak_after == pytest.approx(leak(new), rel=1e-4)
    cosine = torch.nn.functional.cosine_similarity
    assert row.fidelity == pytest.approx(float(cosine(target @ old, target @ new, dim=0)), rel=1e-4)
    assert row.cosine == pytest.approx(float(cosine(old, new, dim=0)), rel=1e-4)


def test_a_name_says_what_was_sharpened_and_one_number_of_two_origins_stands_twice(workspace):
    names = ("neuron/h.0.mlp.down_proj:3", "h.0.mlp.down_proj:3", "random/h.0.mlp.down_proj:3")
    book = Book([workspace.require_parts()], workspace.model)
    sets, reply = sharpen(workspace, SharpenRequest(names=names, of="de", tokens=100), book)
    whence = ("sharpened-neuron-de", "sharpened-de", "sharpened-random-de")
    assert [one.origin for one in sets] == list(whence)
    assert [row.name for row in reply.parts] == [f"{origin}/h.0.mlp.down_proj:3" for origin in whence]


def test_what_cannot_be_sharpened_is_refused(workspace):
    book = Book([workspace.require_parts()])
    with pytest.raises(RankOneError, match="unknown site"):
        sharpen(workspace, SharpenRequest(names=("h.9.x:1",), of="de"), book)
    with pytest.raises(RankOneError, match="no text for 'dk'"):
        sharpen(workspace, SharpenRequest(names=("h.0.mlp.down_proj:3",), of="dk"), book)
    with pytest.raises(RankOneError, match="on both sides"):
        SharpenRequest.checked({"names": "h.0.mlp.down_proj:3", "of": "de", "against": "de"}, "sharpen")


def test_a_part_that_comes_out_worse_is_said():
    one = Sharpened(name="a:1", leak_before=0.1, leak_after=0.2, cosine=1.0, fidelity=1.0)
    reply = SharpenReply(of="de", against=("en",), parts=(one, one.model_copy(update={"leak_before": 0.3})))
    assert reply.lines() == ("a:1 answers more to other text than before: the part as it was is cleaner",)
