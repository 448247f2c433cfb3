"""Commands that edit a model and ship the edit: tune, export, generate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankone.cli.common import Clusters, DecompositionPath, Out, Text, listed, load_pair
from rankone.core.errors import RankOneError
from rankone.render.tables import Table
from rankone.render.terminal import print_table
from rankone.runtime.progress import console

commands = typer.Typer()


@commands.command()
def tune(
    model: Annotated[str, typer.Argument(help="model")] = "mini",
    components: Annotated[
        str, typer.Option(help="what to scale, comma-separated: SITE:NUMBER, or cNUMBER of --clusters")
    ] = ...,  # pyright: ignore[reportArgumentType]
    forget: Annotated[
        str, typer.Option(help="domain to forget, or self:DOMAIN: the model's own text")
    ] = "de",
    retain: Annotated[
        str | None,
        typer.Option(help="domains to hold, comma-separated; every other the model knows unless given"),
    ] = None,
    budget: Annotated[int, typer.Option(help="forget tokens (of no account for self:DOMAIN)")] = 4,
    openings: Annotated[
        str | None,
        typer.Option("--opening", help="for self:DOMAIN: what sets it off, where no words are known"),
    ] = None,
    decomposition: DecompositionPath = "mini-decomposition",
    clusters: Clusters = None,
    text: Text = "builtin",
    seed: Annotated[int, typer.Option(help="which forget text")] = 0,
    learning_rate: Annotated[float, typer.Option(help="Adam rate on α")] = 0.3,
    retain_weight: Annotated[float, typer.Option(help="λ of the retain term")] = 1.0,
    steps: Annotated[int, typer.Option(help="ceiling of steps, where there are several scales")] = 3000,
    tolerance: Annotated[float, typer.Option(help="most KL on a retained domain, nats per token")] = 0.015,
    save: Annotated[Path | None, typer.Option(help="save the edit here; must not exist")] = None,
) -> None:
    """Fit the scales α of chosen subcomponents on any text and show what changed on held-out text of every domain."""
    from rankone.clustering.components import Components
    from rankone.experiments.tuning import TuneRequest
    from rankone.experiments.tuning import tune as run_tune
    from rankone.harvest.reading.names import expand
    from rankone.runtime.progress import meter
    from rankone.text.opening import open_corpus
    from rankone.workspace import Workspace

    target, tokenizer, loaded, _ = load_pair(model, decomposition, placed=True)
    opened = Components.open(clusters, loaded, target) if clusters is not None else None
    request = TuneRequest.checked(
        {
            "parts": expand(list(listed(components)), opened, loaded.locate),
            "forget": forget,
            "retain": listed(retain),
            "budget": budget,
            "openings": () if openings is None else (openings,),
            "seed": seed,
            "learning_rate": learning_rate,
            "retain_weight": retain_weight,
            "steps": steps,
            "tolerance": tolerance,
            "save": save,
        },
        "tune",
    )
    with meter("fit", 2) as bar:
        reply = run_tune(Workspace(target, tokenizer, open_corpus(text), loaded), request, bar=bar)
    for table in reply.tables():
        print_table(table)
    for line in reply.conclusion():
        console.print(line, markup=False)
    if reply.saved is not None:
        console.print(f"saved {reply.saved}", markup=False)


@commands.command()
def export(
    edit: Annotated[Path, typer.Argument(help="saved edit")],
    out: Out,
    model: Annotated[str, typer.Option(help="the model it was made for")] = "mini",
    form: Annotated[str, typer.Option("--as", help="checkpoint or adapter")] = "checkpoint",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16 (checkpoint)")] = "float32",
) -> None:
    """Write an edited model as a plain checkpoint, or the edit as a PEFT LoRA adapter, and verify it after reload."""
    import torch

    from rankone.edits.export import export_adapter, export_checkpoint
    from rankone.edits.lowrank import LowRankEdit
    from rankone.models.loading import load_model, load_tokenizer

    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if dtype not in dtypes:
        raise RankOneError(f"unknown dtype '{dtype}'; choose float32 or bfloat16.")
    if form not in ("checkpoint", "adapter"):
        raise RankOneError(f"unknown form '{form}'; choose checkpoint or adapter.")
    target, loaded = load_model(model), LowRankEdit.from_pretrained(edit)
    loaded.check_base(target)
    if form == "adapter":
        verification = export_adapter(target, loaded, out, model)
    else:
        verification = export_checkpoint(target, load_tokenizer(model), loaded, out, dtypes[dtype])
    values = verification.model_dump()
    shown = [[k, v] for k, v in values.items() if isinstance(v, int | float | str)]
    print_table(Table.of(f"{out}: reloaded in a fresh process and compared", ["figure", "value"], shown))
    for warning in verification.warnings:
        console.print(warning, markup=False)


@commands.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="text to continue")],
    model: Annotated[str, typer.Option(help="model")] = "mini",
    edit: Annotated[Path | None, typer.Option(help="saved edit to apply first")] = None,
    tokens: Annotated[int, typer.Option(help="tokens to generate")] = 40,
) -> None:
    """Continue a prompt greedily, with an edit applied if one is given."""
    from contextlib import nullcontext

    from rankone.core.escaping import visible
    from rankone.edits.lowrank import LowRankEdit
    from rankone.experiments.measure import rollout
    from rankone.models.loading import load_model, load_tokenizer

    target, tokenizer = load_model(model), load_tokenizer(model)
    loaded = LowRankEdit.from_pretrained(edit) if edit is not None else None
    if loaded is not None:
        loaded.check_base(target)
    with loaded.applied(target) if loaded is not None else nullcontext():
        said = prompt + rollout(target, tokenizer, prompt, tokens)
    console.print("\n".join(map(visible, said.split("\n"))), markup=False)
