"""The terminal page: what it says, and that no text of a corpus reaches the terminal as anything but text."""

from __future__ import annotations

import io

from rich.console import Console
from tests.labels.pages import example
from tests.show.portraits import portrait

from rankone.show import terminal
from rankone.show.terminal import highlighted


def printed(shown, **options):
    stream = io.StringIO()
    Console(file=stream, width=160, highlight=False, **options).print(*terminal.portrait(shown), sep="\n")
    return stream.getvalue()


def test_what_it_says():
    said = printed(portrait(["de", "en", " der", "die", "und", "x"], response=True))
    for words in (
        "h.0.mlp.down_proj:7",
        "0.75 · statistical",
        "fires 50 times in 1,000 tokens (5.00%)",
        "German",
        "8.00%",
        "␣der",
        "Fires on",
        "Leads to",
        "h.0.mlp.c_fc:1",
        "0.24",
        "reads alike (v)",
        "−0.50",
        "+3.000",
    ):
        assert words.casefold() in said.casefold(), words


def test_hostile_text_stays_text():
    for options in ({}, {"force_terminal": True, "color_system": "truecolor"}):
        said = printed(portrait(response=True), **options)
        assert "[red]x[/red]" in said
        assert "<script>" in said
        assert "\\x1b[2J" in said
        assert "\x1b[2J" not in said
        assert "\x1b]" not in said
        assert "\u202e" not in said
        assert "\\u{202e}" in said


def test_missing_parts_are_named():
    from dataclasses import replace

    said = printed(replace(portrait(), labels=[], directions={}))
    assert "give --labels" in said
    assert "give --decomposition" in said


def test_highlight_shows_importance_sign_and_centre():
    line = highlighted(example("de", ["a", "b", "c"], 1, {2}))
    assert line.plain.endswith("a⟨b⟩c")
    shades = {line.plain[s.start : s.end]: s.style for s in line.spans}
    assert shades["b"].bgcolor == shades["c"].bgcolor  # both 0.9
    assert shades["b"].bold
    assert shades["a"].bgcolor is None
    below = example("de", ["a"], 0)
    below.activations[0] = -1.0
    assert highlighted(below).spans[-2].style.bgcolor != shades["b"].bgcolor
