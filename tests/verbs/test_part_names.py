"""Names that are looked up in headers before a model is opened."""

from __future__ import annotations

import pytest
import torch

from rankone.core.errors import RankOneError
from rankone.models.loading import load_model
from rankone.models.sources.names import ASSETS
from rankone.opening import Opening, OpenOptions
from rankone.parts.book import Book
from rankone.parts.parts import Parts
from rankone.parts.storage import save_parts
from rankone.verbs.part_names import require_parts


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model, folder = load_model(ASSETS / "mini"), tmp_path_factory.mktemp("saved") / "parts"
    save_parts([Book([], model).gathered([f"singular/h.3.mlp.down_proj:{i}" for i in (0, 2)])], model, folder)
    return folder


def test_of_parts_that_share_a_scale_each_is_looked_up(saved):
    opening = Opening(OpenOptions(decomposition=None, parts=saved))
    require_parts(opening, ["singular/h.3.mlp.down_proj:0+singular/h.3.mlp.down_proj:2"])
    with pytest.raises(RankOneError, match="9999"):
        require_parts(opening, ["singular/h.3.mlp.down_proj:0+singular/h.3.mlp.down_proj:9999"])


def test_saved_parts_that_no_weights_give_are_known_by_their_headers(tmp_path):
    site, model = "h.3.mlp.down_proj", load_model(ASSETS / "mini")
    width, inner = model.get_submodule(site).weight.shape
    made = Parts({site: (torch.ones(inner, 2), torch.ones(2, width))}, "contrast-de")
    save_parts([made], model, tmp_path / "parts")
    opening = Opening(OpenOptions(decomposition=None, parts=tmp_path / "parts"))
    require_parts(opening, [f"contrast-de/{site}:1"])
    with pytest.raises(RankOneError, match="down_proj:2"):
        require_parts(opening, [f"contrast-de/{site}:2"])
    with pytest.raises(RankOneError, match="no parts of origin 'contrast-fr'"):
        require_parts(opening, [f"contrast-fr/{site}:1"])
