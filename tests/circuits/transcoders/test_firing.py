"""How far token and domain tell where a unit is on: rules of either are read, what depends on neither is at chance."""

from __future__ import annotations

import pytest
import torch

from rankone.circuits.transcoders.judging.clean import Clean
from rankone.circuits.transcoders.judging.firing import Tagged, firing_areas
from rankone.runtime.progress import Meter

BAR = Meter(None, "", 1)
DE = 0


def text(seed, batches=6):
    """Tokens 0 to 9, alike in both domains."""
    draws = torch.Generator().manual_seed(seed)
    domain = torch.randint(0, 2, (batches, 8), generator=draws)
    ids = torch.randint(0, 10, (batches, 8, 32), generator=draws)
    return Tagged(ids, domain, ("de", "en"))


def clean(ids):
    """Units read the token itself."""
    return Clean([ids.flatten().unsqueeze(1).float()], [], [])


def area(rule, train=None, test=None):
    ways = {"one": lambda seen: [rule(seen.inputs[0])]}
    return firing_areas(clean, ways, train or text(0), test or text(1), 0, BAR)["one"]


def test_a_rule_of_tokens_is_read_on_other_text():
    found = area(lambda token: token == 3)
    assert found == (1.0, 1)
    mean, units = area(lambda token: torch.cat([token == 3, token < 5, token == 99], 1))
    assert (mean, units) == (1.0, 2)  # the third is on nowhere: it is not scored


def test_what_depends_on_neither_is_at_chance():
    draws = torch.Generator().manual_seed(5)
    mean, _ = area(lambda token: torch.rand(len(token), 20, generator=draws) < 0.3)
    assert mean == pytest.approx(0.5, abs=0.03)


def test_a_rule_of_domains_is_read():
    train, test = text(0), text(1)

    german = iter([domain == DE for data in (train, test) for _, domain in data.batches()])
    mean, _ = area(lambda token: next(german).unsqueeze(1), train, test)
    assert mean == pytest.approx(1.0)


def test_what_is_on_at_too_few_tokens_is_not_scored():
    seen = []

    def rarely(token):
        seen.append(1)
        return (torch.arange(len(token)) < 1).unsqueeze(1)

    assert area(rarely) is None
    assert len(seen) == 12
