"""The recipes that ship and their presets: what they hold, and that every method is in one."""

from __future__ import annotations

import pytest

from rankone.edits.methods.registry import kinds
from rankone.experiments.config import read_recipe
from rankone.recipes import shipped


@pytest.mark.parametrize(
    ("name", "forget"),
    [
        ("german", "de"),
        ("french", "fr"),
        ("italian", "it"),
        ("spanish", "es"),
        ("code", "code"),
        ("capitals", "de"),
    ],
)
def test_the_shipped_recipes_and_their_presets_are_valid(name, forget):
    path = shipped()[name]
    config = read_recipe(path)
    assert config.forget == forget
    assert config.budgets == (2, 4, 8, 16, 32, 64, 128, 512, 2048)
    assert set(config.retain["others"]) == set(config.trained) - {forget}
    assert read_recipe(path, "quick").seeds == 3


def test_the_published_grid_is_as_published():
    """1,620 runs of one fit each, as they come; its claims at some budgets and one λ, of both starts, beside controls."""
    path = shipped()["german"]
    config, claims = read_recipe(path, "published"), read_recipe(path, "claims")
    runs = len(config.methods) * len(config.budgets) * config.seeds * len(config.weights)
    assert (runs, config.one_start, config.sized, tuple(config.retain)) == (1620, True, False, ("english",))
    assert set(claims.methods) > set(config.methods)
    assert set(claims.budgets) < set(config.budgets)
    assert (claims.seeds, claims.fit, claims.one_start) == (config.seeds, config.fit, False)


def test_a_preset_runs_every_method_that_is_trained_by_the_loop():
    named = set(read_recipe(shipped()["german"], "methods").methods)
    with_coder = {name for name in kinds() if name.startswith("sae_")}
    assert named == set(kinds()) - {"sharpened"} - with_coder
    assert set(read_recipe(shipped()["german"], "sae").methods) >= with_coder
