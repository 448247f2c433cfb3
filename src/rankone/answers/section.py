"""Side effects as a part of a page: the shares, and the answers that went wrong side by side."""

from __future__ import annotations

from rankone.answers.sideeffects import Effect, SideEffects
from rankone.answers.tables import shares_table
from rankone.core.escaping import html_text
from rankone.render import page

ANCHOR, HEADING = "side-effects", "Answers before and after"
# Pairs that a page shows; the JSON beside it has them all.
MOST_PAIRS = 12


def side_effects_section(found: SideEffects) -> page.Section:
    """Shares by kind, and up to 12 pairs of answers: the newly degenerate, filled up with what asks for the target."""
    table = shares_table(found)
    header = [html_text(c.name) for c in table.columns]
    rows = [[html_text(c.text(v)) for c, v in zip(table.columns, row, strict=True)] for row in table.rows]
    wrong = found.newly_degenerate()
    shown = [*wrong, *(e for e in found.effects if e.target)][:MOST_PAIRS]
    body = [
        page.paragraph(html_text(table.caption), "note"),
        page.table("answers", header, rows, words=[0]),
        *(_pair(effect) for effect in shown),
    ]
    if not wrong:
        body.insert(1, page.paragraph("No answer that asks for something else became degenerate."))
    return page.Section(ANCHOR, HEADING, "\n".join(body))


def _pair(effect: Effect) -> str:
    said = ", ".join(effect.after.signs.faults) or "sound"
    sides = (("before", effect.before.text), (f"after: {said}", effect.after.text))
    cells = "".join(
        f'<div><b>{html_text(name)}</b><p class="text">{page.passage(text)}</p></div>' for name, text in sides
    )
    asked = page.paragraph(f"{html_text(effect.prompt.name)}: {page.passage(effect.asked)}", "prompt")
    return f'{asked}<div class="pair">{cells}</div>'
