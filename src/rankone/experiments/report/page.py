"""The report of a results directory: figures as SVG and one self-contained page, drawn from saved tables."""

from __future__ import annotations

from pathlib import Path

from rankone.core.artifact import write_text
from rankone.decomposition.evidence.records import Evidence, Outline
from rankone.experiments import figures, part_figures
from rankone.experiments.names import domain_names, method_name
from rankone.experiments.report import shown, words
from rankone.experiments.report.results import Results, read_results
from rankone.experiments.tables import Tally, domains_of, fits
from rankone.render.figures import Drawing, drawing
from rankone.render.pages import rendered
from rankone.text.domains import domain_name


def write_report(directory: Path | str) -> Path:
    """Draw `figures/*.svg` and `index.html` from the tables in `directory`; return the page's path.

    Files already there are exchanged. Raises RankOneError where a table that is not optional is missing or
    damaged (optional: `zero_token.parquet`, `evidence.json`; their sections then say so).
    """
    results = read_results(directory)
    drawn = _figures(results)
    for name, made in drawn.items():
        write_text(results.directory / "figures" / f"{name}.svg", made.file)
    texts = [{**dict(row), "name": domain_name(row.domain)} for row in results.rollouts]
    first = next((row for row in texts if row["domain"] == results.aim.domain), None)
    evidence = results.evidence
    page = rendered(
        "report.html",
        title=f"RankOne: removing {domain_name(results.aim.domain)}",
        claim=words.claim(results),
        others=words.others(results),
        first=first,
        texts=[row for row in texts if row is not first],
        sides=(("before", "before"), ("after", "after")),
        fit=shown.fit_shown(results),
        figures=drawn,
        curved=any(len(tallies) > 1 for tallies in results.counted.values()),
        damage=shown.damage(results),
        glance=shown.glance(results),
        successes=shown.successes(results),
        wrong=_mismatch(results),
        candidates=shown.candidates(results),
        evidence=evidence,
        maskings=shown.maskings(evidence) if evidence else None,
        layers=shown.layers(evidence) if evidence else None,
        verdict=shown.verdict(evidence) if evidence else None,
        missed=_missed(evidence),
        caveats=words.caveats(results),
        provenance=shown.provenance(results),
        fits=len(fits(results.runs, results.aim)),
    )
    path = results.directory / "index.html"
    write_text(path, page)
    return path


def _figures(results: Results) -> dict[str, Drawing]:
    aim, part = results.aim, results.summary.part
    forget, retain = domain_name(aim.domain), domain_names(aim.retain)
    response = [row for row in results.response if row["part"] == part]
    made = {
        "success": drawing(
            figures.success_by_budget(results.runs, aim), "success", words.seen_in_success(results)
        ),
        "trade_off": drawing(
            figures.trade_off(results.runs, aim),
            "trade_off",
            words.seen_in_trade_off(results),
            f"Every run: {forget} CE rise against {retain} CE rise, one panel per budget of {forget} tokens.",
        ),
        "off_target": drawing(
            figures.off_target(results.runs, aim),
            "off_target",
            words.seen_in_damage(results),
            "CE rise of each domain at the smallest and the largest budget of all methods, else at each one's own. "
            "Damage is only comparable where the edit worked: the head of each panel counts the successes.",
        ),
        "scale_response": drawing(
            part_figures.scale_response(
                results.response, part, aim.chance, domains_of(response, aim), part_figures.BESIDE_TEXT
            ),
            "scale_response",
            words.seen_in_response(response, aim.domain),
            key=part_figures.response_key(domains_of(response, aim)),
        ),
    }
    if (untrained := results.zero_token) is not None:
        made["zero_token"] = drawing(
            part_figures.zero_token(untrained, aim.chance, domains_of(untrained, aim)),
            "zero_token",
            words.seen_in_zero_token(untrained, aim.domain),
            "CE rise by domain of edits set without a training token, beside a reference that never learned "
            f"{forget} where one was measured.",
        )
    return made


def _missed(evidence: Outline | None) -> str:
    """Which properties miss their bar and which failures are there, in a few words; empty without a verdict."""
    if not isinstance(evidence, Evidence):
        return ""
    properties = evidence.verdict.properties
    missed = [finding.name.words for finding in properties if finding.met is False]
    held = sum(finding.met is True for finding in properties)
    failures = evidence.verdict.failures
    present = [finding.name.words for finding in failures if finding.met is False]
    return "; ".join(
        [
            f"{held} of the {len(properties)} properties asked of it hold",
            *([f"missed: {', '.join(missed)}"] if missed else []),
            *(
                [f"{len(present)} of the {len(failures)} faults looked for: {', '.join(present)}"]
                if present
                else []
            ),
        ]
    )


def _mismatch(results: Results) -> list[str]:
    """Where summary.json counts other successes than runs.parquet."""
    return [
        f"{method_name(method)} at {budget:,}"
        for method, tallies in results.counted.items()
        for budget, tally in tallies.items()
        if not _agrees(results.summary.methods.get(method, {}).get(budget), tally)
    ]


def _agrees(summarised: Tally | None, tally: Tally) -> bool:
    return summarised is not None and summarised.said == tally.said
