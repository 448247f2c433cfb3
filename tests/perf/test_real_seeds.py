"""The table of several seeds on a real model, by hand."""

from __future__ import annotations

from perf import real_seeds


def row(seed, domain, rise, **more):
    where = {"language": "fr", "edit": "scale", "text": "built-in"}
    return {**where, "seed": seed, "domain": domain, "rise": rise, "error": 0.01, **more}


def test_a_row_has_every_seed():
    """The target as share of chance, the domain that rises most of each seed, English about the country on its own."""
    rows = [
        *(
            row(0, "fr", 6.0, of_chance=1.255, half=0.259),
            row(0, "en", 0.003),
            row(0, "it", 0.028),
            row(0, "about-fr", 0.24),
        ),
        *(
            row(1, "fr", 5.0, of_chance=0.98, half=0.1),
            row(1, "en", 0.011),
            row(1, "it", -0.01),
            row(1, "about-fr", 0.2),
        ),
    ]
    *_, line = real_seeds.table(rows).splitlines()
    assert line == (
        "| French, one scale | built-in | 1.255 ± 0.259, 0.980 ± 0.100 | Italian +0.028, English +0.011 | +0.24, +0.20 |"
    )
