"""The best part of every source for one behaviour, on validation text, and on test text of its own and of another corpus.

    python -m perf.finding --model DIR --text DIR --of fr --elsewhere builtin --out FOLDER

`find` reads training and validation text of --text. The best part of each source, at its α, is then measured on test text of
--text and of --elsewhere, all domains of each, whose sources no one has seen, and on test passages of English about the
country. Written are the answer, the damage of each part with its intervals, the environment, and the parts themselves.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from perf.environment import environment

from rankone.core.artifact import write_json
from rankone.decomposition.model import load_decomposition
from rankone.edits.finding.find import find_parts
from rankone.edits.finding.request import FindConfig
from rankone.edits.finding.text import about_blocks, spread_blocks
from rankone.edits.scales import scale_edit
from rankone.metrics.cross_entropy import PassageLosses, passage_losses
from rankone.metrics.damage import damages
from rankone.models.loading import load_model, load_tokenizer
from rankone.parts.storage import save_parts
from rankone.text.about import about_domain, about_passages
from rankone.text.blocks import Blocks
from rankone.text.opening import open_corpus
from rankone.workspace import Workspace


def test_text(workspace: Workspace, of: str, domains: list[str], tokens: int) -> dict[str, Blocks]:
    """Test rows per domain, and English about the country where there is any."""
    text = {d: spread_blocks(workspace, d, "test", tokens) for d in domains}
    if about_passages(of, "test"):
        text[about_domain(of)] = about_blocks(workspace, of, "test", 10 * tokens)
    return text


def losses(workspace: Workspace, text: dict[str, Blocks]) -> dict[str, PassageLosses]:
    """Scored passages of every domain."""
    return {d: passage_losses(workspace.model, blocks) for d, blocks in text.items()}


def arguments() -> argparse.Namespace:
    """What the command is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--decomposition", default=None)
    parser.add_argument("--text", required=True)
    parser.add_argument("--elsewhere", default="builtin", help="text of other sources")
    parser.add_argument("--of", required=True)
    parser.add_argument("--against", default="", help="comma-separated; none: all others")
    parser.add_argument("--sites", default="", help="patterns; none: the late half")
    parser.add_argument("--sources", default="", help="none: all")
    parser.add_argument("--also", default="", help="parts to measure in any case")
    parser.add_argument("--shortlist", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=1500)
    parser.add_argument("--rank-tokens", type=int, default=120)
    parser.add_argument("--refine", type=int, default=2)
    parser.add_argument("--about-weight", type=float, default=1.0)
    parser.add_argument("--test-tokens", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", required=True, type=Path)
    return parser.parse_args()


def listed(value: str) -> tuple[str, ...]:
    """`a,b` → (a, b)."""
    return tuple(v for v in value.split(",") if v)


def main() -> None:
    """Find, measure, write."""
    args = arguments()
    torch.set_num_threads(args.threads)
    model = load_model(args.model)
    parts = load_decomposition(args.decomposition, model)[0] if args.decomposition else None
    tokenizer = load_tokenizer(args.model)
    spaces = {
        name: Workspace(model, tokenizer, open_corpus(spec), parts)
        for name, spec in (("here", args.text), ("elsewhere", args.elsewhere))
    }
    request = FindConfig(
        of=args.of,
        against=listed(args.against),
        sites=listed(args.sites),
        sources=listed(args.sources),
        also=listed(args.also),
        shortlist=args.shortlist,
        tokens=args.tokens,
        rank_tokens=args.rank_tokens,
        refine=args.refine,
        about_weight=args.about_weight,
    )
    found, book = find_parts(spaces["here"], request)
    rows = found.best_of_each_source() + [found.named(name) for name in request.also]
    args.out.mkdir(parents=True)
    write_json(args.out / "found.json", found.model_dump(mode="json"))
    measured: dict[str, dict[str, object]] = {}
    for name, space in spaces.items():
        text = test_text(space, args.of, space.corpus.domains(), args.test_tokens)
        base = losses(space, text)
        for row in rows:
            with scale_edit(book, {row.part: row.alpha}).applied(model):
                after = damages(base, losses(space, text))
            own = {d: value.model_dump() for d, value in after.items()}
            measured.setdefault(row.part, {"alpha": row.alpha, "source": row.source})[name] = own
            print(name, row.part, f"α {row.alpha:.2f}", {d: v.shown for d, v in after.items()}, flush=True)
            answer = {"chance": found.chance, "parts": measured, "environment": environment()}
            write_json(args.out / "measured.json", answer)
    origins: dict[str, list[str]] = {}
    for row in rows:
        origins.setdefault(book.holding(row.part).origin, []).append(row.part)
    save_parts([book.gathered(names) for names in origins.values()], model, args.out / "parts")


if __name__ == "__main__":
    main()
