"""The tables of an investigation, the same on a terminal and on a page."""

from __future__ import annotations

from rankone.core.escaping import visible
from rankone.experiments.investigation.effects import Context
from rankone.experiments.investigation.study import PREDICTOR, Finding, Investigation
from rankone.render.columns import TOKEN, Column
from rankone.render.tables import Table
from rankone.render.values import formatted
from rankone.text.domains import domain_name

_LISTED = 4


def rises(study: Investigation) -> Table:
    """What every domain loses at each scale, measured and predicted."""
    alphas = study.config.alphas
    columns = [
        *("domain", Column("tokens", priority=0), Column("CE", ".2f", priority=2)),
        *(Column(f"α = {formatted(a, 'g')}", "+.3f", priority=3) for a in alphas),
        *(Column(f"predicted, α = {formatted(a, 'g')}", "+.3f") for a in alphas),
    ]
    rows = [
        [
            domain_name(f.domain),
            f.tokens,
            f.ce,
            *(f.rises[a] for a in alphas),
            *(f.predicted[a] for a in alphas),
        ]
        for f in study.findings
    ]
    caption = (
        f"Rise of cross-entropy in nats per token on {study.text}. Predicted ({PREDICTOR.words}): from gradients of the "
        "unedited model alone; far from α = 1 its size is wrong and its order is what counts."
    )
    return Table.of("Rise of cross-entropy", columns, rows, caption)


def causes(study: Investigation) -> Table:
    """What it reads in every domain, and where the damage falls."""
    columns = [
        *("domain", Column("importance", ".4f"), Column("mean a", "+.3f"), Column("mean a²", ".4f")),
        *(
            Column("strong", ".1%", priority=3),
            Column("damage there", ".0%", priority=2),
            Column("five after", ".0%"),
        ),
        *(Column("fires on"), Column("lost")),
    ]
    rows = [
        [
            *(domain_name(f.domain), f.importance, f.activation, f.energy, f.strong),
            *((None, None) if f.where is None else (f.where.at, f.where.near)),
            tuple(r.token for r in f.reads[:_LISTED]),
            tuple(x.token for x in f.lost[:_LISTED]),
        ]
        for f in study.findings
    ]
    caption = (
        "a = ‖u‖ v·x. Strong: share of tokens where |a| is above its root mean square over all domains. Fires on: by PMI "
        f"against the domain's own text, from the harvest. Damage there, lost: at α = {formatted(study.strongest, 'g')}."
    )
    return Table.of("What it reads, and where the damage falls", columns, rows, caption)


def direct(study: Investigation) -> Table | None:
    """The tokens that it raises and lowers directly, where there is a direct path."""
    both = zip(study.direct.raises, study.direct.lowers, strict=False)
    rows = [[up, high, down, low] for (up, high), (down, low) in both]
    columns = [
        Column("raises", TOKEN),
        Column("σ", "+.1f"),
        Column("lowers", TOKEN, key=True),
        Column("σ ", "+.1f"),
    ]
    caption = (
        f"{study.direct.way}; σ over the vocabulary, where it is active, the final norm's gain folded in"
    )
    return Table.of("Written to the logits directly", columns, rows, caption) if rows else None


def follows(study: Investigation, count: int = 12) -> Table | None:
    """Next tokens that the harvest found likelier where it fires."""
    rows = [[r.text, r.pmi, r.precision, r.recall] for r in study.follows(count)]
    columns = [
        Column("next token", TOKEN),
        Column("PMI", ".2f"),
        Column("there", ".1%"),
        Column("recall", ".1%"),
    ]
    caption = "by weight × PMI (nats); mean probability there, share of all the probability it gets; from the harvest"
    return Table.of("Likelier where it fires", columns, rows, caption) if rows else None


def contexts(f: Finding, strongest: float) -> Table | None:
    """The worst contexts of one domain."""
    rows = [[_before(c), c.token, c.ce_base, c.ce] for c in f.contexts]
    columns = [
        *("context", Column("lost token", TOKEN, key=True)),
        *(Column("CE", ".2f", priority=2), Column("CE turned", ".2f", priority=2)),
    ]
    title = f"{domain_name(f.domain)}: worst contexts at α = {formatted(strongest, 'g')}"
    return Table.of(title, columns, rows, "nats; ⟨token⟩: strongly active there") if rows else None


def _before(context: Context) -> str:
    pairs = zip(context.before, context.active, strict=True)
    return visible("".join(f"⟨{token}⟩" if active and token else token for token, active in pairs))
