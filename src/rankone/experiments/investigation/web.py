"""An investigation as a self-contained HTML page: no script, nothing loaded, all foreign text inert."""

from __future__ import annotations

from pathlib import Path

from rankone.core.artifact import refuse_existing, write_text
from rankone.experiments.investigation import figures, shown
from rankone.experiments.investigation.study import Investigation
from rankone.experiments.investigation.words import summary
from rankone.render.figures import drawing
from rankone.render.pages import rendered
from rankone.render.values import formatted, signed
from rankone.text.domains import domain_name


def write_investigation(found: Investigation, path: Path) -> None:
    """Write the page to a file that must not exist."""
    refuse_existing(path)
    write_text(path, investigation_page(found))


def investigation_page(found: Investigation) -> str:
    """The page as HTML."""
    alpha = shown.alpha(found.strongest)
    most = max(found.findings, key=lambda f: f.rises[found.strongest])
    seen = (
        f"Bars of the rise by domain, a panel per α; {domain_name(most.domain)} rises most, "
        f"{signed(most.rises[found.strongest], 2)} at α = {alpha}."
    )
    active = max(found.findings, key=lambda f: f.strong)
    where = (
        f"Bars by domain: it is strongly active most often in {domain_name(active.domain)}, at "
        f"{formatted(active.strong, '.1%')} of the tokens."
    )
    return rendered(
        "investigation.html",
        title=f"What turning {found.page.part} does",
        labels=found.labels,
        sentences=summary(found),
        rises=shown.rises(found),
        rises_drawn=drawing(figures.rises(found), "rises", seen, "Bars: measured rise; dotted: chance."),
        causes=shown.causes(found),
        causes_drawn=drawing(
            figures.activity(found),
            "activity",
            where,
            f"Damage: summed rise of cross-entropy at α = {alpha}.",
        ),
        direct=shown.direct(found),
        way=found.direct.way,
        follows=shown.follows(found, 15),
        contexts=[made for f in found.findings if (made := shown.contexts(f, found.strongest)) is not None],
    )
