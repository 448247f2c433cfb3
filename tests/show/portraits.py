"""A portrait of a subcomponent whose every text is hostile."""

from __future__ import annotations

from dataclasses import replace

from tests.labels.pages import domain, example, page, token

from rankone.decomposition.directions import DirectionRow
from rankone.harvest.reading.page import CofiringRow
from rankone.labels.label import STATISTICAL, Label
from rankone.show.portrait import Portrait, Response, ResponseRow

HOSTILE = [
    "<script>alert(1)</script>",
    "[red]x[/red]",
    "\x1b[2J\x1b]0;t\x07",
    "\u202egnp.exe",
    "\n",
    '"><img src=x>',
]
ALPHAS = (-2.0, 0.0, 1.0, 2.0)


def portrait(texts=HOSTILE, response=False):
    """Fires on tokens spelled by `texts`; the domain tags and labels are of them too."""
    first, second = texts[0], texts[1]
    found = page(
        "h.0.mlp.down_proj:7",
        1000,
        None,
        [domain(first, 500, 40, 0.05), domain(second, 500, 10, 0.05)],
        [token(t, 5 + i, 20, 50, 1000, i) for i, t in enumerate(texts)],
        [token(t, 2.5, 10, 50, 1000, i) for i, t in enumerate(texts)],
        [example(first, texts, 2, {0, 3}), example(second, texts[::-1], 0)],
    )
    found = replace(found, cofiring=[CofiringRow("h.0.mlp.c_fc:1", 12, 0.24)])
    labels = [Label(found.part, texts[0], 0.75, STATISTICAL, texts[2])]
    shown = Portrait(
        found,
        f"model {texts[0]}",
        0.1,
        labels,
        {"read": [DirectionRow("h.0.mlp.down_proj:3", -0.5)]},
        {"h.0.mlp.c_fc:1": texts[1], "h.0.mlp.down_proj:3": texts[2]},
    )
    return replace(shown, response=responses(first, second)) if response else shown


def responses(*domains):
    rows = [
        ResponseRow(alpha=a, domain=d, ce_base=4.0, ce=4.0 + (1 - a) * (i == 0), rise=(1 - a) * (i == 0))
        for a in ALPHAS
        for i, d in enumerate(domains)
    ]
    return Response(rows, 8.3, 100)
