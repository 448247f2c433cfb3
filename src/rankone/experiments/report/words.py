"""What a report says in words: the finding, what each figure shows, and how it can fool you."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rankone.edits.fitting.aim import CHANCE_SHARE
from rankone.experiments.names import domain_names, method_name
from rankone.experiments.report.results import Results
from rankone.experiments.response import AlphaRise
from rankone.experiments.tables import DAMAGE_BAR, EditRow, Tally, fits
from rankone.render.values import formatted, number, signed
from rankone.text.domains import domain_name

_CAVEATS = (
    (
        "Chance is not forgetting.",
        "A CE of ln V is what a uniform guess gets. A model can also reach it by being confidently wrong, "
        "and what it knew about {forget} can still be in its weights.",
    ),
    (
        "α < 0 injects, it does not remove.",
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


def caveats(results: Results) -> list[tuple[str, str]]:
    """Head and body of each caveat that holds here."""
    ran = [tally.settings for tallies in results.counted.values() for tally in tallies.values()]
    kept = _CAVEATS if max(ran) > 1 else _CAVEATS[:-1]
    return [(head, body.replace("{forget}", domain_name(results.aim.domain))) for head, body in kept]


def claim(results: Results) -> str:
    """The finding in one sentence; every number comes from `runs.parquet`."""
    first, aim = results.methods[0], results.aim
    forget = domain_name(aim.domain)
    subject, budget = _subject(results, first), results.smallest[first]
    if budget is None:
        most, tally = max(results.counted[first].items(), key=lambda item: (item[1].successes, -item[0]))
        return (
            f"{subject} does not reliably remove {forget}: at best {tally.successes} of {tally.seeds} "
            f"seeds succeed, at {most:,} {forget} tokens ({success_rule(results)})."
        )
    tally = results.counted[first][budget]
    return (
        f"{subject}, fitted to {budget:,} {forget} tokens, moves {forget} from "
        f"{number(base(results, aim.domain), 2)} to {number(tally.forget_ce, 2)} nats per token "
        f"(chance is {number(aim.chance, 2)}) and changes {domain_names(aim.retain)} by "
        f"{', '.join(signed(tally.damage[d]) for d in aim.retain)} (means over seeds); "
        f"{tally.successes} of {tally.seeds} seeds succeed ({success_rule(results)})."
    )


def others(results: Results) -> str:
    """What the other methods need, in one sentence; empty without any."""
    said = [
        f"{method_name(m)}: {_needs(results.smallest[m], results.counted[m])}" for m in results.methods[1:]
    ]
    return (
        f"The fewest {domain_name(results.aim.domain)} tokens that suffice for other methods: {'; '.join(said)}."
        if said
        else ""
    )


def _subject(results: Results, method: str) -> str:
    """The method; of a scalar with the subcomponent and its label."""
    if method != "scalar":
        return method_name(method)
    return f"One scalar on {results.summary.part} (“{results.summary.label}”)"


def base(results: Results, domain: str) -> float:
    """CE of the unedited model on test text, nats per token."""
    return next(row["ce_base"] for row in results.runs if row["domain"] == domain)


def _needs(budget: int | None, tallies: Mapping[int, Tally]) -> str:
    return f"none up to {max(tallies):,} tokens" if budget is None else f"{budget:,} tokens"


def success_rule(results: Results) -> str:
    """What counts as success."""
    return (
        f"{domain_name(results.aim.domain)} CE ≥ {number(CHANCE_SHARE, 2)} × chance ({number(results.aim.chance, 2)}) and "
        f"{domain_names(results.aim.retain)} rise < {number(DAMAGE_BAR, 1)}"
    )


def seen_in_success(results: Results) -> str:
    """What the figure of successes shows."""
    said = [f"{method_name(m)}: {_needs(results.smallest[m], results.counted[m])}" for m in results.methods]
    return f"Lines of the share of seeds that succeed against the budget. Eight of nine succeed from, {'; '.join(said)}."


def seen_in_trade_off(results: Results) -> str:
    """What the figure of all runs shows."""
    aim = results.aim
    every = fits(results.runs, aim)
    kept = [f for f in every if f.succeeds(aim)]
    by = {m: sum(f.method == m for f in kept) for m in results.methods}
    said = ", ".join(f"{method_name(m)} {n}" for m, n in by.items())
    return (
        f"Points of {len(every)} runs, {domain_name(aim.domain)} rise against {domain_names(aim.retain)} rise; "
        f"{len(kept)} lie in the area of success: {said}."
    )


def seen_in_damage(results: Results) -> str:
    """What the figure of damage shows."""
    said = []
    for method in results.methods:
        damage = results.counted[method][max(results.counted[method])].damage
        worst = max(damage, key=lambda d: damage[d])
        said.append(f"{method_name(method)} harms {domain_name(worst)} most, {signed(damage[worst], 2)}")
    return f"Dots of the rise of every other domain by method; at the largest budget {'; '.join(said)}."


def seen_in_response(rows: Sequence[AlphaRise], forget: str) -> str:
    """What the figure of a scale response shows, from rows of `response.parquet` of one part."""
    said = []
    for domain in dict.fromkeys(row["domain"] for row in rows):
        by_alpha = {row["alpha"]: row["ce"] for row in rows if row["domain"] == domain}
        worst = max(by_alpha, key=lambda a: by_alpha[a])
        start = by_alpha.get(1.0, min(by_alpha.values()))
        said.append(
            (
                by_alpha[worst] - start,
                domain,
                f"from {number(start, 2)} to {number(by_alpha[worst], 2)} at α = {formatted(worst, 'g')}",
            )
        )
    named = sorted(said, key=lambda item: (item[1] != forget, -item[0]))[:3]
    listed = "; ".join(f"{domain_name(domain)} {words}" for _, domain, words in named)
    return f"Lines of cross-entropy by domain as α moves: {listed}."


def seen_in_zero_token(rows: Sequence[EditRow], forget: str) -> str:
    """What the figure of untrained edits shows."""
    said = []
    for edit in dict.fromkeys(row["edit"] for row in rows):
        by_domain = {r["domain"]: r["rise"] for r in rows if r["edit"] == edit}
        rest = max((rise for d, rise in by_domain.items() if d != forget), default=0.0)
        said.append(
            f"{edit}: {domain_name(forget)} {signed(by_domain.get(forget, 0.0), 2)}, at most {signed(rest, 2)} elsewhere"
        )
    return f"Bars of the rise by domain. {'; '.join(said)}."
