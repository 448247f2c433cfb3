"""The report of a results directory: figures as SVG and one self-contained page, drawn from saved tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from rankone.core.artifact import file_hash, read_json, write_text
from rankone.core.errors import RankOneError
from rankone.core.escaping import html_text as text
from rankone.experiments import component_figures, figures
from rankone.experiments.names import method_name, method_order
from rankone.experiments.tables import (
    CHANCE_SHARE,
    DAMAGE_BAR,
    IMPORTANCE,
    Row,
    Summary,
    Tally,
    compared_budgets,
    domains_of,
    fits,
    read_table,
    smallest_budget,
    summarise_runs,
)
from rankone.render.page import Cell, Section, drawing, page, paragraph, passage, table, token
from rankone.render.theme import svg
from rankone.render.values import number, signed
from rankone.text.domains import domain_name

_CAVEATS = (
    (
        "Chance is not forgetting.",
        "A CE of ln V is what a uniform guess gets. A model can also reach it by being confidently wrong, "
        "and what it knew about {forget} can still be in its weights.",
    ),
    (
        "α &lt; 0 injects, it does not remove.",
        "A negative scale writes the opposite of what the subcomponent wrote. Taking the part away is α = 0: "
        "compare the two in the scale curve and the zero-token edits.",
    ),
    (
        "The budget counts only the fit.",
        "Tokens spent in decomposing the model and in selecting the subcomponent are not counted. A LoRA on "
        "every matrix needs neither.",
    ),
    (
        "The test text is small.",
        "Differences of a few hundredths of a nat may not carry over to other text; the dots show the spread "
        "over seeds, not over texts.",
    ),
    (
        "One number undoes it.",
        "The merged scalar edit has rank one: whoever knows it can put the number back, and brief "
        "fine-tuning may do the same. It is a behavioural edit, not security.",
    ),
    (
        "The setting was chosen on this text.",
        "Where several retain weights or learning rates ran, tables and dots show the one that did best "
        "here, which flatters every method that ran more than one.",
    ),
)
"""Head and body of each caveat; the last holds only where several settings ran."""
_KEYS = ("chance", "forget", "retain", "component", "label", "base", "methods")


@dataclass(frozen=True)
class Results:
    """Everything a results directory holds, read and checked; optional parts are None where absent."""

    directory: Path
    summary: dict[str, Any]
    runs: list[dict[str, Any]]
    response: list[dict[str, Any]]
    components: list[dict[str, Any]]
    rollouts: list[dict[str, Any]]
    zero_token: list[dict[str, Any]] | None
    evidence: dict[str, Any] | None
    counted: Summary

    @property
    def chance(self) -> float:
        """ln V, nats per token."""
        return float(self.summary["chance"])

    @property
    def forget(self) -> str:
        """The domain to be removed."""
        return self.summary["forget"]

    @property
    def retain(self) -> str:
        """The domain that must stay as it is."""
        return self.summary["retain"]

    @property
    def methods(self) -> list[str]:
        """The methods in reading order."""
        return method_order(list(self.counted))


def read_results(directory: Path | str) -> Results:
    """Read and check a results directory; RankOneError names a missing file, column or key."""
    directory = Path(directory)
    summary = _with_keys(directory / "summary.json", _KEYS)
    runs = read_table(directory / "runs.parquet")
    zero, evidence = directory / "zero_token.parquet", directory / "evidence.json"
    return Results(
        directory=directory,
        summary=summary,
        runs=runs,
        response=read_table(directory / "response.parquet"),
        components=read_table(directory / "components.parquet"),
        rollouts=_rollouts(directory / "rollouts.json"),
        zero_token=read_table(zero) if zero.exists() else None,
        evidence=_with_keys(evidence, ("rows",)) if evidence.exists() else None,
        counted=summarise_runs(runs, float(summary["chance"]), summary["forget"], summary["retain"]),
    )


def _with_keys(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    value = read_json(path)
    for key in keys:
        if key not in value:
            raise RankOneError(f"'{path}' lacks the key '{key}'. Write it again with it.")
    return value


def _rollouts(path: Path) -> list[dict[str, Any]]:
    rows = read_json(path, list)
    for i, row in enumerate(rows):
        for key in ("prompt", "domain", "before", "after"):
            if not isinstance(row, dict) or key not in row:
                raise RankOneError(f"'{path}' entry {i} lacks the key '{key}'. Write it again with it.")
    return rows


def write_report(directory: Path | str) -> Path:
    """Draw `figures/*.svg` and `index.html` from the tables in `directory`; return the page's path.

    Files already there are exchanged. Raises RankOneError where a table that is not optional is missing or
    damaged (optional: `zero_token.parquet`, `evidence.json`; their sections then say so).
    """
    results = read_results(directory)
    sections = [
        Section("glance", "At a glance", _glance(results)),
        Section("trade-off", "Removal against damage", _trade_off(results)),
        Section("off-target", "What else changed", _off_target(results)),
        Section("scale", "Turning the number by hand", _scale(results)),
        Section("zero-token", "Edits without a training token", _zero_token(results)),
        Section("components", "The candidates", _components(results)),
        Section("rollouts", "Before and after", _rollout_pairs(results)),
        Section("evidence", "How good is the decomposition?", _evidence(results)),
        Section("caveats", "How this can fool you", _caveats(results)),
        Section("provenance", "Provenance", _provenance(results)),
    ]
    title = f"RankOne: removing {text(domain_name(results.forget))}"
    path = results.directory / "index.html"
    write_text(path, page(title, paragraph(_result_sentence(results), "lead"), sections))
    return path


def _draw(results: Results, name: str, fig: Figure, caption: str) -> str:
    """Save `fig` under figures/ and return it for the page."""
    drawn = svg(fig, name)
    write_text(results.directory / "figures" / f"{name}.svg", drawn)
    return drawing(drawn, caption, text(caption))


def _result_sentence(results: Results) -> str:
    """The finding in one sentence; every number comes from `runs.parquet`."""
    first = results.methods[0]
    smallest = smallest_budget(results.counted)
    forget, retain = domain_name(results.forget), domain_name(results.retain)
    subject = _subject(results, first)
    budget = smallest[first]
    if budget is None:
        most, tally = max(results.counted[first].items(), key=lambda item: (item[1]["successes"], -item[0]))
        said = (
            f"{subject} does not reliably remove {forget}: at best {tally['successes']} of {tally['seeds']} "
            f"seeds succeed, at {most:,} {forget} tokens"
        )
    else:
        tally = results.counted[first][budget]
        said = (
            f"{subject}, trained on {budget:,} {forget} tokens, moves {forget} from "
            f"{number(_base(results, results.forget), 2)} to {number(tally['forget_ce'], 2)} nats per token "
            f"(chance is {number(results.chance, 2)}) and changes {retain} by "
            f"{signed(tally['damage'][results.retain])} (means over seeds); "
            f"{tally['successes']} of {tally['seeds']} seeds succeed"
        )
    others = [f"{method_name(m)}: {_needs(smallest[m], results.counted[m])}" for m in results.methods[1:]]
    return text(
        said + (". Smallest sufficient budget otherwise: " + "; ".join(others) if others else "") + "."
    )


def _subject(results: Results, method: str) -> str:
    """The method; of a scalar with the subcomponent and its label."""
    if method != "scalar":
        return method_name(method)
    return f"One scalar on {results.summary['component']} (“{results.summary['label']}”)"


def _base(results: Results, domain: str) -> float:
    return next(row["ce_base"] for row in results.runs if row["domain"] == domain)


def _needs(budget: int | None, tallies: Mapping[int, Tally]) -> str:
    if budget is None:
        return f"none up to {max(tallies):,} tokens"
    return f"{budget:,} tokens"


def _glance(results: Results) -> str:
    largest = compared_budgets(results.counted)[-1]
    domains = [d for d in domains_of(results.runs, results.forget, results.retain) if d != results.forget]
    smallest = smallest_budget(results.counted)
    forget = text(domain_name(results.forget))
    header = ["method", "smallest sufficient budget", "seeds that succeed", f"{forget} CE", f"{forget} rise"]
    header += [f"{text(domain_name(d))} rise" for d in domains]
    rows = [_glance_row(m, smallest[m], results.counted[m][largest[m]], domains) for m in results.methods]
    caption = (
        f"Budgets are {forget} tokens; sufficient: at least 8 of 9 seeds succeed. All other columns: at "
        f"{text(figures.budgets_named(largest))} tokens, means over seeds, nats per token. Success: {forget} CE ≥ "
        f"{number(CHANCE_SHARE, 2)} × chance ({number(results.chance)}) and "
        f"{text(domain_name(results.retain))} rise &lt; {number(DAMAGE_BAR, 1)}. Coloured: at or above it."
    )
    drawn = figures.success_by_budget(results.runs, results.chance, results.forget, results.retain)
    return (
        table("glance-table", header, rows)
        + paragraph(caption, "note")
        + _mismatch(results)
        + _draw(results, "success", drawn, "Share of seeds that succeed, by method and budget.")
        + _by_budget(results)
    )


def _glance_row(method: str, smallest: int | None, tally: Tally, domains: Sequence[str]) -> list[Cell | str]:
    budget = "–" if smallest is None else f"{smallest:,}"
    row: list[Cell | str] = [text(method_name(method)), Cell(budget, "strong")]
    row += [
        f"{tally['successes']} of {tally['seeds']}",
        number(tally["forget_ce"]),
        signed(tally["forget_rise"]),
    ]
    return row + [_damage(tally["damage"].get(domain)) for domain in domains]


def _damage(rise: float | None) -> Cell:
    if rise is None:
        return Cell("–")
    return Cell(signed(rise), "over" if rise >= DAMAGE_BAR else "")


def _by_budget(results: Results) -> str:
    budgets = sorted({budget for tallies in results.counted.values() for budget in tallies})
    header = ["seeds that succeed, by budget", *(f"{budget:,}" for budget in budgets)]
    rows = [
        [text(method_name(m)), *(_share(results.counted[m].get(b)) for b in budgets)] for m in results.methods
    ]
    return table("success-table", header, rows)


def _share(tally: Tally | None) -> str:
    return f"{tally['successes']}/{tally['seeds']}" if tally else "–"


def _mismatch(results: Results) -> str:
    """Say so where summary.json counts other successes than runs.parquet."""
    wrong = [
        f"{text(method_name(method))} at {budget:,}"
        for method, tallies in results.counted.items()
        for budget, tally in tallies.items()
        if not _agrees(results.summary["methods"].get(method, {}).get(str(budget)), tally)
    ]
    if not wrong:
        return ""
    said = f"<strong>summary.json disagrees with runs.parquet</strong> on {', '.join(wrong)}"
    return paragraph(f"{said}; this page shows runs.parquet.")


def _agrees(said: Mapping[str, Any] | None, tally: Tally) -> bool:
    return said is not None and (said["successes"], said["seeds"]) == (tally["successes"], tally["seeds"])


def _trade_off(results: Results) -> str:
    fig = figures.trade_off(results.runs, results.chance, results.forget, results.retain)
    forget, retain = domain_name(results.forget), domain_name(results.retain)
    caption = (
        f"Every run: {forget} CE rise against {retain} CE rise, one panel per budget of {forget} tokens."
    )
    return _draw(results, "trade_off", fig, caption)


def _off_target(results: Results) -> str:
    fig = figures.off_target(results.runs, results.chance, results.forget, results.retain)
    caption = "CE rise of each domain at the smallest and the largest budget of all methods, else at each one's own."
    said = "Damage is only comparable where the edit worked: the head of each panel counts the successes."
    return _draw(results, "off_target", fig, caption) + paragraph(said, "note")


def _scale(results: Results) -> str:
    component = results.summary["component"]
    fig = component_figures.scale_response(
        results.response, component, results.chance, results.forget, results.retain
    )
    return _draw(
        results, "scale_response", fig, f"CE of each domain as the scale of {component} moves; no training."
    )


def _zero_token(results: Results) -> str:
    if results.zero_token is None:
        return paragraph("Left out: zero_token.parquet is not in this directory.", "note")
    fig = component_figures.zero_token(results.zero_token, results.chance, results.forget, results.retain)
    caption = (
        f"CE rise by domain of edits set without a training token, beside a reference that never learned "
        f"{domain_name(results.forget)} where one was measured."
    )
    return _draw(results, "zero_token", fig, caption)


def _components(results: Results, top: int = 20) -> str:
    rows = sorted(results.components, key=lambda row: row["rank"])[:top]
    named = [{"domain": k.removeprefix(IMPORTANCE)} for k in rows[0] if k.startswith(IMPORTANCE)]
    domains = domains_of(named, results.forget, results.retain)
    between = ["score", *(text(domain_name(d)) for d in domains)]
    header = ["rank", "subcomponent", "label", *between, "fires on", "leads to"]
    words = (1, 2, len(header) - 2, len(header) - 1)
    body = [_component_row(row, domains) for row in rows]
    fig = component_figures.importance(results.components, results.forget, results.retain, top)
    caption = "Mean causal importance (0 to 1) of the best-ranked subcomponents, by domain."
    note = paragraph(
        "Label: statistical, from a harvest of training text. Under each language: mean causal importance, 0 to 1. "
        "▸ the picked subcomponent.",
        "note",
    )
    return _draw(results, "importance", fig, caption) + table("components-table", header, body, words) + note


def _component_row(row: Row, domains: Sequence[str]) -> list[Cell | str]:
    name = Cell(
        ("▸ " if row["picked"] else "") + text(row["component"]), "words strong" if row["picked"] else ""
    )
    values = [number(row[IMPORTANCE + domain]) for domain in domains]
    return [
        str(row["rank"]),
        name,
        text(row["label"]),
        number(row["score"]),
        *values,
        _tokens(row["firing_tokens"]),
        _tokens(row["output_tokens"]),
    ]


def _tokens(tokens: Sequence[str]) -> str:
    return " ".join(token(value) for value in tokens[:12])


def _rollout_pairs(results: Results) -> str:
    if not results.rollouts:
        return paragraph("Left out: rollouts.json is empty.", "note")
    return "\n".join(_rollout_pair(row) for row in results.rollouts)


def _rollout_pair(row: Row) -> str:
    sides = "".join(
        f'<div><span class="note">{side}</span>{_continued(row["prompt"], row[side])}</div>'
        for side in ("before", "after")
    )
    return f'<p class="note">{text(domain_name(row["domain"]))}</p><div class="pair">{sides}</div>'


def _continued(prompt: str, said: str) -> str:
    rest = said.removeprefix(prompt)
    return f'<p class="text"><span class="prompt">{passage(prompt)}</span>{passage(rest)}</p>'


def _evidence(results: Results) -> str:
    if results.evidence is None:
        return paragraph("Left out: evidence.json is not in this directory.", "note")
    found = results.evidence
    rows = [
        [text(r.get("masking", "–")), _delta(r.get("delta")), _value(r.get("ce")), _value(r.get("kl"))]
        for r in found["rows"]
    ]
    said = (
        f"{_value(found.get('alive_total'))} of {_value(found.get('subcomponents'))} subcomponents are "
        f"alive; on average {_value(found.get('l0_total'))} matter at a position (L0). "
        f"Faithfulness error: {_value(found.get('faithfulness'))}."
    )
    header = ["masking", "delta kept", "CE (nats per token)", "KL to the target (nats per token)"]
    layers = [
        [text(r["layer"]), *(_value(r.get(k)) for k in ("l0", "alive", "subcomponents"))]
        for r in found.get("per_layer", [])
    ]
    each = table("layers-table", ["layer", "L0", "alive", "subcomponents"], layers) if layers else ""
    return paragraph(said) + table("evidence-table", header, rows, words=(1,)) + "<br>" + each


def _delta(value: bool | None) -> str:
    return "–" if value is None else "yes" if value else "no"


def _value(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return text(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return number(value) if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.2e}"
    return text(json.dumps(value, ensure_ascii=False))


def _caveats(results: Results) -> str:
    forget = text(domain_name(results.forget))
    ran = [tally["settings"] for tallies in results.counted.values() for tally in tallies.values()]
    items = _CAVEATS if max(ran) > 1 else _CAVEATS[:-1]
    said = "".join(f"<li><strong>{head}</strong> {body}</li>" for head, body in items)
    return "<ul>" + said.replace("{forget}", forget) + "</ul>"


def _provenance(results: Results) -> str:
    facts = {key: results.summary[key] for key in ("seconds", "peak_memory_bytes") if key in results.summary}
    facts |= results.summary.get("provenance") or {}
    rows = [[text(key), text(value)] for key, value in _flat(facts)]
    rows += [
        [f"SHA-256 of {text(p.name)}", f"<code>{file_hash(p)}</code>"] for p in _sources(results.directory)
    ]
    count = len(fits(results.runs, results.forget, results.retain))
    return paragraph(f"{count:,} fits; all numbers come from these files.") + table(
        "provenance-table", ["what", "value"], rows, words=(1,)
    )


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)


def _sources(directory: Path) -> list[Path]:
    return sorted(
        p for p in directory.iterdir() if p.suffix in (".parquet", ".json") and p.name != "manifest.json"
    )
