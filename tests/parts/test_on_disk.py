"""Names of parts looked up in files alone, against the opened artefacts."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import simple_mlp

from rankone.core.errors import RankOneError
from rankone.models.sites import find_sites
from rankone.models.sources.names import decomposition_folder
from rankone.parts.on_disk import decomposed_numbers, require_held, require_in_weights, saved_numbers
from rankone.parts.parts import Parts
from rankone.parts.sources import make_parts
from rankone.parts.storage import save_parts

SITE = "h.1.mlp.down_proj"


def test_the_built_in_decomposition():
    numbers = decomposed_numbers(decomposition_folder("mini-decomposition"))[""]
    assert len(numbers) == 24
    assert numbers["h.3.mlp.down_proj"] == list(range(768))
    require_held("h.3.mlp.down_proj:767", "", numbers)
    with pytest.raises(RankOneError, match=r"keeps 768 subcomponents. Nearest: h.3.mlp.down_proj:767"):
        require_held("h.3.mlp.down_proj:768", "", numbers)


def test_saved_sets_are_told_apart(tmp_path):
    model = simple_mlp()
    sets = [make_parts("random", find_sites(model, [SITE]), count=3)]
    few = make_parts("neuron", find_sites(model, [SITE]), numbers={SITE: [4, 17]})
    save_parts([*sets, few], model, tmp_path / "parts")
    assert saved_numbers(tmp_path / "parts") == {"random": {SITE: [0, 1, 2]}, "neuron": {SITE: [4, 17]}}
    assert isinstance(few, Parts)
    assert torch.equal(few.indices[SITE], torch.tensor([4, 17]))


def test_what_cannot_be_read_is_left_to_what_opens_it(tmp_path):
    assert saved_numbers(tmp_path) == decomposed_numbers(tmp_path) == {}
    (tmp_path / "config.json").write_text('{"sites": ["h.0"]}', "utf8")
    assert saved_numbers(tmp_path) == decomposed_numbers(tmp_path) == {}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("neuron/h.0.a:9", "'h.0.a' has no coordinate 9: it has 9, from 0 to 8"),
        ("channel/h.0.attn.a:9", "no coordinate 9"),
        ("singular/h.0.a:4", "'h.0.a' has no singular part 4: it has 4, from 0 to 3"),
        ("random/h.0.a:4", "no random part 4"),
        ("channel/h.0.a:1", "'h.0.a' has no channel parts, but neuron parts: write neuron/h.0.a:1"),
        ("neuron/h.0.b:1", "no site matches 'h.0.b'. Nearest: h.0.a"),
    ],
)
def test_what_weights_do_not_have(name, said):
    shapes = {"h.0.a": (4, 9), "h.0.attn.a": (4, 9), "wte": (30, 4)}
    with pytest.raises(RankOneError, match=said):
        require_in_weights(name, shapes)
    for fine in (
        "neuron/h.0.a:8",
        "random/h.0.a:3",
        "neuron/wte:2",
    ):  # why wte is not a site the opened model says
        require_in_weights(fine, shapes)
