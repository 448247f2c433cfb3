"""The evidence as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rankone.decomposition.evidence.records import (
    Account,
    Evidence,
    Finding,
    Grouping,
    GroupScore,
    PrivilegedBasis,
    Spectrum,
)
from rankone.render.tables import Table

CLEAR_GAP = 1.0  # decades
_DELTA = {None: "", True: "on", False: "off"}
_MET = {True: "yes", False: "NO", None: "not measured"}
_ABSENT = {True: "no", False: "YES", None: "not measured"}
_BASIS = {
    "ratio_by_importance": "× its raw coordinate, by importance",
    "ratio_by_lead": "by lead",
    "best_parts": "best parts",
    "best_raw": "best raw",
    "best_singular": "singular",
    "best_contrast": "contrast",
}


def evidence_tables(evidence: Evidence, name: str) -> list[Table]:
    """Every table of the evidence, the verdict last."""
    basis, verdict = evidence.privileged_basis, evidence.verdict
    return [
        _maskings(evidence, name),
        *([_broad(evidence.broad, name)] if evidence.broad is not None else []),
        _spectrum(evidence.spectrum, evidence.alive_total),
        _layers(evidence),
        _sites(evidence),
        _kinds(evidence),
        *([_basis(basis)] if basis is not None else []),
        _verdict("Verdict by property", ("property", "holds"), _MET, verdict.properties),
        _verdict("Known failures", ("failure", "found"), _ABSENT, verdict.failures),
    ]


def _maskings(evidence: Evidence, name: str) -> Table:
    adversary, text = evidence.adversary, evidence.text
    rows = [
        [
            row.title,
            _DELTA[row.delta],
            row.ce,
            row.kl,
            _percent(row.ce_unrecovered),
            row.kl_spread if adversary.restarts > 1 else None,
        ]
        for row in evidence.rows
    ]
    share = evidence.l0_total / evidence.subcomponents
    caption = (
        f"{evidence.tokens} tokens of {text.name} ({text.split}); "
        f"L0 {evidence.l0_total:.1f} of {evidence.subcomponents} ({share:.2%}), alive {evidence.alive_total}, "
        f"kept {evidence.kept}; faithfulness {evidence.faithfulness:.3g}\n"
        f"adversary: one shared source vector, step {adversary.step}, last iterate, worst of "
        f"{adversary.restarts} restarts; spread: highest KL less lowest; up to {adversary.gradients} gradients"
    )
    columns = ["masking", "delta", "CE", "KL", "CE unrecovered", "spread"]
    return Table.of(f"Evidence for {name} (nats per token)", columns, rows, caption)


def _broad(account: Account, name: str) -> Table:
    """The second stream of a targeted decomposition."""
    rows = [[row.title, _DELTA[row.delta], row.ce, row.kl] for row in account.rows]
    caption = f"{account.tokens} tokens; L0 {account.l0_total:.1f}, alive {account.alive_total}"
    title = f"{name}, broad text with delta always on"
    return Table.of(title, ["masking", "delta", "CE", "KL"], rows, caption)


def _spectrum(spectrum: Spectrum, alive_total: int) -> Table:
    gap, at_alive = spectrum.widest_gap, spectrum.gap_at_alive
    rows = [] if gap is None else [["widest gap", gap.above, gap.below, gap.decades, gap.count]]
    rows.append(["at 1e-6 (alive)", at_alive.above, at_alive.below, at_alive.decades, alive_total])
    caption = f"{spectrum.zero} have mean importance 0"
    if gap is None or gap.decades < CLEAR_GAP:
        caption += "; no clear gap: how many are alive hangs on the bound, and on how much text is read"
    columns = ["gap", "above", "below", "decades", "subcomponents above"]
    return Table.of("Spectrum of mean importances", columns, rows, caption)


def _layers(evidence: Evidence) -> Table:
    alone, attacked = _alone(evidence, Grouping.LAYER), _attacked(evidence, Grouping.LAYER)
    rows = [
        [row.layer, row.l0, row.alive, row.subcomponents, alone[row.layer], attacked[row.layer]]
        for row in evidence.per_layer
    ]
    columns = ["layer", "L0", "alive", "subcomponents", "KL masked alone", "KL attacked alone"]
    return Table.of("Per layer", columns, rows, _said_of_groups(evidence))


def _kinds(evidence: Evidence) -> Table:
    alone, attacked = _alone(evidence, Grouping.KIND), _attacked(evidence, Grouping.KIND)
    rows = [[kind, alone[kind], attacked[kind]] for kind in alone]
    columns = ["kind", "KL masked alone", "KL attacked alone"]
    return Table.of("Per kind of site", columns, rows, _said_of_groups(evidence))


def _sites(evidence: Evidence) -> Table:
    alone, hidden = _alone(evidence, Grouping.SITE), {row.site: row for row in evidence.hidden}
    rows = [
        [
            *(row.site, row.l0, row.alive, row.subcomponents, alone[row.site]),
            *(_percent(hidden[row.site].ci_share), _percent(hidden[row.site].stochastic_share)),
        ]
        for row in evidence.per_site
    ]
    columns = ["site", "L0", "alive", "subcomponents", "KL masked alone", "output error, CI", "stochastic"]
    caption = (
        "output error: of all sites masked at once, as a share of the mean square of the untouched output"
    )
    return Table.of("Per site", columns, rows, caption)


def _basis(basis: PrivilegedBasis) -> Table:
    rows = [[row.kind, *(getattr(row, name) for name in _BASIS)] for row in basis.kinds]
    leak = sum(row.share for row in basis.read_leak) / max(len(basis.read_leak), 1)
    caption = (
        f"specificity: root mean square of v·x on a domain over the highest on another; geometric means of {basis.top} "
        f"and over {len(basis.tokens)} domains. Read leak, mean of the sites: {leak:.2%} of the squared output"
    )
    return Table.of("Against the privileged basis", ["sites", *_BASIS.values()], rows, caption)


def _said_of_groups(evidence: Evidence) -> str:
    attack = evidence.adversary_by_group
    return (
        f"masked alone: CI as mask there, plain weights elsewhere; attacked alone: {attack.steps} PGD steps on "
        f"{attack.tokens} tokens, other sources at 1; with all sources {attack.whole.kl:.3g}"
    )


def _alone(evidence: Evidence, by: Grouping) -> dict[str, float]:
    return _kl_by_group(evidence.masked_alone, by)


def _attacked(evidence: Evidence, by: Grouping) -> dict[str, float]:
    return _kl_by_group(evidence.adversary_by_group.groups, by)


def _kl_by_group(rows: Sequence[GroupScore], by: Grouping) -> dict[str, float]:
    return {row.group: row.kl for row in rows if row.by == by}


def _verdict(
    title: str, columns: tuple[str, str], names: dict[bool | None, str], findings: Sequence[Finding]
) -> Table:
    lines = [[f"{row.name.words}: {row.said} (bar: {row.bar})", names[row.met]] for row in findings]
    return Table.of(title, columns, lines)


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:.2%}"
