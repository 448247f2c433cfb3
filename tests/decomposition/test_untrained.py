"""Parts as a decomposition without training: importance by quantiles, names kept, to disk and back, harvested."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import probe, simple_mlp

from rankone.core.errors import RankOneError
from rankone.decomposition.model import DecomposedModel, load_decomposition, save_decomposition
from rankone.decomposition.untrained import as_decomposition
from rankone.models.sites import find_sites
from rankone.parts.sources import make_parts
from rankone.text.blocks import Blocks


def text(rows: int = 40, seed: int = 0) -> Blocks:
    ids = probe(rows, 12, seed)
    valid = torch.ones_like(ids, dtype=torch.bool)
    valid[:, 0] = False
    return Blocks(ids, valid)


@pytest.fixture
def made():
    model = simple_mlp()
    parts = make_parts(
        "neuron",
        find_sites(model, ["*.down_proj"]),
        numbers={"h.0.mlp.down_proj": [3, 7], "h.1.mlp.down_proj": [5]},
    )
    return model, parts, as_decomposition(model, parts, [text()], 0.8, 0.95)


def test_importance_rises_between_two_quantiles_of_the_activation(made):
    model, parts, found = made
    assert found.names() == parts.names()
    blocks = text()
    with DecomposedModel(model, found) as wrapped:
        importance = wrapped.importance(blocks.ids)[blocks.valid]
        _, inputs = wrapped.clean(blocks.ids)
    size = torch.cat([x @ parts.factors(s)[0] for s, x in zip(parts.sites, inputs, strict=True)], -1)[
        blocks.valid
    ].abs()
    assert (importance > 0).float().mean(0).tolist() == pytest.approx([0.2] * 3, abs=0.01)
    assert (importance == 1).float().mean(0).tolist() == pytest.approx([0.05] * 3, abs=0.01)
    order = size.argsort(0)
    assert (importance.gather(0, order).diff(dim=0) >= 0).all()


def test_saved_and_loaded_it_keeps_names_and_importances(made, tmp_path):
    model, _, found = made
    save_decomposition(found, model, tmp_path / "d", {}, None, "float32")
    loaded, _ = load_decomposition(tmp_path / "d", model)
    assert (loaded.names(), loaded.origin, loaded.made) == (found.names(), "neuron", found.made)
    importances = []
    for one in (found, loaded):
        with DecomposedModel(model, one) as wrapped:
            importances.append(wrapped.importance(probe()))
    assert torch.equal(*importances)


def test_no_text_and_quantiles_out_of_order_are_refused(made):
    model, parts, _ = made
    with pytest.raises(RankOneError, match=r"not 0\.9 and 0\.5"):
        as_decomposition(model, parts, [text()], 0.9, 0.5)
    with pytest.raises(RankOneError, match="no text"):
        as_decomposition(model, parts, [])
