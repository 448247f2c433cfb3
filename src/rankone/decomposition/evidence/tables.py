"""The evidence as tables."""

from __future__ import annotations

from typing import Any

from rankone.decomposition.evidence.kinds import named
from rankone.render.tables import Table

CLEAR_GAP = 1.0  # decades
_DELTA = {None: "", True: "on", False: "off"}
_MET = {True: "yes", False: "NO", None: "not measured"}
_ABSENT = {True: "no", False: "YES", None: "not measured"}


def evidence_tables(found: dict[str, Any], name: str) -> list[Table]:
    """Every table of the evidence, the verdict last."""
    verdict = found["verdict"]
    return [
        _maskings(found, name),
        *([_broad(found["broad"], name)] if "broad" in found else []),
        _spectrum(found),
        _layers(found),
        _sites(found),
        _kinds(found),
        *([_basis(found["privileged_basis"])] if "privileged_basis" in found else []),
        _verdict("Verdict by property", "holds", _MET, verdict["properties"]),
        _verdict("Known failures", "found", _ABSENT, verdict["failures"]),
    ]


def _maskings(found: dict[str, Any], name: str) -> Table:
    adversary = found["adversary"]
    rows = [
        [
            named(r),
            _DELTA[r["delta"]],
            r["ce"],
            r["kl"],
            _percent(r["ce_unrecovered"]),
            r.get("kl_spread") if adversary["restarts"] > 1 else None,
        ]
        for r in found["rows"]
    ]
    share = found["l0_total"] / found["subcomponents"]
    caption = (
        f"{found['tokens']} tokens of {found['text']['name']} ({found['text']['split']}); "
        f"L0 {found['l0_total']:.1f} of {found['subcomponents']} ({share:.2%}), alive {found['alive_total']}, "
        f"kept {found['kept']}; faithfulness {found['faithfulness']:.3g}\n"
        f"adversary: one shared source vector, step {adversary['step']}, last iterate, worst of "
        f"{adversary['restarts']} restarts; spread: highest KL less lowest; up to {adversary['gradients']} gradients"
    )
    columns = ["masking", "delta", "CE", "KL", "CE unrecovered", "spread"]
    return Table.of(f"Evidence for {name} (nats per token)", columns, rows, caption)


def _broad(found: dict[str, Any], name: str) -> Table:
    """The second stream of a targeted decomposition."""
    rows = [[named(r), _DELTA[r["delta"]], r["ce"], r["kl"]] for r in found["rows"]]
    caption = f"{found['tokens']} tokens; L0 {found['l0_total']:.1f}, alive {found['alive_total']}"
    title = f"{name}, broad text with delta always on"
    return Table.of(title, ["masking", "delta", "CE", "KL"], rows, caption)


def _spectrum(found: dict[str, Any]) -> Table:
    spectrum = found["spectrum"]
    gap, alive = spectrum["widest_gap"], spectrum["gap_at_alive"]
    rows = []
    if gap is not None:
        rows.append(["widest gap", gap["above"], gap["below"], gap["decades"], gap["count"]])
    rows.append(["at 1e-6 (alive)", alive["above"], alive["below"], alive["decades"], found["alive_total"]])
    caption = f"{spectrum['zero']} have mean importance 0"
    if gap is None or gap["decades"] < CLEAR_GAP:
        caption += "; no clear gap: how many are alive hangs on the bound, and on how much text is read"
    columns = ["gap", "above", "below", "decades", "subcomponents above"]
    return Table.of("Spectrum of mean importances", columns, rows, caption)


def _layers(found: dict[str, Any]) -> Table:
    alone = {row["layer"]: row["kl"] for row in found["masked_alone"]["per_layer"]}
    attack = _attacked(found, "layer")
    rows = [
        [r["layer"], r["l0"], r["alive"], r["subcomponents"], alone[r["layer"]], attack[r["layer"]]]
        for r in found["per_layer"]
    ]
    columns = ["layer", "L0", "alive", "subcomponents", "KL masked alone", "KL attacked alone"]
    return Table.of("Per layer", columns, rows, _said_of_groups(found))


def _kinds(found: dict[str, Any]) -> Table:
    alone, attack = (
        {row["kind"]: row["kl"] for row in found["masked_alone"]["per_kind"]},
        _attacked(found, "kind"),
    )
    rows = [[kind, alone[kind], attack[kind]] for kind in alone]
    return Table.of(
        "Per kind of site", ["kind", "KL masked alone", "KL attacked alone"], rows, _said_of_groups(found)
    )


def _sites(found: dict[str, Any]) -> Table:
    alone = {row["site"]: row["kl"] for row in found["masked_alone"]["per_site"]}
    hidden = {row["site"]: row for row in found["hidden"]}
    rows = [
        [
            r["site"],
            *(r["l0"], r["alive"], r["subcomponents"], alone[r["site"]]),
            *(_percent(hidden[r["site"]][key]) for key in ("ci_share", "stochastic_share")),
        ]
        for r in found["per_site"]
    ]
    columns = ["site", "L0", "alive", "subcomponents", "KL masked alone", "output error, CI", "stochastic"]
    caption = (
        "output error: of all sites masked at once, as a share of the mean square of the untouched output"
    )
    return Table.of("Per site", columns, rows, caption)


def _basis(found: dict[str, Any]) -> Table:
    names = {
        "ratio_by_importance": "× its raw coordinate, by importance",
        "ratio_by_lead": "by lead",
        "best_parts": "best parts",
        "best_raw": "best raw",
        "best_singular": "singular",
        "best_contrast": "contrast",
    }
    rows = [[row["kind"], *(row[name] for name in names)] for row in found["kinds"]]
    leak = sum(row["share"] for row in found["read_leak"]) / max(len(found["read_leak"]), 1)
    caption = (
        f"specificity: root mean square of v·x on a domain over the highest on another; geometric means of {found['top']} "
        f"and over {len(found['tokens'])} domains. Read leak, mean of the sites: {leak:.2%} of the squared output"
    )
    return Table.of("Against the privileged basis", ["sites", *names.values()], rows, caption)


def _said_of_groups(found: dict[str, Any]) -> str:
    attack = found["adversary_by_group"]
    return (
        f"masked alone: CI as mask there, plain weights elsewhere; attacked alone: {attack['steps']} PGD steps on "
        f"{attack['tokens']} tokens, other sources at 1; with all sources {attack['whole']['kl']:.3g}"
    )


def _attacked(found: dict[str, Any], by: str) -> dict[str, float]:
    return {row["group"]: row["kl"] for row in found["adversary_by_group"]["groups"] if row["by"] == by}


def _verdict(title: str, word: str, names: dict[bool | None, str], rows: list[dict[str, Any]]) -> Table:
    lines = [[f"{row['name']}: {row['said']} (bar: {row['bar']})", names[row["met"]]] for row in rows]
    return Table.of(title, ["property" if names is _MET else "failure", word], lines)


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:.2%}"
