"""The aim of a fit: its two sides, its bars."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.edits.fitting.aim import Aim


def aim(**changes):
    return Aim.checked({"forget": "de", "retain": ("en", "fr"), "chance": 8.0, **changes}, "aim")


def test_the_target_is_a_share_of_chance():
    assert aim(cap=1.1).target == pytest.approx(8.8)
    assert aim().removed(7.85)
    assert not aim().removed(7.83)


def test_roles():
    assert [aim().role(d) for d in ("de", "en", "fr", "it")] == ["forget", "retain", "retain", "off-target"]


def test_own_text_is_of_a_domain():
    own = aim(forget="self:de")
    assert (own.domain, own.self_text, own.role("de")) == ("de", True, "forget")
    assert not aim().self_text


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"retain": ()}, "retain"),
        ({"retain": ("en", "de")}, "'de' is to be forgotten and to be held"),
        ({"forget": "self:fr"}, "'fr' is to be forgotten and to be held"),
        ({"retain": ("en", "en")}, "retain names a domain twice"),
        ({"tolerance": 0.0}, "tolerance"),
    ],
)
def test_an_aim_that_is_none_is_refused(change, complaint):
    with pytest.raises(RankOneError, match=complaint):
        aim(**change)
