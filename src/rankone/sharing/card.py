"""The card of an artefact on the Hub: what it is, how to open it, and tables of what was measured, from its own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rankone.core.artifact import Artifact
from rankone.core.escaping import html_text
from rankone.sharing.sections import sections

_ABOUT = {
    "decomposition": "The weight matrices of a language model as sums of rank-one parts u vᵀ, with causal importances.",
    "parts": "Rank-one parts of a language model's weights.",
    "edit": "A low-rank change of a language model's weights.",
    "harvest": "What every part of a decomposition fires on and leads to, counted over labelled text.",
    "labels": "Labels of the parts of a harvest.",
    "components": "Clusters of subcomponents that fire together.",
    "evidence": "How good a decomposition is, measured on held-out text.",
    "graph": "Which parts of a language model's weights lead from a prompt to the next token.",
    "results": "What a job or a benchmark measured: tables, figures, a report (`index.html`), saved edits.",
    "adapter": "A LoRA adapter in PEFT's format.",
    "model": "A language model as a plain checkpoint.",
}
_OPEN = {
    "decomposition": "rankone evidence {name} --model MODEL",
    "parts": "rankone edit PART=ALPHA --parts {name} --model MODEL",
    "edit": "rankone generate PROMPT --edit {name} --model MODEL",
    "harvest": "rankone show PART --harvest {name}",
    "labels": "rankone search WORD --harvest HARVEST --labels {name}",
    "graph": "rankone graph-export {name} --page FILE",
    "components": "rankone rank MODEL --of DOMAIN --clusters {name}",
}


def card(artifact: Artifact, name: str) -> str:
    """Markdown with the Hub's front matter; everything foreign in it is escaped. name: what opens the artefact."""
    kind = artifact.manifest.kind
    lines = [
        *_front(kind),
        f"# {html_text(name.rpartition('/')[2])}",
        "",
        _ABOUT.get(kind, f"A RankOne artefact of kind {kind}."),
    ]
    commands = [f"rankone doctor {name}", *([_OPEN[kind].format(name=name)] if kind in _OPEN else [])]
    lines += ["", "```bash", "pip install rankone", *commands, "```"]
    for title, heading, rows in sections(artifact):
        lines += ["", f"## {title}", "", *_table(heading, rows)]
    return "\n".join([*lines, "", *_made(artifact), ""])


def shelf_card(address: str, kinds: Mapping[str, str | None]) -> str:
    """The card at the top of a repository that holds several artefacts. kinds: folder → kind."""
    lines = [
        *_front(*sorted({kind for kind in kinds.values() if kind})),
        f"# {html_text(address.rpartition('/')[2])}",
        "",
        "Several artefacts, one a folder; each has a card of its own. Where an option asks for one of a kind, the name of "
        "the repository opens the folder that is called like the kind:",
        "",
        "```bash",
        "pip install rankone",
        *(f"rankone doctor {address}/tree/main/{folder}" for folder in sorted(kinds)),
        "```",
        "",
    ]
    rows = [
        [f"[{html_text(f)}]({f}/README.md)", kind, _ABOUT.get(kind or "", "")]
        for f, kind in sorted(kinds.items())
    ]
    return "\n".join([*lines, *_rows(("folder", "kind", "what it is"), rows), ""])


def _front(*kinds: str) -> list[str]:
    return ["---", "library_name: rankone", f"tags: [{', '.join(('rankone', *kinds))}]", "---", ""]


def _table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return _rows(heading, [[_cell(value) for value in row] for row in rows])


def _rows(heading: Sequence[str], rows: Sequence[Sequence[str | None]]) -> list[str]:
    made = [f"| {' | '.join(heading)} |", "|" + "---|" * len(heading)]
    return [*made, *(f"| {' | '.join(cell or '' for cell in row)} |" for row in rows)]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return html_text(value).replace("|", "\\|")


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
