"""Commands that read what subcomponents do: rank."""

from __future__ import annotations

from typing import Annotated

import typer

from rankone.cli.common import DecompositionPath, Text, load_pair
from rankone.progress import print_table

commands = typer.Typer()


@commands.command()
def rank(
    model: Annotated[str, typer.Argument(help="model")] = "mini",
    decomposition: DecompositionPath = "mini-decomposition",
    forget: Annotated[str, typer.Option(help="domain to be specific to")] = "de",
    text: Text = "builtin",
    domains: Annotated[
        list[str] | None, typer.Option(help="domains to compare; default all of the text")
    ] = None,
    tokens: Annotated[int, typer.Option(help="training tokens per domain")] = 3000,
    top: Annotated[int, typer.Option(help="rows to show")] = 20,
) -> None:
    """Rank subcomponents by their importance on one domain over all others, on training text."""
    from rankone.decomposition.model import DecomposedModel
    from rankone.edits.selection import specificity
    from rankone.harvest.summary import mean_importances
    from rankone.models.context import usual_context
    from rankone.text.blocks import passage_blocks
    from rankone.text.corpus import open_corpus, require_domain

    target, tokenizer, loaded, _ = load_pair(model, decomposition)
    corpus = open_corpus(text)
    context = usual_context(target)
    require_domain(corpus, forget)
    names = list(dict.fromkeys([forget, *(domains or corpus.domains())]))
    for name in names:
        require_domain(corpus, name)
    blocks = {
        d: passage_blocks(
            tokenizer, corpus.documents(d, "train", tokens * 8), context, what=f"the train text of '{d}'"
        ).take(tokens)
        for d in names
    }
    with DecomposedModel(target, loaded) as decomposed:
        importances = mean_importances(decomposed, blocks)
    score = specificity(importances, forget)
    rows = [
        [importances.names[i], f"{score[i]:.3f}", *(f"{importances.of(d)[i]:.3f}" for d in names)]
        for i in score.topk(min(top, len(score))).indices.tolist()
    ]
    print_table(f"Most specific to {forget}", ["component", "score", *names], rows, "mean causal importance")
