"""An investigation as a self-contained HTML page: no script, nothing loaded, all foreign text inert."""

from __future__ import annotations

from pathlib import Path

from rankone.core.artifact import refuse_existing, write_text
from rankone.experiments.investigation import figures
from rankone.experiments.investigation.effects import Context
from rankone.experiments.investigation.study import PREDICTOR, Finding, Investigation
from rankone.experiments.investigation.words import summary
from rankone.render.page import Cell, Section, drawing, page, paragraph, table, text, token
from rankone.render.theme import svg
from rankone.render.values import number, signed
from rankone.text.domains import domain_name


def write_investigation(found: Investigation, path: Path) -> None:
    """Write the page to a file that must not exist."""
    refuse_existing(path)
    write_text(path, investigation_page(found))


def investigation_page(found: Investigation) -> str:
    """The page as HTML."""
    sections = [
        Section("rises", "What every domain loses", _rises(found)),
        Section("causes", "What it reads, and where the damage falls", _causes(found)),
        Section("writes", "What it writes", _writes(found)),
        Section("contexts", "Worst contexts", _contexts(found)),
    ]
    name = text(found.page.component)
    labels = "".join(
        paragraph(f"<strong>{text(x.label)}</strong> <span class='note'>{text(x.source)}</span>")
        for x in found.labels
    )
    said = [paragraph(text(sentence), "lead" if i == 0 else "") for i, sentence in enumerate(summary(found))]
    return page(f"What turning {name} does", labels + "\n".join(said), sections)


def _rises(found: Investigation) -> str:
    alphas = found.config.alphas
    header = [
        "domain",
        "tokens",
        "CE",
        *(f"α = {_alpha(a)}" for a in alphas),
        *(f"foretold, α = {_alpha(a)}" for a in alphas),
    ]
    rows = [
        [
            text(domain_name(f.domain)),
            f"{f.tokens:,}",
            number(f.ce),
            *(Cell(signed(f.rises[a]), "strong") for a in alphas),
            *(signed(f.predicted[a]) for a in alphas),
        ]
        for f in found.findings
    ]
    note = (
        f"Rise of cross-entropy in nats per token on {text(found.text)}. Foretold ({text(PREDICTOR)}): from gradients of "
        "the unedited model alone; far from α = 1 its size is wrong and its order is what counts."
    )
    alt = "CE rise of every domain at each scale"
    figure = drawing(svg(figures.rises(found), "rises"), alt, "Bars: measured rise; dotted: chance.")
    return figure + table("rises-table", header, rows) + paragraph(note, "note")


def _causes(found: Investigation) -> str:
    header = [
        "domain",
        "importance",
        "mean a",
        "mean a²",
        "strong",
        "damage there",
        "five after",
        "fires on",
        "lost",
    ]
    rows = [
        [
            text(domain_name(f.domain)),
            number(f.importance, 4),
            signed(f.activation),
            number(f.energy, 4),
            _percent(f.strong),
            *(("–", "–") if f.where is None else (_percent(f.where.at), _percent(f.where.near))),
            " ".join(f"{token(r.token)}&nbsp;{number(r.pmi, 1)}" for r in f.reads),
            " ".join(f"{token(x.token)}&nbsp;{_percent(x.share)}" for x in f.lost),
        ]
        for f in found.findings
    ]
    note = (
        "a = ‖u‖ v·x. Strong: share of tokens where |a| is above its root mean square over all domains. Fires on: tokens "
        "with their PMI (nats) against the domain's own text, from the harvest. Lost: tokens with their share of all that "
        f"is lost at α = {_alpha(found.strongest)}."
    )
    alt = "Share of tokens strongly active, and where the damage falls, by domain"
    caption = f"Damage: summed rise of cross-entropy at α = {_alpha(found.strongest)}."
    figure = drawing(svg(figures.activity(found), "activity"), alt, caption)
    return figure + table("causes-table", header, rows, words=(7, 8)) + paragraph(note, "note")


def _writes(found: Investigation) -> str:
    direct = found.direct
    rows = [
        [token(up), signed(high, 1), token(down), signed(low, 1)]
        for (up, high), (down, low) in zip(direct.raises, direct.lowers, strict=False)
    ]
    shown = table("direct-table", ["raises", "σ", "lowers", "σ"], rows, words=(2,)) if rows else ""
    way = paragraph(
        f"Direct path: {text(direct.way)}. Sizes in standard deviations over the vocabulary, where it is active.",
        "note",
    )
    follow = " ".join(f"{token(r.text)}&nbsp;{number(r.pmi, 1)}" for r in found.follows(15)) or "–"
    return way + shown + paragraph(f"Likelier where it fires (PMI, from the harvest): {follow}")


def _contexts(found: Investigation) -> str:
    parts = [_domain_contexts(f, i) for i, f in enumerate(found.findings) if f.contexts]
    note = f"At α = {_alpha(found.strongest)}. Underlined: strongly active there. Nats."
    return paragraph(note, "note") + "\n".join(parts)


def _domain_contexts(f: Finding, place: int) -> str:
    rows = [[_before(c), token(c.token), number(c.ce_base, 2), number(c.ce, 2)] for c in f.contexts]
    name = text(domain_name(f.domain))
    header = ["context", "lost token", "CE", "CE turned"]
    return f"<h3>{name}</h3>" + table(f"contexts-{place}", header, rows, words=(0, 1))


def _before(context: Context) -> str:
    pairs = zip(context.before, context.active, strict=True)
    return "".join(f"<u>{text(t)}</u>" if active else text(t) for t, active in pairs)


def _percent(share: float) -> str:
    return f"{number(100 * share, 1)}%"


def _alpha(alpha: float) -> str:
    return f"{alpha:g}".replace("-", "−")
