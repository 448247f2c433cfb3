"""The card of an artefact on the Hub: what it is, how to open it, and tables of what was measured, from its own files."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from rankone.core.artifact import Artifact
from rankone.core.errors import RankOneError
from rankone.core.escaping import html_text

_ABOUT = {
    "decomposition": "The weight matrices of a language model as sums of rank-one parts u vᵀ, with causal importances.",
    "parts": "Rank-one parts of a language model's weights.",
    "edit": "A low-rank change of a language model's weights.",
    "harvest": "What every part of a decomposition fires on and leads to, counted over labelled text.",
    "labels": "Labels of the parts of a harvest.",
    "components": "Clusters of subcomponents that fire together.",
    "evidence": "How good a decomposition is, measured on held-out text.",
    "graph": "Which parts of a language model's weights lead from a prompt to the next token.",
    "adapter": "A LoRA adapter in PEFT's format.",
    "model": "A language model as a plain checkpoint.",
}
_OPEN = {
    "decomposition": "rankone evidence {repo} --model MODEL",
    "parts": "rankone edit PART=ALPHA --parts {repo} --model MODEL",
    "edit": "rankone generate PROMPT --edit {repo} --model MODEL",
    "harvest": "rankone show PART --harvest {repo}",
    "labels": "rankone search WORD --harvest HARVEST --labels {repo}",
    "graph": "rankone graph-export {repo} --page FILE",
    "components": "rankone rank MODEL --of DOMAIN --clusters {repo}",
}
Rows = Sequence[Sequence[object]]


def card(artifact: Artifact, repo: str) -> str:
    """Markdown with the Hub's front matter; everything foreign in it is escaped."""
    kind = artifact.manifest.kind
    front = ["---", "library_name: rankone", f"tags: [rankone, {kind}]", "---"]
    lines = [
        *front,
        "",
        f"# {html_text(repo.rpartition('/')[2])}",
        "",
        _ABOUT.get(kind, f"A RankOne artefact of kind {kind}."),
    ]
    if kind in _OPEN:
        lines += [
            "",
            "```bash",
            "pip install rankone",
            f"rankone doctor {repo}",
            _OPEN[kind].format(repo=repo),
            "```",
        ]
    for title, heading, rows in _sections(artifact):
        lines += ["", f"## {title}", "", *_table(heading, rows)]
    return "\n".join([*lines, "", *_made(artifact), ""])


def _table(heading: Sequence[str], rows: Rows) -> list[str]:
    made = [f"| {' | '.join(heading)} |", "|" + "---|" * len(heading)]
    return [*made, *(f"| {' | '.join(_cell(value) for value in row)} |" for row in rows)]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return html_text(value).replace("|", "\\|")


def _sections(artifact: Artifact) -> list[tuple[str, Sequence[str], Rows]]:
    """Title, heading and rows of whatever the artefact's files say."""
    makers = (_verdict, _maskings, _sites, _measured, _text, _labels, _verified)
    return [section for make in makers if (section := make(artifact)) is not None]


def _document(artifact: Artifact, name: str) -> dict[str, JsonValue]:
    try:
        return artifact.json(name) if name in artifact else {}
    except RankOneError:
        return {}


def _rows(value: JsonValue) -> list[dict[str, JsonValue]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _verdict(artifact: Artifact) -> tuple[str, Sequence[str], Rows] | None:
    verdict = _document(artifact, "evidence.json").get("verdict")
    if not isinstance(verdict, dict):
        return None
    rows = [
        [row.get("name"), "yes" if row.get("met") else "no", row.get("said")]
        for row in _rows(verdict.get("properties"))
    ]
    return ("Verdict", ("property", "met", "measured"), rows) if rows else None


def _maskings(artifact: Artifact) -> tuple[str, Sequence[str], Rows] | None:
    rows = _rows(_document(artifact, "evidence.json").get("rows"))
    shown = [[r.get("masking"), r.get("delta"), r.get("ce"), r.get("kl")] for r in rows]
    heading = ("masking", "delta on", "CE, nats per token", "KL from the target")
    return ("Maskings, on held-out text", heading, shown) if shown else None


def _sites(artifact: Artifact) -> tuple[str, Sequence[str], Rows] | None:
    if artifact.manifest.kind != "edit":
        return None
    sites = artifact.json().get("sites")
    pairs = sites.items() if isinstance(sites, dict) else ()
    rows = [
        [name, f"{s.get('d_out')} × {s.get('d_in')}", s.get("rank")]
        for name, s in pairs
        if isinstance(s, dict)
    ]
    return "Sites", ("site", "weight", "rank of the change"), rows


def _measured(artifact: Artifact) -> tuple[str, Sequence[str], Rows] | None:
    rows = _rows(artifact.provenance.get("measured"))
    keys = ("domain", "base", "edited", "rise", "low", "high")
    shown = [[row.get(key) for key in keys] for row in rows]
    heading = ("domain", "CE before", "CE after", "rise", "95 % from", "to")
    return ("Damage, on held-out text, nats per token", heading, shown) if shown else None


def _text(artifact: Artifact) -> tuple[str, Sequence[str], Rows] | None:
    if artifact.manifest.kind != "harvest":
        return None
    config = artifact.json()
    tokens = config.get("tokens")
    rows: list[Sequence[object]] = [[d, n] for d, n in tokens.items()] if isinstance(tokens, dict) else []
    return f"Text ({config.get('parts')} parts counted)", ("domain", "tokens"), rows


def _labels(artifact: Artifact) -> tuple[str, Sequence[str], Rows] | None:
    """The most confident labels."""
    if artifact.manifest.kind != "labels":
        return None
    rows = artifact.table("labels").read().select(["part", "label", "confidence", "source"]).to_pylist()
    rows.sort(key=lambda row: -(row["confidence"] if isinstance(row["confidence"], float) else 0.0))
    title = f"The most confident of {len(rows)} labels"
    return title, ("part", "label", "confidence", "by"), [list(row.values()) for row in rows[:20]]


def _verified(artifact: Artifact) -> tuple[str, Sequence[str], Rows] | None:
    report = _document(artifact, "verification.json")
    rows = [[k, v] for k, v in report.items() if isinstance(v, int | float | str) and not isinstance(v, bool)]
    return ("Verified after reload", ("figure", "value"), rows) if rows else None


def _made(artifact: Artifact) -> list[str]:
    said = artifact.provenance
    versions = said.get("versions")
    packages = (
        ", ".join(f"{k} {v}" for k, v in versions.items())
        if isinstance(versions, dict)
        else "unknown versions"
    )
    revision = f", revision {said['git_revision']}" if said.get("git_revision") else ""
    return [
        f"Made {said.get('created', 'at an unknown time')} with {html_text(packages)}{html_text(revision)}. "
        f"Fingerprint of all files: `{artifact.fingerprint}`. Every file is listed with its SHA-256 in `manifest.json`; "
        "nothing is pickled."
    ]
