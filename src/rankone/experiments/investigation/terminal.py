"""An investigation on the terminal; everything quoted passes through `inert.visible`."""

from __future__ import annotations

from rankone.core.escaping import visible
from rankone.experiments.investigation.effects import Context
from rankone.experiments.investigation.study import Finding, Investigation
from rankone.experiments.investigation.words import summary
from rankone.render.tables import Table
from rankone.render.terminal import print_table
from rankone.render.values import number, signed
from rankone.runtime.progress import console
from rankone.text.domains import domain_name

_SHOWN = 4
_FOLLOWING = 12


def print_investigation(found: Investigation) -> None:
    """Print the summary, the tables and the worst contexts."""
    console.print(f"\n{visible(found.page.component)}", style="bold", markup=False)
    for label in found.labels:
        console.print(
            f"{visible(label.label)} ({visible(label.source)}, {label.confidence:.2f})", markup=False
        )
    for sentence in summary(found):
        console.print(f"  {visible(sentence)}", markup=False)
    _rises(found)
    _causes(found)
    _direct(found)
    _follows(found)
    for finding in found.suffering or found.findings[:1]:
        _contexts(finding, found.strongest)


def _rises(found: Investigation) -> None:
    alphas = found.config.alphas
    columns = ["domain", "CE", *(f"α = {a:g}" for a in alphas), *(f"foretold {a:g}" for a in alphas)]
    rows = [
        [
            domain_name(f.domain),
            number(f.ce),
            *(signed(f.rises[a]) for a in alphas),
            *(signed(f.predicted[a]) for a in alphas),
        ]
        for f in found.findings
    ]
    tokens = min(f.tokens for f in found.findings)
    print_table(
        Table.of(
            "Rise of cross-entropy", columns, rows, f"nats per token; {tokens:,} tokens each, {found.text}"
        )
    )


def _causes(found: Investigation) -> None:
    columns = ["domain", "importance", "mean a", "mean a²", "strong", "damage there", "fires on", "lost"]
    rows = [
        [
            domain_name(f.domain),
            f.importance,
            signed(f.activation),
            f.energy,
            f"{f.strong:.1%}",
            None if f.where is None else f"{f.where.at:.0%}",
            _joined([r.token for r in f.reads]),
            _joined([x.token for x in f.lost]),
        ]
        for f in found.findings
    ]
    caption = (
        f"a = ‖u‖ v·x; strong: |a| above its root mean square over all domains; damage there, lost: at α = "
        f"{found.strongest:g}"
    )
    print_table(Table.of("What it reads, and where the damage falls", columns, rows, caption))


def _direct(found: Investigation) -> None:
    both = zip(found.direct.raises, found.direct.lowers, strict=False)
    rows = [[_token(up), f"{high:+.1f}", _token(down), f"{low:+.1f}"] for (up, high), (down, low) in both]
    if rows:
        caption = f"{found.direct.way}; σ over the vocabulary, the final norm's gain folded in"
        print_table(Table.of("Written to the logits directly", ["raises", "σ", "lowers", "σ"], rows, caption))


def _follows(found: Investigation) -> None:
    """Next tokens that the harvest found likelier where it fires."""
    rows = [
        [_token(r.text), r.pmi, f"{r.precision:.1%}", f"{r.recall:.1%}"] for r in found.follows(_FOLLOWING)
    ]
    if rows:
        caption = "PMI (nats), mean probability there, share of all the probability it gets; from the harvest"
        print_table(
            Table.of("Likelier where it fires", ["next token", "PMI", "there", "recall"], rows, caption)
        )


def _contexts(f: Finding, alpha: float) -> None:
    if not f.contexts:
        return
    rows = [[_before(c), _token(c.token), number(c.ce_base, 2), number(c.ce, 2)] for c in f.contexts]
    columns = ["context", "lost token", "CE", "CE turned"]
    caption = "⟨token⟩: strongly active there"
    print_table(Table.of(f"{domain_name(f.domain)}: worst contexts at α = {alpha:g}", columns, rows, caption))


def _before(context: Context) -> str:
    pairs = zip(context.before, context.active, strict=True)
    return visible("".join(f"⟨{token}⟩" if active else token for token, active in pairs))


def _joined(tokens: list[str]) -> str:
    return " ".join(_token(t) for t in tokens[:_SHOWN])


def _token(token: str) -> str:
    return visible(token.replace(" ", "␣"))
