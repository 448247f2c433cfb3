"""An edit's directions as a fitting method: it starts as the edit, is what it says it is, and can be brought to a size."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import gpt2, llama, probe, random_edit, simple_mlp

from rankone.core.errors import RankOneError
from rankone.edits.adapters import adapted
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.methods.directions import Directions

SITES = {
    simple_mlp: ["h.1.mlp.down_proj", "h.0.attn.v_proj"],
    gpt2: ["transformer.h.1.mlp.c_proj"],
    llama: ["model.layers.1.mlp.down_proj", "model.layers.0.self_attn.o_proj"],
}


def product(edit, site):
    write, read = edit.factors[site]
    return write @ read


@pytest.mark.parametrize("build", list(SITES))
@pytest.mark.parametrize("rank", [1, 3])
def test_it_starts_as_the_edit_and_changes_what_the_trained_edit_changes(build, rank):
    model, ids = build(), probe(rows=4)
    edit = random_edit(model, dict.fromkeys(SITES[build], rank))
    method = Directions(edit)
    parameters = method.start(2, [0, 1])
    for site in method.sites():
        torch.testing.assert_close(product(method.edit(parameters, 1), site), product(edit, site))
        square = parameters[f"read:{site}"].square().mean(-1)
        torch.testing.assert_close(square, torch.ones_like(square))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in parameters.values():
            value += 0.3 * torch.randn(value.shape, generator=generator)
    with adapted(model, method, parameters, 2), torch.no_grad():
        together = model(ids).logits
    for run in range(2):
        rows = slice(2 * run, 2 * run + 2)
        with method.edit(parameters, run).applied(model), torch.no_grad():
            alone = model(ids[rows]).logits
        assert torch.allclose(together[rows], alone, atol=1e-4)
    assert not torch.allclose(together[:2], together[2:], atol=1e-2)


def test_a_size_multiplies_the_change_and_of_a_longer_write_direction_only_the_angle_counts():
    model = simple_mlp()
    site = SITES[simple_mlp][0]
    method = Directions(random_edit(model, {site: 2}))
    parameters = method.start(1, [0])
    half = method.edit(method.resized(parameters, 0.5), 0)
    torch.testing.assert_close(product(half, site), 0.5 * product(method.edit(parameters, 0), site))
    longer = {name: value * (7 if name.startswith("write:") else 1) for name, value in parameters.items()}
    torch.testing.assert_close(
        product(method.edit(longer, 0), site), product(method.edit(parameters, 0), site)
    )


def test_an_edit_that_changes_nothing_has_no_direction():
    write = torch.ones(24, 2)
    write[:, 1] = 0
    for factors in ((write, torch.ones(2, 32)), (torch.zeros(24, 1), torch.ones(1, 32))):
        with pytest.raises(RankOneError, match="changes nothing"):
            Directions(LowRankEdit({"h.1.mlp.down_proj": factors}))
