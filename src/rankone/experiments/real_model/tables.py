"""The job on a real model as tables: what was promised, what each edit does, what the sources of parts came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rankone.edits.finding.tolerances import Tolerances
from rankone.experiments.real_model.results import SCALE, TITLES, TRAINED, TRAINED_LORA, Language, bars
from rankone.experiments.real_model.stages import Seconds
from rankone.metrics.damage_record import interval_said
from rankone.render.columns import Column
from rankone.render.tables import Table
from rankone.render.values import formatted
from rankone.text.domains import domain_name


def bars_table(result: Language, tolerance: Tolerances) -> Table:
    """One row per bar: measured, asked for, met; where something was trained from the scale, the scale beside it."""
    checked = bars(result, tolerance)
    held = result.held_out[result.shipped]
    where = (
        "text of sources that nothing was found, chosen or fitted on" if held.unseen else "built-in test text"
    )
    columns = [
        Column("bar", key=True),
        Column(TITLES[result.shipped] if result.shipped != SCALE else "measured", ".3f", priority=3),
        Column("asked for", priority=2),
        Column("met"),
    ]
    rows: list[tuple[object, ...]] = [(b.name, b.value, b.bar, "yes" if b.met else "no") for b in checked]
    if result.shipped != SCALE:
        columns.insert(1, Column(TITLES[SCALE], ".3f", priority=2))
        before = {bar.name: bar.value for bar in bars(result, tolerance, SCALE)}
        rows = [(row[0], before.get(str(row[0])), *row[1:]) for row in rows]
    return Table.of(
        f"{domain_name(result.language)}: what was promised",
        columns,
        rows,
        f"Rises of cross-entropy in nats per token, on {where}; chance is ln V = {result.chance:.2f}.",
        strong=[i for i, b in enumerate(checked) if not b.met],
    )


def damage_table(result: Language) -> Table:
    """One row per corpus and domain: the base model, then every edit."""
    rows, measured = [], []
    for corpus, damages in result.held_out[SCALE].damage.items():
        for domain, damage in damages.items():
            each = [result.held_out[name].damage[corpus][domain] for name in result.fits]
            measured += each
            rows.append((f"{domain} ({corpus})", damage.base, *(one.shown for one in each), damage.tokens))
    titles = {**TITLES, SCALE: f"one scale, α {formatted(result.alpha, '+.3g')}"}
    return Table.of(
        f"{domain_name(result.language)}: held-out text",
        [
            Column("text", key=True),
            Column("base", ".2f"),
            *(Column(titles[name], priority=3 if name == result.shipped else 2) for name in result.fits),
            Column("tokens"),
        ],
        rows,
        f"Rise of cross-entropy, nats per token, {interval_said(measured)}. {_fitted_on(result)}",
        strong=[i for i, row in enumerate(rows) if str(row[0]).startswith(f"{result.language} ")],
    )


def _fitted_on(result: Language) -> str:
    """What text each edit got, and what set its size."""
    fits = result.fits
    said = (
        f"The scale and the LoRA of rank 1 on its matrix got {fits[SCALE].forget_tokens} forget tokens and the same spared "
        "text, and their size by the same rule."
    )
    if TRAINED not in fits:
        return said
    trained = fits[TRAINED]
    return (
        f"{said} Directions trained: both of the scale's, {trained.steps} steps on {trained.forget_tokens:,} forget tokens, "
        "every domain held within its tolerance"
        + ("; LoRA, same training: the same from a LoRA's random start." if TRAINED_LORA in fits else ".")
    )


def sources_table(result: Language) -> Table:
    """The best part of every source, by what it does on validation text within the tolerances."""
    search, turned = result.search, 0
    rows: list[tuple[object, ...]] = [
        (p.source, p.part, p.alpha, p.rise, p.worst, p.worst_domain, p.about)
        for p in search.best_of_each_source()
    ]
    if (pair := search.pair) is not None:
        steps = ", ".join(f"{name} {formatted(1 + step, '+.3g')}" for name, step in pair.steps.items())
        turned = len(rows) if search.chosen_pair else 0
        rows.append(
            (
                f"{len(pair.steps)} by one number",
                steps,
                None,
                pair.rise,
                pair.worst,
                pair.worst_domain,
                pair.about,
            )
        )
    columns = [
        Column("source", key=True),
        Column("best part", priority=2),
        Column("α", "+.3g", priority=2),
        Column("rise", "+.2f", priority=3),
        Column("worst", "+.3f", priority=2),
        Column("on"),
        Column("about", "+.2f"),
    ]
    caption = (
        "Validation text of the package; the α of each is the one that raises the target most within "
        f"{result.search.tolerance} (about: English about the country)."
    )
    return Table.of(
        f"{domain_name(result.language)}: the best part of every source",
        columns,
        rows,
        caption,
        strong=[turned],
    )


def seconds_table(seconds: Mapping[str, Seconds]) -> Table:
    """What every stage took."""
    rows = [(name, spent.clock, spent.processor) for name, spent in seconds.items()]
    rows.append(("in all", sum(r[1] for r in rows), sum(r[2] for r in rows)))
    columns = [Column("stage", key=True), Column("clock, s", ".0f"), Column("processor, s", ".0f")]
    return Table.of(
        "Time", columns, rows, "Processor seconds are those of all threads.", strong=[len(rows) - 1]
    )


def all_tables(results: Sequence[Language], tolerance: Tolerances) -> list[Table]:
    """What the command prints."""
    return [
        t
        for result in results
        for t in (bars_table(result, tolerance), damage_table(result), sources_table(result))
    ]
