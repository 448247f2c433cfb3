"""Commands that examine decompositions: evidence, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rankone.cli.common import Split, Text, load_pair
from rankone.render.tables import Table
from rankone.render.terminal import print_table, print_tables
from rankone.runtime.progress import console, meter

commands = typer.Typer()


@commands.command()
def evidence(
    decomposition: Annotated[str, typer.Argument(help="decomposition to examine")] = "mini-decomposition",
    model: Annotated[str, typer.Option(help="the model it was made from")] = "mini",
    text: Text = "builtin",
    split: Split = "test",
    steps: Annotated[
        int, typer.Option(min=1, help="longest rung of the adversary's ladder, up to 1280")
    ] = 80,
    restarts: Annotated[
        int, typer.Option(min=1, help="random starts of the adversary; the worst counts")
    ] = 1,
    out: Annotated[Path | None, typer.Option(help="also write the evidence as JSON")] = None,
    tables: Annotated[
        Path | None, typer.Option(help="folder for the evidence, the table of subcomponents and the spectrum")
    ] = None,
) -> None:
    """The full account of a decomposition on held-out text: maskings, attack, spectrum, where error arises, verdict."""
    from rankone.core.artifact import refuse_existing, write_json
    from rankone.decomposition.evidence.attack import ladder_to
    from rankone.decomposition.evidence.save import save_evidence
    from rankone.decomposition.evidence.tables import evidence_tables
    from rankone.decomposition.run import account_on, broad_of, mixture_of
    from rankone.text.opening import open_corpus

    for path in (out, tables):
        if path is not None:
            refuse_existing(path)
    target, tokenizer, loaded, artifact = load_pair(model, decomposition, placed=True)
    corpus = open_corpus(text)
    original = artifact.provenance["original_subcomponents"]
    mixture = mixture_of(artifact, corpus)
    found, rows = account_on(
        target,
        tokenizer,
        loaded,
        corpus,
        mixture,
        original,
        ladder_to(steps),
        split,
        restarts,
        broad_of(artifact, corpus),
    )
    print_tables(evidence_tables(found, decomposition))
    if out is not None:
        write_json(out, found)
    if tables is not None:
        save_evidence(tables, found, rows, {"decomposition": artifact.fingerprint})


@commands.command()
def compare(
    one: Annotated[str, typer.Argument(help="decomposition A")],
    other: Annotated[str, typer.Argument(help="decomposition B, of the same model")],
    model: Annotated[str, typer.Option(help="the model they were made from")] = "mini",
    text: Text = "builtin",
    split: Split = "test",
    out: Annotated[Path | None, typer.Option(help="also write the comparison as JSON")] = None,
) -> None:
    """How alike two decompositions are: mean best cosine of u, v and rank-1 matrices over alive subcomponents."""
    from rankone.core.artifact import refuse_existing, write_json
    from rankone.decomposition.stability import compare as run_compare

    if out is not None:
        refuse_existing(out)
    sides = [_alive_and_start(path, model, text, split) for path in (one, other)]
    pairs, starts = zip(*sides, strict=True)
    with meter("compare", len(set(pairs[0]) & set(pairs[1]))) as bar:
        found = run_compare(pairs[0], pairs[1], starts, bar=bar)
    _print_comparison(found)
    if out is not None:
        write_json(out, {"a": one, "b": other, **found})


def _alive_and_start(path: str, model: str, text: str, split: str) -> tuple[Any, Any]:
    """Alive (V, U) by site on held-out text, and those its recipe starts from (None without a recipe)."""
    from rankone.decomposition.model import DecomposedModel
    from rankone.decomposition.run import evidence_text, mixture_of
    from rankone.decomposition.stability import alive_on, alive_pairs, initial_pairs
    from rankone.models.context import usual_context
    from rankone.text.opening import open_corpus

    target, tokenizer, loaded, artifact = load_pair(model, path)
    corpus = open_corpus(text)
    blocks = evidence_text(
        tokenizer, corpus, mixture_of(artifact, corpus), usual_context(target), split=split
    )
    with DecomposedModel(target, loaded) as wrapped:
        alive = alive_on(wrapped, blocks)
    console.print(f"{path}: {int(alive.sum()):,} of {loaded.total:,} alive", markup=False)
    return alive_pairs(loaded, alive), initial_pairs(target, artifact.provenance.get("recipe"))


def _print_comparison(found: dict[str, Any]) -> None:
    def row(name: str, values: dict[str, Any], way: str, kind: str) -> list[Any]:
        own = values[way].get(kind, {})
        return [name, way.replace("_to_", " → ").upper(), *(own.get(m) for m in ("u", "v", "matrix"))]

    columns = ["", "direction", "|cos| u", "|cos| v", "cos matrix"]
    ways = ("a_to_b", "b_to_a")
    kinds = {
        "found": "best match",
        "random": "control: random vectors",
        "start": "control: the other's start",
    }
    rows = [row(title, found, way, kind) for kind, title in kinds.items() for way in ways]
    caption = f"{found['alive'][0]:,} and {found['alive'][1]:,} alive subcomponents at {found['sites']} sites"
    if found["only_one"]:
        caption += f"; left out, in one of them only: {', '.join(found['only_one'])}"
    print_table(Table.of("Mean best cosine", columns, rows, caption))
    each = [row(site["site"], site, way, "found") for site in found["per_site"] for way in ways]
    print_table(Table.of("Per site", ["site", *columns[1:]], each))
