"""An investigation as a self-contained HTML page: no script, nothing loaded, all foreign text inert."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankone.core.artifact import refuse_existing, write_text
from rankone.experiments.investigation import figures, shown
from rankone.experiments.investigation.study import Investigation
from rankone.experiments.investigation.words import summary
from rankone.render.figures import drawing
from rankone.render.pages import rendered
from rankone.render.tables import Table
from rankone.render.values import formatted, signed
from rankone.text.domains import domain_name


def write_investigation(study: Investigation, path: Path, around: Sequence[Table] = ()) -> None:
    """Write the page to a file that must not exist; around: tables of what feeds the part."""
    refuse_existing(path)
    write_text(path, investigation_page(study, around), new=True)


def investigation_page(study: Investigation, around: Sequence[Table] = ()) -> str:
    """The page as HTML."""
    alpha = formatted(study.strongest, "g")
    most = max(study.findings, key=lambda f: f.rises[study.strongest])
    seen = (
        f"Bars of the rise by domain, a panel per α; {domain_name(most.domain)} rises most, "
        f"{signed(most.rises[study.strongest], 2)} at α = {alpha}."
    )
    active = max(study.findings, key=lambda f: f.strong)
    where = (
        f"Bars by domain: it is strongly active most often in {domain_name(active.domain)}, at "
        f"{formatted(active.strong, '.1%')} of the tokens."
    )
    return rendered(
        "investigation.html",
        title=f"What turning {study.page.part} does",
        labels=study.labels,
        sentences=summary(study),
        rises=shown.rises(study),
        rises_drawn=drawing(figures.rises(study), "rises", seen, "Bars: measured rise; dotted: chance."),
        causes=shown.causes(study),
        causes_drawn=drawing(
            figures.activity(study),
            "activity",
            where,
            f"Damage: summed rise of cross-entropy at α = {alpha}.",
        ),
        direct=shown.direct(study),
        way=study.direct.way,
        follows=shown.follows(study, 15),
        around=around,
        contexts=[made for f in study.findings if (made := shown.contexts(f, study.strongest)) is not None],
    )
