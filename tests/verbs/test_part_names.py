"""Names that are looked up in headers before a model is opened."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.models.loading import load_model
from rankone.models.sources.names import ASSETS
from rankone.opening import Opening, OpenOptions
from rankone.parts.book import Book
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
