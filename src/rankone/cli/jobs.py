"""Commands that measure: demo, picks, measure, select-rates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rankone.cli.common import DecompositionPath, Model, Out, Split, Text, listed, load_pair
from rankone.render.terminal import print_table, print_tables
from rankone.runtime.progress import console

commands = typer.Typer()


@commands.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="report directory")] = Path("report"),
    text: Annotated[str | None, typer.Option("--text", help="other text than the recipe's")] = None,
    recipe: Annotated[Path | None, typer.Option(help="another job recipe (YAML)")] = None,
    replace: Annotated[bool, typer.Option(help="write into an existing report directory")] = False,
    harvest: Annotated[
        Path | None, typer.Option("--harvest", help="pick by this harvest, not by a small one made now")
    ] = None,
    labels: Annotated[Path | None, typer.Option("--labels", help="and by its labels")] = None,
) -> None:
    """The main job on the built-in model: one number removes German; beside LoRA, with figures and a report."""
    from rankone.experiments.demo import run_demo
    from rankone.experiments.report.results import read_results
    from rankone.experiments.report.shown import printed

    run_demo(_job(recipe, text, harvest=harvest, labels=labels), out, replace)
    print_tables(printed(read_results(out)))
    console.print(f"report: {out / 'index.html'}", markup=False)


@commands.command()
def picks(
    harvest: Annotated[Path, typer.Option("--harvest", help="harvest of the decomposition")],
    labels: Annotated[Path, typer.Option("--labels", help="labels of that harvest")],
    model: Annotated[str, typer.Argument(help="model")] = "mini",
    decomposition: DecompositionPath = "mini-decomposition",
    text: Text = "builtin",
    targets: Annotated[str, typer.Option(help="domains to forget, comma-separated")] = "de,fr,es,it,code",
    candidates: Annotated[int, typer.Option(help="most specific subcomponents measured per target")] = 20,
    alphas: Annotated[str, typer.Option(help="scales, comma-separated")] = "-24,-12,-6,-3,0,3,6",
    tokens: Annotated[int, typer.Option(help="validation tokens per domain")] = 400,
    out: Annotated[Path | None, typer.Option("--out", help="also write all trade-offs as JSON")] = None,
) -> None:
    """How often is the pick by label and specificity the best of its candidates? Measured on validation text."""
    from rankone.core.artifact import refuse_existing
    from rankone.experiments.picks import PicksConfig, compare_picks, picks_table, write_picks
    from rankone.harvest.reading.store import HarvestStore
    from rankone.labels.store import open_labels
    from rankone.text.opening import open_corpus
    from rankone.workspace import Workspace

    if out is not None:
        refuse_existing(out)
    config = PicksConfig.checked(
        {
            "targets": tuple(listed(targets)),
            "candidates": candidates,
            "alphas": tuple(listed(alphas)),
            "tokens": tokens,
        },
        "picks",
    )
    corpus = open_corpus(text)
    target, tokenizer, loaded, _ = load_pair(model, decomposition)
    store = HarvestStore.open(harvest, loaded, target)
    found = open_labels(labels, store.artifact.fingerprint)
    workspace = Workspace(target, tokenizer, corpus, loaded)
    measured = compare_picks(workspace, store, found, config)
    print_table(picks_table(measured, config))
    if out is not None:
        write_picks(out, measured, config)


@commands.command()
def measure(
    model: Model,
    text: Text = "builtin",
    split: Split = "test",
    tokens: Annotated[int, typer.Option(help="tokens per domain")] = 1200,
    out: Annotated[Path | None, typer.Option("--out", help="also write the figures as JSON")] = None,
) -> None:
    """Cross-entropy of a model on every domain of some text."""
    from rankone.core.artifact import refuse_existing
    from rankone.experiments.measuring import measure_model, measured_table
    from rankone.text.opening import open_corpus

    if out is not None:
        refuse_existing(out)
    print_table(measured_table(measure_model(model, open_corpus(text), split, tokens, out)))


@commands.command(name="select-rates")
def select_rates(
    out: Out,
    recipe: Annotated[Path | None, typer.Option(help="job recipe (YAML)")] = None,
    text: Annotated[str | None, typer.Option("--text", help="other text than the recipe's")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="seeds per setting")] = 2,
) -> None:
    """Choose each method's learning rate and λ per budget on validation text."""
    from rankone.experiments.rates import rates_table, select

    print_table(rates_table(select(_job(recipe, text, rates=False), out, seeds)))


def _job(
    recipe: Path | None,
    text: str | None,
    rates: bool = True,
    harvest: Path | None = None,
    labels: Path | None = None,
) -> Any:
    from rankone.experiments.config import JobConfig, resolved
    from rankone.experiments.job import Job
    from rankone.models.sources.names import ASSETS
    from rankone.text.opening import open_corpus
    from rankone.workspace import Workspace

    path = recipe or ASSETS / "demo.yaml"
    # Paths on the command line are from here, those in a recipe from the recipe.
    selection = {"harvest": harvest and str(harvest.resolve()), "labels": labels and str(labels.resolve())}
    config = JobConfig.from_yaml(path, text=text, **selection)
    config = resolved(config if rates else config.model_copy(update={"rates_from": None}), path.parent)
    corpus = open_corpus(config.text)
    if text is not None:
        left_out = sorted({*config.trained, *config.evaluated} - set(corpus.domains()))
        config = config.on_domains(corpus.domains())
        if left_out:
            console.print(f"'{text}' has no text for {', '.join(left_out)}: not looked at", markup=False)
    target, tokenizer, decomposition, artifact = load_pair(config.model, config.decomposition)
    evidence = artifact.json("evidence.json") if "evidence.json" in artifact else None
    return Job(config, Workspace(target, tokenizer, corpus, decomposition), evidence)
