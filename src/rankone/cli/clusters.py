"""Commands that make and compare components: cluster, cluster-distance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankone.cli.common import Out, Split, Text, load_pair
from rankone.core.errors import RankOneError
from rankone.render.tables import Table
from rankone.render.terminal import print_table
from rankone.runtime.progress import console

if TYPE_CHECKING:
    from rankone.clustering.components import Component, Components

commands = typer.Typer()


@commands.command()
def cluster(
    out: Out,
    decomposition: Annotated[str, typer.Argument(help="decomposition to cluster")] = "mini-decomposition",
    model: Annotated[str, typer.Option(help="the model it was made from")] = "mini",
    text: Text = "builtin",
    split: Split = "train",
    domains: Annotated[list[str] | None, typer.Option(help="domains; default all of the text")] = None,
    tokens: Annotated[int, typer.Option(help="tokens per domain")] = 10_000,
    per_row: Annotated[int, typer.Option(help="positions sampled from a row of text")] = 32,
    threshold: Annotated[float, typer.Option(help="importance above which a subcomponent fires")] = 0.1,
    least_firings: Annotated[int, typer.Option(help="leave out what fires at fewer positions")] = 1,
    alpha: Annotated[float, typer.Option(help="bits per firing and member; more: smaller components")] = 10.0,
    gamma: Annotated[float, typer.Option(help="how sharply the draw prefers cheap merges")] = 0.2,
    greedy: Annotated[bool, typer.Option("--greedy", help="always the cheapest merge, no draw")] = False,
    seed: Annotated[int, typer.Option(help="seed of the positions and the draws")] = 0,
    batch_tokens: Annotated[int, typer.Option(help="positions in one forward")] = 2048,
    top: Annotated[int, typer.Option(min=1, help="components to show")] = 20,
) -> None:
    """Merge subcomponents that fire together into components, by description length."""
    from rankone.clustering.config import ClusterConfig
    from rankone.clustering.run import cluster as run_cluster
    from rankone.core.artifact import refuse_existing
    from rankone.models.context import usual_context
    from rankone.text.opening import open_corpus
    from rankone.workspace import Workspace

    refuse_existing(out)
    corpus = open_corpus(text)
    target, tokenizer, loaded, _ = load_pair(model, decomposition, placed=True)
    config = ClusterConfig.checked(
        {
            "domains": tuple(domains or corpus.domains()),
            "split": split,
            "tokens": tokens,
            "context": usual_context(target),
            "per_row": per_row,
            "threshold": threshold,
            "least_firings": least_firings,
            "alpha": alpha,
            "gamma": None if greedy else gamma,
            "seed": seed,
            "batch_tokens": batch_tokens,
        },
        "cluster",
    )
    _print_components(run_cluster(Workspace(target, tokenizer, corpus, loaded), config, out), top)


def _print_components(found: Components, top: int) -> None:
    config, sizes = found.config, [len(c.members) for c in found.rows]
    many = [size for size in sizes if size > 1]
    rows = [
        [
            c.component,
            len(c.members),
            c.firings / config["positions"],
            c.overlap,
            c.bits_saved / config["positions"],
            _most_in(c, config["domains"]),
            ", ".join(c.members[:2]) + (", …" if len(c.members) > 2 else ""),
        ]
        for c in found.rows[:top]
        if len(c.members) > 1
    ]
    before, after = config["bits_before"] / config["positions"], config["bits_after"] / config["positions"]
    caption = (
        f"{len(sizes):,} components of {sum(sizes):,} living subcomponents: {len(many):,} of two or more, "
        f"{len(sizes) - len(many):,} single; {before:,.1f} → {after:,.1f} bits per position over "
        f"{config['positions']:,} positions. density: share of positions where it fires; overlap: mean share of its "
        "members that fire there; bits saved: per position; lift: the domain's density over that on all text"
    )
    columns = ["component", "members", "density", "overlap", "bits saved", "domain (lift)", "first members"]
    print_table(Table.of(f"{found.artifact.path}: components that save most", columns, rows, caption))


def _most_in(component: Component, sizes: dict[str, int]) -> str:
    total = sum(sizes.values())
    lifts = {
        domain: count * total / (max(size, 1) * component.firings)
        for (domain, size), count in zip(sizes.items(), component.domain_firings, strict=True)
    }
    best = max(lifts, key=lambda domain: lifts[domain])
    return f"{best} ({lifts[best]:.1f})"


@commands.command(name="cluster-distance")
def cluster_distance(
    first: Annotated[Path, typer.Argument(help="components from `rankone cluster`")],
    second: Annotated[Path, typer.Argument(help="others of the same decomposition")],
    top: Annotated[int, typer.Option(min=1, help="components to show")] = 20,
) -> None:
    """How far apart two clusterings of one decomposition are, and which components are found again."""
    from rankone.clustering.components import Components
    from rankone.clustering.distance import FOUND, distance
    from rankone.harvest.origin import same_origin

    a, b = Components.open(first), Components.open(second)
    if not same_origin(a.config, b.config):
        raise RankOneError(
            f"'{first}' and '{second}' cluster different decompositions or models: their subcomponents have nothing to "
            "do with each other. Give two clusterings of one."
        )
    found = distance([c.members for c in a.rows], [c.members for c in b.rows])
    shown = sorted(found.matches, key=lambda m: -m.members)[:top]
    print_table(
        Table.of(
            f"Components of {first} in {second}",
            ["component", "members", "best match", "Jaccard"],
            [[a.rows[m.first].component, m.members, b.rows[m.second].component, m.jaccard] for m in shown],
        )
    )
    figures = [
        ["subcomponents in both", found.common],
        ["only in the first, only in the second", f"{found.only[0]}, {found.only[1]}"],
        ["variation of information, bits", found.variation],
        ["the same over log2 n", found.normalised],
        ["adjusted Rand index", found.rand],
        [f"components of two or more found again (Jaccard > {FOUND})", found.found],
        ["mean Jaccard of the best matches", found.mean_jaccard],
    ]
    print_table(Table.of("Distance", ["figure", "value"], figures))
    console.print("members: of those that are in both", style="dim", markup=False)
