"""One subcomponent or component as a self-contained HTML page: no script, nothing loaded, all foreign text inert."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankone.core.artifact import refuse_existing, write_text
from rankone.decomposition.directions import DirectionRow
from rankone.experiments.component_figures import scale_response
from rankone.harvest.reading.page import Example, TokenRow, telling
from rankone.render.page import Section, drawing, page, paragraph, table, token
from rankone.render.page import text as inert
from rankone.render.theme import svg
from rankone.render.values import number, signed
from rankone.show.portrait import DIRECTIONS, LEAST_COSINE, Portrait, cluster_words, strongest
from rankone.text.domains import domain_name

STYLE = """
:root { --plus: 232 116 42; --minus: 61 132 198; --depth: .8; }
@media (prefers-color-scheme: dark) { :root { --depth: .6; } }
h1 { font-family: ui-monospace, monospace; font-size: 1.45rem; overflow-wrap: anywhere; }
p.label { font-size: 1.3rem; line-height: 1.35; margin: .2rem 0 .1rem; font-weight: 600; }
.facts { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 1.1rem 0; padding: 0; list-style: none; }
.facts b { display: block; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.facts li { color: var(--muted); font-size: .85rem; }
.facts b { color: var(--ink); }
.bar { display: block; height: .7rem; min-width: 2px; border-radius: 2px; background: rgb(var(--plus)); }
td:has(.bar) { width: 34%; vertical-align: middle; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: .4rem 1.2rem; }
.two > * { min-width: 0; }
h3 { font-size: .98rem; margin: 1.1rem 0 .4rem; }
.windows { margin: .6rem 0; padding: 0; list-style: none; }
.windows li { max-width: none; padding: .45rem .7rem; border: 1px solid var(--line); border-bottom-width: 0;
  background: var(--card); display: grid; grid-template-columns: 4.5rem 1fr; gap: .6rem; }
.windows li:first-child { border-radius: 8px 8px 0 0; }
.windows li:last-child { border-radius: 0 0 8px 8px; border-bottom-width: 1px; }
.windows small { color: var(--muted); padding-top: .15rem; overflow-wrap: anywhere; }
.windows p { margin: 0; max-width: none; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.7; }
mark { color: inherit; border-radius: 3px; padding: .1em 0; background: rgb(var(--hue) / calc(var(--g) * var(--depth))); }
mark.p { --hue: var(--plus); } mark.n { --hue: var(--minus); }
mark.c { font-weight: 700; outline: 1.5px solid rgb(var(--hue)); outline-offset: 1px; }
.key mark { padding: .1em .5em; }
.windows + .note { margin-top: .3rem; }
"""


def write_portrait(shown: Portrait, path: Path, examples: int = 30, tokens: int = 20) -> None:
    """Write the page to a file that must not exist."""
    refuse_existing(path)
    write_text(path, portrait_page(shown, examples, tokens))


def portrait_page(shown: Portrait, examples: int = 30, tokens: int = 20) -> str:
    """The page as HTML."""
    sections = [
        *([Section("members", "Members", _members(shown))] if shown.page.members else []),
        Section("where", "Where it fires", _domains(shown)),
        Section("tokens", "Tokens", _tokens(shown, tokens)),
        Section("examples", "Examples", _examples(shown, examples)),
        Section("neighbours", "Neighbours", _neighbours(shown)),
        Section("response", "Scale response", _response(shown)),
    ]
    return page(inert(shown.page.component), _lead(shown), sections, STYLE)


def _lead(shown: Portrait) -> str:
    parts = []
    for label in shown.labels:
        parts.append(paragraph(inert(label.label), "label"))
        said = f"{inert(label.source)}, confidence {number(label.confidence, 2)}. {inert(label.reasoning)}"
        parts.append(paragraph(said, "note"))
    if not parts:
        parts.append(paragraph("No label: none was given for this page.", "note"))
    own = shown.page
    facts = [
        (f"{own.firings:,}", f"firings in {own.tokens:,} tokens"),
        (_percent(shown.density), f"density (importance over {shown.firing:g})"),
        *((_percent(d), f"over {t:g}") for t, d in own.densities.items() if t != shown.firing),
        (number(own.mean_importance, 4), "mean importance"),
        (signed(own.mean_activation), "mean activation ‖u‖ v·x"),
    ]
    items = "".join(f"<li><b>{value}</b>{inert(what)}</li>" for value, what in facts)
    said = f"From {inert(shown.source)}."
    if shown.cluster is not None:
        said = f"{inert(cluster_words(shown, shown.cluster))}. {said}"
    return "\n".join([*parts, f'<ul class="facts">{items}</ul>', paragraph(said, "note")])


def _percent(share: float) -> str:
    return f"{number(100 * share, 2)} %"


def _members(shown: Portrait) -> str:
    rows = [
        [f"<code>{inert(row.component)}</code>", f"{row.firings:,}", _bar(row.share), _percent(row.share)]
        for row in shown.page.members
    ]
    header = ["subcomponent", "firings", "", "of the component's firings"]
    note = "The component fires where any member does; its activation is the root of the sum of squares of theirs."
    return table("members-table", header, rows, words=(0, 2)) + paragraph(note, "note")


def _bar(share: float) -> str:
    return f'<span class="bar" style="width:{100 * share:.1f}%"></span>'


def _domains(shown: Portrait) -> str:
    largest = max((row.density for row in shown.domains), default=0.0) or 1.0
    rows = [
        [
            inert(domain_name(row.domain)),
            _bar(row.density / largest),
            _percent(row.density),
            number(row.mean_importance, 4),
            signed(row.mean_activation),
            number(row.lift, 2),
            f"{row.tokens:,}",
        ]
        for row in shown.domains
    ]
    header = ["domain", "", "density", "mean importance", "mean activation", "lift", "tokens"]
    return table("domains", header, rows, words=(0, 1))


def _tokens(shown: Portrait, top: int) -> str:
    own = shown.page
    blocks = [
        ("Fires on", "firings-on", own.input_tokens, "firings"),
        ("Leads to (what the model predicts there)", "leads-to", own.output_tokens, "probability mass"),
    ]
    made = "".join(
        f"<div><h3>{title}</h3>{_token_table(name, rows, top, weight)}</div>"
        for title, name, rows, weight in blocks
    )
    note = "By weight × PMI (nats). Precision: share of its firings; recall: share of all occurrences."
    return f'<div class="two">{made}</div>' + paragraph(note, "note")


def _token_table(name: str, found: Sequence[TokenRow], top: int, weight: str) -> str:
    rows = [
        [
            token(row.text),
            number(row.pmi, 2),
            number(row.weight, 1 if row.weight % 1 else 0),
            _percent(row.precision),
            _percent(row.recall),
        ]
        for row in telling(found, top)
    ]
    return (
        table(name, ["token", "PMI", weight, "precision", "recall"], rows)
        if rows
        else paragraph("None.", "note")
    )


def _examples(shown: Portrait, count: int) -> str:
    found = strongest(shown.page.examples, count)
    if not found:
        return paragraph("The harvest kept none.", "note")
    items = "\n".join(
        f"<li><small>{inert(domain_name(e.domain))}</small><p>{_window(e)}</p></li>" for e in found
    )
    key = (
        '<span class="key">Background: importance; <mark class="p" style="--g:.8">activation above 0</mark> '
        '<mark class="n" style="--g:.8">below 0</mark>; the outlined token is the firing that was drawn.</span> '
        f"{len(found)} of a uniform sample of the firings, the most important first."
    )
    return paragraph(key, "note") + f'<ol class="windows">{items}</ol>'


def _window(example: Example) -> str:
    values = zip(example.tokens, example.importances, example.activations, strict=True)
    return "".join(_token(t, g, a, i == example.centre) for i, (t, g, a) in enumerate(values))


def _token(text: str, importance: float, activation: float, centre: bool) -> str:
    if importance < 0.01 and not centre:
        return inert(text)
    kind = ("p" if activation >= 0 else "n") + (" c" if centre else "")
    said = f"importance {importance:.2f}, activation {signed(activation)}"
    return f'<mark class="{kind}" style="--g:{importance:.2f}" title="{said}">{inert(text)}</mark>'


def _neighbours(shown: Portrait) -> str:
    together = [
        [
            f"<code>{inert(r.component)}</code>",
            number(r.jaccard, 2),
            f"{r.joint:,}",
            inert(shown.named.get(r.component, "")),
        ]
        for r in shown.page.cofiring[:12]
    ]
    header = ["component", "Jaccard", "together", "label"]
    body = "<h3>Fire together with it</h3>"
    body += table("cofiring", header, together, words=(0, 3)) if together else paragraph("None.", "note")
    made = "".join(
        f"<div><h3>{DIRECTIONS[key].capitalize()}</h3>{_direction_table(key, rows, shown.named)}</div>"
        for key, rows in shown.directions.items()
    )
    if not made:
        return body + paragraph(
            "No neighbours by direction: the decomposition was not given, or none is near.", "note"
        )
    note = (
        f"By |cosine|, from {LEAST_COSINE:g} on; read its sign with that of v·x. Norms between are left out."
    )
    return body + f'<div class="two">{made}</div>' + paragraph(note, "note")


def _direction_table(key: str, found: Sequence[DirectionRow], named: dict[str, str]) -> str:
    rows = [
        [f"<code>{inert(r.component)}</code>", signed(r.cosine, 2), inert(named.get(r.component, ""))]
        for r in found
    ]
    return table(f"direction-{key}", ["component", "cosine", "label"], rows, words=(0, 2))


def _response(shown: Portrait) -> str:
    if shown.response is None:
        return paragraph("Not measured for this page (<code>--response</code> measures it).", "note")
    name = shown.page.component
    rows = [{"component": name, **row} for row in shown.response.rows]
    first, second = ([row.domain for row in shown.domains] * 2)[:2]
    fig = scale_response(rows, name, shown.response.chance, first, second)
    caption = f"{shown.response.tokens:,} tokens of validation text per domain, nats per token."
    return drawing(svg(fig, "response"), f"Cross-entropy of every domain by the scale of {name}.", caption)
