"""Contrast by hand, and that all text in colour is readable on light and on dark."""

from __future__ import annotations

import pytest

from rankone.experiments.names import DOMAIN_SLOTS, domain_colours
from rankone.render.colours import (
    CARD,
    DARK,
    LIGHT,
    PALETTE,
    by_variable,
    contrast,
    readable,
    text_colour,
    variables,
)


def test_contrast_by_hand():
    """Black on white is 21; #767676 is the greyest that still makes 4.5 on white."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#ffffff", "#767676") == pytest.approx(4.54, abs=0.01)
    assert contrast("#777777", "#ffffff") < 4.5


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_every_text_is_readable(scheme):
    for ground in ("paper", "card"):
        for name in ("ink", "muted", "accent"):
            assert contrast(scheme[name], scheme[ground]) >= 4.5
    for name, colour in variables(scheme["card"]).items():
        assert contrast(colour, scheme["card"]) >= 4.5 or (scheme is LIGHT and name[0] == "c")


def test_a_readable_colour_stays():
    assert readable("#1f2328", CARD) == "#1f2328"
    assert text_colour(PALETTE[4]) != PALETTE[4]


def test_a_drawing_takes_the_colours_of_the_page():
    drawn = by_variable(
        f'<path style="fill: #fffffe"/><path style="fill: #ffffff; stroke: {PALETTE[0].lower()}"/>'
    )
    assert drawn == '<path style="fill: none"/><path style="fill: var(--card); stroke: var(--c0)"/>'


def test_a_domain_has_one_colour_whatever_stands_beside_it():
    for domains in (["de", "en"], ["en", "sv", "de"], ["fr", "de", "x"]):
        assert domain_colours(domains)["de"] == PALETTE[0]
    many = domain_colours(["de", "en", "fr", "es", "it", "nl", "sv", "code"])
    assert len(set(many.values())) == 8
    assert domain_colours(["x", "de"])["x"] != PALETTE[0]
    assert set(DOMAIN_SLOTS.values()) <= set(range(len(PALETTE)))
