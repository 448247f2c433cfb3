"""Selection on importances made by hand: the rankings, and the rule that picks one subcomponent."""

from __future__ import annotations

import pytest
import torch
from tests.labels.written import written

from rankone.core.errors import RankOneError
from rankone.edits.selection import (
    contrast,
    labelled_candidates,
    separation,
    specific_names,
    specificity,
    top_names,
)
from rankone.harvest.reading.summary import Importances

NAMES = ["a:0", "a:1", "b:0", "b:1", "b:2"]
# Rows: de, en, fr.
MEAN = torch.tensor(
    [
        [0.9, 0.5, 0.8, 0.0005, 0.3],
        [0.1, 0.004, 0.8, 0.0, 0.0],
        [0.7, 0.0, 0.0, 0.0, 0.25],
    ]
)


@pytest.fixture
def importances():
    return Importances(["de", "en", "fr"], NAMES, MEAN, {"de": 10, "en": 10, "fr": 10})


def close(found, expected):
    return torch.allclose(found, torch.tensor(expected), atol=1e-6)


def test_contrast_looks_at_two_domains(importances):
    assert close(contrast(importances, ["de"], ["en"]), [0.8, 0.496, 0.0, 0.0005, 0.3])
    assert close(contrast(importances, ["en"], ["fr"]), [-0.6, 0.004, 0.8, 0.0, -0.25])


def test_specificity_looks_at_all(importances):
    assert close(specificity(importances, "de"), [0.2, 0.496, 0.0, 0.0005, 0.05])
    assert close(specificity(importances, "fr"), [-0.2, -0.5, -0.8, -0.0005, -0.05])


def test_contrast_of_groups_takes_means(importances):
    assert close(contrast(importances, ["de", "en"], ["fr"]), [-0.2, 0.252, 0.8, 0.00025, -0.1])
    with pytest.raises(RankOneError, match="'en' is on both sides"):
        contrast(importances, ["de", "en"], ["en"])
    with pytest.raises(RankOneError, match="name at least one"):
        contrast(importances, ["de"], [])


def test_specificity_of_a_group_is_where_it_is_least(importances):
    assert close(specificity(importances, "de", "fr"), [0.6, -0.004, -0.8, 0.0, 0.25])
    with pytest.raises(RankOneError, match="there is no domain but 'de, en, fr'"):
        specificity(importances, "de", "en", "fr")


def test_only_some_domains(importances):
    some = importances.only(["fr", "de"])
    assert (some.domains, some.tokens) == (["fr", "de"], {"fr": 10, "de": 10})
    assert close(specificity(some, "de"), [0.2, 0.5, 0.8, 0.0005, 0.05])


LABELS = written(
    a_0=("German words", 0.9),
    a_1=("German and French words", 0.9),
    b_0=("text everywhere", 0.9),
    b_1=("German", 0.9),
    b_2=("German suffixes", 0.3),
)


# Mean signed activations, rows as MEAN; as far apart everywhere but on a:0, which its sign does not spare.
ACTIVATIONS = dict(
    zip(
        ("de", "en", "fr"),
        torch.tensor([[2.0, 4.0, 1.0, 0.0, 1.0], [-1.0, 0.5, 1.0, 0.0, 0.0], [0.1, -2.0, 1.0, 0.0, 0.0]]),
        strict=True,
    )
)


def test_separation_looks_at_sizes():
    assert close(separation(ACTIVATIONS, ["de", "en", "fr"], "de"), [2.0, 2.0, 1.0, 0.0, 100.0])
    assert close(separation(ACTIVATIONS, ["de", "fr"], "de"), [20.0, 2.0, 1.0, 0.0, 100.0])


def test_the_labelled_pick_names_the_domain_alone(importances):
    """a:1 is more specific, but its label names French too; b:1 and b:2 matter too rarely to stand on the shortlist."""
    (pick, *_), candidates = labelled_candidates(importances, ACTIVATIONS, LABELS, "de")
    assert (pick.name, [c.name for c in candidates]) == ("a:0", ["a:1", "a:0"])


def test_separation_weighs_the_pick(importances):
    both = written(a_0=("German words", 0.9), a_1=("German words", 0.9))
    assert labelled_candidates(importances, ACTIVATIONS, both, "de")[0][0].name == "a:1"  # .496 · 2 > .2 · 2
    nearer = {**ACTIVATIONS, "en": ACTIVATIONS["en"] * 0.1}
    assert labelled_candidates(importances, nearer, both, "de")[0][0].name == "a:0"  # .2 · 20 > .496 · 2
    assert labelled_candidates(importances, nearer, both, "de", shortlist=1)[0][0].name == "a:1"


def test_no_label_or_no_specific_subcomponent_is_an_error(importances):
    vague = written(a_0=("words", 0.9), a_1=("French words", 0.9))
    with pytest.raises(
        RankOneError, match=r"none of the 2 .* labelled as German alone: a:1 “French words”; a:0"
    ):
        labelled_candidates(importances, ACTIVATIONS, vague, "de")
    with pytest.raises(RankOneError, match="no subcomponent is specific to 'fr'"):
        labelled_candidates(importances, ACTIVATIONS, LABELS, "fr")


def test_top_names(importances):
    score = specificity(importances, "de")
    assert top_names(importances, score, 2) == ["a:1", "a:0"]
    assert top_names(importances, score, 99) == ["a:1", "a:0", "b:2", "b:1", "b:0"]


@pytest.mark.parametrize(
    ("ratio", "names"), [(1.0, ["a:0", "a:1", "b:2"]), (1.25, ["a:0", "a:1"]), (100.0, ["a:1"]), (200.0, [])]
)
def test_specific_names_leaves_out_what_is_never_important(importances, ratio, names):
    """b:1 is infinitely specific, but important at 1 position in 2,000."""
    assert specific_names(importances, "de", ratio) == names


@pytest.mark.parametrize("use", [lambda i: i.of("nl"), lambda i: contrast(i, ["de"], ["nl"])])
def test_an_unknown_domain_is_named(importances, use):
    with pytest.raises(RankOneError, match="no importances for 'nl'; there are de, en, fr"):
        use(importances)


def test_a_single_domain_cannot_be_specific():
    alone = Importances(["de"], NAMES, MEAN[:1], {"de": 10})
    with pytest.raises(RankOneError, match="there is no domain but 'de'"):
        specificity(alone, "de")
