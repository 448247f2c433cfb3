"""Damage by hand; its error and interval against repeated samples."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import t as student

from rankone.core.errors import RankOneError
from rankone.metrics.cross_entropy import PassageLosses
from rankone.metrics.damage import damage, damages
from rankone.metrics.damage_record import Damages, DomainDamage, interval_said, scored


def losses(sums, tokens):
    return PassageLosses(torch.tensor(sums, dtype=torch.float64), torch.tensor(tokens))


def test_by_hand():
    """Rises of 1, 5 and 3 nats over 2, 4 and 3 tokens: R = 1, residuals −1, 1, 0, error √(3/2 · 2) / 9."""
    found = damage(losses([4.0, 8.0, 6.0], [2, 4, 3]), losses([5.0, 13.0, 9.0], [2, 4, 3]))
    assert (found.base, found.edited, found.rise) == (2.0, 3.0, 1.0)
    assert (found.tokens, found.passages, found.level) == (9, 3, 0.95)
    assert found.error == pytest.approx(math.sqrt(3) / 9)
    # Student's 97.5 % quantile with two degrees of freedom is 4.3027.
    assert found.high == pytest.approx(1 + 4.302653 * math.sqrt(3) / 9, rel=1e-6)
    assert found.low == pytest.approx(2 - found.high)
    assert found.shown == "+1.000 ± 0.828"


def test_a_wider_level_is_wider():
    base, edited = losses([4.0, 8.0, 6.0], [2, 4, 3]), losses([5.0, 13.0, 9.0], [2, 4, 3])
    half = (lambda d: d.high - d.rise)(damage(base, edited, 0.5))
    assert half == pytest.approx(float(student.ppf(0.75, 2)) * math.sqrt(3) / 9)


def test_what_all_passages_share_has_no_error():
    """Passages differ much, but each token costs one nat more: pairing sees it."""
    found = damage(losses([0.0, 90.0], [1, 5]), losses([1.0, 95.0], [1, 5]))
    assert (found.rise, found.error, found.low, found.high) == (1.0, 0.0, 1.0, 1.0)


def test_one_passage_says_nothing_of_the_spread():
    found = damage(losses([4.0], [2]), losses([5.0], [2]))
    assert (found.rise, found.error, found.low, found.high) == (0.5, None, None, None)
    assert found.shown == "+0.500"
    assert damage(losses([5.0], [2]), losses([4.5], [2])).shown == "−0.250"
    assert damage(losses([5.0], [2]), losses([4.9996], [2])).shown == "0.000"


def test_passages_without_tokens_do_not_count():
    whole = damage(losses([4.0, 8.0], [2, 4]), losses([5.0, 13.0], [2, 4]))
    assert damage(losses([4.0, 0.0, 8.0], [2, 0, 4]), losses([5.0, 0.0, 13.0], [2, 0, 4])) == whole


def test_the_interval_holds_the_truth_as_often_as_it_says():
    generator, held = torch.Generator().manual_seed(0), 0
    for _ in range(600):
        tokens = torch.randint(20, 60, (12,), generator=generator)
        noise = torch.randn(12, generator=generator, dtype=torch.float64) * tokens.double().sqrt()
        base = PassageLosses(torch.zeros(12, dtype=torch.float64), tokens)
        found = damage(base, PassageLosses(0.3 * tokens.double() + noise, tokens))
        held += found.low <= 0.3 <= found.high
    assert 0.92 < held / 600 < 0.98


def test_other_passages_are_refused():
    with pytest.raises(RankOneError, match="different passages"):
        damage(losses([4.0, 8.0], [2, 4]), losses([5.0, 13.0], [4, 2]))


def test_by_domain():
    base = {"en": losses([4.0, 8.0], [2, 4]), "de": losses([1.0, 1.0], [1, 1])}
    found = damages(base, {"de": losses([2.0, 4.0], [1, 1])})
    assert list(found) == ["de"]
    assert found["de"].rise == 2.0


def test_how_much_text_is_said():
    made = [damage(losses([4.0, 4.0], [n, n]), losses([4.0, 5.0], [n, n])) for n in (400, 300)]
    assert scored(made[:1], "test") == "800 test tokens of each domain"
    assert scored(made, "validation") == "600 to 800 validation tokens of a domain"


def test_the_damage_of_a_domain_is_found_by_its_name():
    """Among several, each with its own; a name that is none is told with those that are."""
    texts = {"en": [5.0, 13.0], "de": [9.0, 13.0], "code": [4.0, 8.5]}
    each = [
        DomainDamage.of(name, damage(losses([4.0, 8.0], [2, 4]), losses(sums, [2, 4])))
        for name, sums in texts.items()
    ]
    made = Damages(split="test", domains=tuple(each))
    assert [made[name] for name in texts] == each
    with pytest.raises(RankOneError, match="no damage of 'fr' was measured; of en, de, code it was"):
        made["fr"]


def test_a_damage_that_was_measured_cannot_be_altered():
    measured = DomainDamage.of("de", damage(losses([4.0, 8.0], [2, 4]), losses([5.0, 13.0], [2, 4])))
    with pytest.raises(ValueError, match="frozen"):
        measured.rise = 0.0


def test_an_interval_is_spoken_of_where_there_is_one():
    several = damage(losses([4.0, 4.0], [400, 400]), losses([4.0, 5.0], [400, 400]))
    single = damage(losses([4.0], [50]), losses([5.0], [50]))
    assert interval_said([several]) == "95% interval over passages"
    assert interval_said([several, single]) == "95% interval over passages, none where there is a single one"
    assert interval_said([single]) == "no interval: there is a single passage to measure on"


def test_a_small_rise_has_as_many_digits_as_its_neighbours_and_a_sign():
    rises = [losses([4.0, 8.0], [2, 4]), losses([4.003, 8.001], [2, 4])]
    shown = repr(Damages(split="test", domains=(DomainDamage.of("de", damage(*rises)),)))
    assert "+0.001" in shown
    assert "0.00067" not in shown
