"""One part as a self-contained HTML page: no script, nothing loaded, all foreign text inert."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankone.core.artifact import refuse_existing, write_text
from rankone.experiments.part_figures import response_key, scale_response
from rankone.experiments.report.words import seen_in_response
from rankone.experiments.tables import ResponseRow
from rankone.harvest.reading.page import Example
from rankone.render.figures import Drawing, drawing
from rankone.render.pages import rendered
from rankone.render.values import formatted, number, signed
from rankone.show import tables
from rankone.show.portrait import Portrait, Response, cluster_words, strongest
from rankone.text.domains import domain_name
from rankone.text.vocabulary import with_neighbours

# Rows of the tables of tokens.
TOKENS = 20


def write_portrait(shown: Portrait, path: Path, examples: int = 30) -> None:
    """Write the page to a file that must not exist."""
    refuse_existing(path)
    write_text(path, portrait_page(shown, examples), new=True)


def portrait_page(shown: Portrait, examples: int = 30) -> str:
    """The page as HTML."""
    return rendered(
        "portrait.html",
        title=shown.page.part,
        labels=shown.labels,
        facts=_facts(shown),
        source=shown.source,
        cluster=None if shown.cluster is None else cluster_words(shown, shown.cluster),
        members=tables.members(shown),
        domains=tables.domains(shown),
        inputs=tables.inputs(shown, TOKENS),
        outputs=tables.outputs(shown, TOKENS),
        windows=[(domain_name(e.domain), _window(e)) for e in strongest(shown.page.examples, examples)],
        cofiring=tables.cofiring(shown),
        directions=list(zip(shown.directions, tables.directions(shown), strict=True)),
        nearest=tables.NEAREST,
        around=shown.around,
        response=_response(shown),
        rises=tables.response(shown),
    )


def _facts(shown: Portrait) -> list[tuple[str, str]]:
    page = shown.page
    return [
        (f"{page.firings:,}", f"firings in {page.tokens:,} tokens"),
        (_percent(shown.density), f"density (importance over {shown.firing:g})"),
        *((_percent(d), f"over {t:g}") for t, d in page.densities.items() if t != shown.firing),
        (number(page.mean_importance, 4), "mean importance"),
        (signed(page.mean_activation), "mean activation ‖u‖ v·x"),
    ]


def _percent(share: float) -> str:
    return formatted(share, ".2%")


def _window(example: Example) -> list[tuple[str, str, float, str]]:
    """Its tokens as (text, class, importance, what the mouse is told); the class is empty where it is not important."""
    tokens = with_neighbours(example.tokens, example.centre)
    values = zip(tokens, example.importances, example.activations, strict=True)
    made = []
    for i, (text, importance, activation) in enumerate(values):
        centre = i == example.centre
        kind = ("p" if activation >= 0 else "n") + (" c" if centre else "")
        said = f"importance {importance:.2f}, activation {signed(activation)}"
        made.append((text, kind if importance >= 0.01 or centre else "", importance, said))
    return made


def _response(shown: Portrait) -> Drawing | None:
    if shown.response is None:
        return None
    measured = dict.fromkeys(row.domain for row in shown.response.rows)
    first = [row.domain for row in shown.domains[:2] if row.domain in measured]
    domains = list(dict.fromkeys([*first, *measured]))
    return response_curves(shown.page.part, shown.response, domains)


def response_curves(name: str, response: Response, domains: Sequence[str]) -> Drawing:
    """The figure of a part's scale response; what is seen in it is said of the first of the domains."""
    rows: list[ResponseRow] = [
        {"part": name, "alpha": r.alpha, "domain": r.domain, "ce_base": r.ce_base, "ce": r.ce, "rise": r.rise}
        for r in response.rows
    ]
    figure = scale_response(rows, name, response.chance, domains)
    caption = f"{response.tokens:,} tokens of validation text per domain, nats per token."
    return drawing(figure, "response", seen_in_response(rows, domains[0]), caption, response_key(domains))
