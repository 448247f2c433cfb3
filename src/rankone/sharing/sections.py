"""The tables of a card, from the files of the artefact: whatever was measured, and is said there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import JsonValue

from rankone.core.artifact import Artifact
from rankone.core.errors import RankOneError


class Section(NamedTuple):
    """A table of a card under its title."""

    title: str
    heading: Sequence[str]
    rows: Sequence[Sequence[object]]


def sections(artifact: Artifact) -> list[Section]:
    """Whatever the artefact's files say; a section without rows is left out."""
    makers = (
        *(_verdict, _maskings, _sites, _parts, _measured, _text, _labels),
        *(_languages, _methods, _claims, _outputs, _graph_maskings, _verified),
    )
    made = (make(artifact) for make in makers)
    return [section for section in made if section is not None and section.rows]


def _document(artifact: Artifact, name: str) -> dict[str, JsonValue]:
    try:
        return artifact.json(name) if name in artifact else {}
    except RankOneError:
        return {}


def _rows(value: JsonValue) -> list[dict[str, JsonValue]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _by_name(value: JsonValue) -> dict[str, dict[str, JsonValue]]:
    pairs = value.items() if isinstance(value, dict) else ()
    return {name: row for name, row in pairs if isinstance(row, dict)}


def _verdict(artifact: Artifact) -> Section | None:
    verdict = _document(artifact, "evidence.json").get("verdict")
    if not isinstance(verdict, dict):
        return None
    rows = [
        [row.get("name"), "yes" if row.get("met") else "no", row.get("said")]
        for row in _rows(verdict.get("properties"))
    ]
    return Section("Verdict", ("property", "met", "measured"), rows)


def _maskings(artifact: Artifact) -> Section:
    rows = _rows(_document(artifact, "evidence.json").get("rows"))
    shown = [[r.get("masking"), r.get("delta"), r.get("ce"), r.get("kl")] for r in rows]
    heading = ("masking", "delta on", "CE, nats per token", "KL from the target")
    return Section("Maskings, on held-out text", heading, shown)


def _sites(artifact: Artifact) -> Section | None:
    if artifact.manifest.kind != "edit":
        return None
    sites = _by_name(artifact.json().get("sites"))
    rows = [[name, f"{s.get('d_out')} × {s.get('d_in')}", s.get("rank")] for name, s in sites.items()]
    return Section("Sites", ("site", "weight", "rank of the change"), rows)


def _parts(artifact: Artifact) -> Section | None:
    """The sets of an artefact of parts."""
    if artifact.manifest.kind != "parts":
        return None
    rows = []
    for one in _rows(artifact.json().get("sets")):
        sites, made = one.get("sites"), one.get("made")
        said = made.items() if isinstance(made, dict) else ()
        how = ", ".join(f"{k} {v}" for k, v in said if v not in ("", None) and k != "source")
        rows.append([one.get("origin"), ", ".join(map(str, sites)) if isinstance(sites, list) else "", how])
    return Section("Parts", ("origin", "sites", "how they were made"), rows)


def _measured(artifact: Artifact) -> Section:
    rows = _rows(artifact.provenance.get("measured"))
    keys = ("domain", "role", "base", "edited", "rise", "low", "high")
    heading = ("domain", "role", "CE before", "CE after", "rise", "95 % from", "to")
    title = "Damage, on held-out text, nats per token"
    return Section(title, heading, [[row.get(key) for key in keys] for row in rows])


def _text(artifact: Artifact) -> Section | None:
    if artifact.manifest.kind != "harvest":
        return None
    config = artifact.json()
    tokens = config.get("tokens")
    rows: list[Sequence[object]] = [[d, n] for d, n in tokens.items()] if isinstance(tokens, dict) else []
    return Section(f"Text ({config.get('parts')} parts counted)", ("domain", "tokens"), rows)


def _labels(artifact: Artifact) -> Section | None:
    """The most confident labels."""
    if artifact.manifest.kind != "labels":
        return None
    rows = artifact.table("labels").read().select(["part", "label", "confidence", "source"]).to_pylist()
    rows.sort(key=lambda row: -(row["confidence"] if isinstance(row["confidence"], float) else 0.0))
    title = f"The most confident of {len(rows)} labels"
    return Section(title, ("part", "label", "confidence", "by"), [list(row.values()) for row in rows[:20]])


def _methods(artifact: Artifact) -> Section:
    """Of a job: how many seeds of each method succeed, at every budget."""
    by_method = _by_name(_document(artifact, "summary.json").get("methods"))
    rows = [
        [
            method,
            budget,
            f"{t.get('successes')}/{t.get('seeds')}",
            t.get("forget_rise"),
            _worst(t.get("damage")),
        ]
        for method, tallies in by_method.items()
        for budget, t in _by_name(dict(tallies)).items()
    ]
    heading = ("method", "tokens to forget", "seeds that succeed", "rise", "largest damage")
    return Section("Methods, on held-out text, nats per token", heading, rows)


def _worst(damage: JsonValue) -> float | None:
    values = damage.values() if isinstance(damage, dict) else ()
    return max((value for value in values if isinstance(value, float)), default=None)


def _languages(artifact: Artifact) -> Section:
    """Of the job on a real model: its bars by language."""
    by_language = _by_name(_document(artifact, "summary.json").get("languages"))
    rows = [
        [language, bar.get("name"), bar.get("value"), bar.get("bar"), "yes" if bar.get("met") else "no"]
        for language, said in by_language.items()
        for bar in _rows(said.get("bars"))
    ]
    return Section("Bars", ("language", "what", "value", "bar", "met"), rows)


def _claims(artifact: Artifact) -> Section:
    """Of a benchmark: the claims and their verdicts, by the text that was retained."""
    by_set = _document(artifact, "verdicts.json").items()
    rows = [
        [retain, claim.get("claim"), claim.get("verdict"), claim.get("figures")]
        for retain, claims in by_set
        for claim in _rows(claims)
    ]
    return Section("Claims", ("retained", "claim", "verdict", "figures"), rows)


def _outputs(artifact: Artifact) -> Section:
    """Of a graph: what it leads to."""
    said = _document(artifact, "graph.json")
    rows = [[said.get("prompt"), o.get("text"), o.get("probability")] for o in _rows(said.get("outputs"))]
    return Section("Prompt and outputs", ("prompt", "output", "probability"), rows)


def _graph_maskings(artifact: Artifact) -> Section:
    """Of a graph: how much of the output its nodes alone give."""
    rows = _rows(_document(artifact, "graph.json").get("masked"))
    keys = ("masks", "nodes", "probability", "kl")
    shown = [[*(row.get(key) for key in keys), "random" if row.get("random") else "chosen"] for row in rows]
    heading = ("masks", "nodes", "probability of the output", "KL from the target", "nodes are")
    return Section("With these nodes alone", heading, shown)


def _verified(artifact: Artifact) -> Section:
    report = _document(artifact, "verification.json")
    rows = [[k, v] for k, v in report.items() if isinstance(v, int | float | str) and not isinstance(v, bool)]
    title = "Verified" if artifact.manifest.kind == "graph" else "Verified after reload"
    return Section(title, ("figure", "value"), rows)
