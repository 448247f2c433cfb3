"""Commands that make models and decompositions: pretrain, sites, decompose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from rankone.cli.common import Model, Out, Text, run_dir
from rankone.core.errors import RankOneError
from rankone.render.tables import Table
from rankone.render.terminal import print_table, print_tables
from rankone.runtime.progress import console

if TYPE_CHECKING:
    from rankone.decomposition.storage import Storage

commands = typer.Typer()


@commands.command()
def pretrain(
    recipe: Annotated[Path, typer.Argument(help="pretraining recipe (YAML)")],
    out: Out,
    text: Text,
    preset: Annotated[str, typer.Option(help="model size in the recipe")] = "mini",
    without: Annotated[list[str] | None, typer.Option(help="leave a domain out (reference model)")] = None,
    tokenizer_from: Annotated[str | None, typer.Option(help="reuse the tokenizer of this model")] = None,
    run: Annotated[
        Path | None, typer.Option(help="run directory (checkpoints, metrics); default OUT.run")
    ] = None,
) -> None:
    """Train a model of the built-in architecture; a run cut off goes on where its last checkpoint stands."""
    from rankone.core.artifact import read_json
    from rankone.models.pretraining import PretrainConfig
    from rankone.models.pretraining import pretrain as train
    from rankone.text.opening import open_corpus

    config = PretrainConfig.from_yaml(recipe, without=without or None, tokenizer_from=tokenizer_from)
    train(config, preset, open_corpus(text), run or run_dir(out), out)
    table = read_json(out / "pretraining.json")
    print_table(
        Table.of(
            f"{out}: test cross-entropy, nats per token",
            ["domain", "model", "unigram", "chance", "tokens"],
            [[d, r["ce"], r["unigram"], r["chance"], int(r["tokens"])] for d, r in table.items()],
        )
    )


@commands.command()
def sites(
    model: Model,
    pattern: Annotated[list[str] | None, typer.Option(help="fnmatch pattern")] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="memory and time of decomposing them")] = False,
    recipe: Annotated[
        Path | None, typer.Option(help="recipe of the estimate; default 16 × 128 tokens")
    ] = None,
) -> None:
    """List the weight matrices that can be decomposed or edited, with shapes and a suggested C; reads no weights."""
    from rankone.models.listing import site_tables
    from rankone.models.loading import load_skeleton
    from rankone.models.sites import find_sites

    skeleton = load_skeleton(model)
    print_tables(site_tables(model, skeleton, find_sites(skeleton, pattern or None)))
    if estimate or recipe:
        from rankone.decomposition.config import DecomposeConfig
        from rankone.models.context import usual_context

        if recipe:
            config = DecomposeConfig.from_yaml(recipe, sites=pattern or None)
        else:
            context = usual_context(skeleton, 128)
            config = DecomposeConfig(mixture={}, steps=1000, context=context, sites=pattern or ["*"])
        _print_estimate(skeleton, config)


@commands.command()
def decompose(
    model: Model,
    recipe: Annotated[Path, typer.Option(help="decomposition recipe (YAML)")],
    text: Text,
    out: Out,
    run: Annotated[Path | None, typer.Option(help="run directory; default OUT.run")] = None,
    steps: Annotated[int | None, typer.Option(help="override the recipe's steps")] = None,
    stop_after: Annotated[
        int | None, typer.Option(min=1, help="stop at this step of the recipe, to go on later")
    ] = None,
    keep_dead: Annotated[bool, typer.Option(help="do not fold dead subcomponents into delta")] = False,
    storage: Annotated[str, typer.Option(help="float32, bfloat16 or int8")] = "bfloat16",
    estimate: Annotated[
        bool, typer.Option("--estimate", help="print the estimate of memory and time, and stop")
    ] = False,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep", help="five short runs over the importance coefficient; OUT is their frontier"
        ),
    ] = False,
) -> None:
    """Decompose a model into rank-one subcomponents with causal importances; resumes after a kill, runs under torchrun."""
    from rankone.decomposition.storage import Storage
    from rankone.runtime.distributed import joined

    if storage not in get_args(Storage):
        raise RankOneError(f"unknown storage '{storage}'; choose one of {', '.join(get_args(Storage))}.")
    with joined():
        _decompose(
            model,
            recipe,
            text,
            out,
            run,
            steps,
            stop_after,
            keep_dead,
            cast("Storage", storage),
            estimate,
            sweep,
        )


def _decompose(
    model: str,
    recipe: Path,
    text: str,
    out: Path,
    run: Path | None,
    steps: int | None,
    stop_after: int | None,
    keep_dead: bool,
    storage: Storage,
    estimate: bool,
    sweep: bool,
) -> None:
    """What every process of a `decompose` does."""
    from rankone.core.artifact import read_json, refuse_existing
    from rankone.decomposition.config import DecomposeConfig
    from rankone.decomposition.evidence.tables import evidence_tables
    from rankone.decomposition.planning.memory import memory_advice
    from rankone.decomposition.run import decompose as run_decompose
    from rankone.decomposition.sweep import SHORTER, sweep_table
    from rankone.decomposition.sweep import sweep as run_sweep
    from rankone.models.loading import load_model, load_skeleton, load_tokenizer
    from rankone.runtime.device import run_device
    from rankone.runtime.distributed import current
    from rankone.text.opening import open_corpus

    config = DecomposeConfig.from_yaml(recipe, steps=steps)
    if sweep and steps is None:
        config = config.model_copy(update={"steps": max(1, config.steps // SHORTER)})
    if estimate:
        return _print_estimate(load_skeleton(model), config)
    current().on_first(lambda: refuse_existing(out))
    if sweep and (keep_dead or stop_after is not None or storage != "bfloat16"):
        raise RankOneError(
            "--sweep runs to the end, folds the dead and stores bfloat16: leave --stop-after, --keep-dead and --storage out."
        )
    with memory_advice(config):
        target: Any = load_model(model).to(run_device())  # pyright: ignore[reportArgumentType]
    tokenizer, corpus, folder = load_tokenizer(model), open_corpus(text), run or run_dir(out)
    _print_estimate(target, config)
    if sweep:
        return print_table(sweep_table(run_sweep(config, target, tokenizer, corpus, folder, out), out))
    if (
        run_decompose(config, target, tokenizer, corpus, folder, out, stop_after, not keep_dead, storage)
        is None
    ):
        return console.print(
            f"stopped in '{folder}'; the same command without --stop-after goes on from there"
        )
    print_tables(evidence_tables(read_json(out / "evidence.json"), str(out)))


def _print_estimate(target: Any, config: Any) -> None:
    """Memory and time of a run on the device it will use."""
    from rankone.decomposition.planning.estimate import estimate_on, estimate_tables
    from rankone.decomposition.planning.size import run_size
    from rankone.models.context import require_context
    from rankone.runtime.device import run_device

    require_context(target, config.context)
    size, device = run_size(target, config), target.device
    if device.type == "meta":
        device = run_device()
    print_tables(estimate_tables(estimate_on(size, config, device), size, device))
