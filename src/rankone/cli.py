"""The `rankone` command: one subcommand per verb."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from rankone.errors import RankOneError
from rankone.progress import console, print_table

app = typer.Typer(
    help="Open a language model's weight matrices into rank-one parts and change it by turning the few that matter.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Model = Annotated[str, typer.Argument(help="built-in name (mini), directory, or Hub name")]
DecompositionPath = Annotated[str, typer.Option("--decomposition", help="decomposition of the model")]
Text = Annotated[
    str, typer.Option("--text", help="builtin, a directory with a folder per domain, or a Hub data set id")
]
Out = Annotated[Path, typer.Option("--out", help="where to write; must not exist")]


@app.command()
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
    from rankone.models.pretraining import PretrainConfig
    from rankone.models.pretraining import pretrain as train
    from rankone.text.corpus import open_corpus

    config = PretrainConfig.from_yaml(recipe, without=without or None, tokenizer_from=tokenizer_from)
    train(config, preset, open_corpus(text), run or _run_dir(out), out)
    table = _read_json(out / "pretraining.json")
    print_table(
        f"{out}: test cross-entropy, nats per token",
        ["domain", "model", "unigram", "chance", "tokens"],
        [[d, r["ce"], r["unigram"], r["chance"], int(r["tokens"])] for d, r in table.items()],
    )


@app.command()
def sites(
    model: Model, pattern: Annotated[list[str] | None, typer.Option(help="fnmatch pattern")] = None
) -> None:
    """List the weight matrices that can be decomposed or edited, with shapes and a suggested C."""
    from rankone.models.loading import load_model
    from rankone.models.sites import find_sites

    found = find_sites(load_model(model), pattern or None)
    rows = [[s.name, s.d_out, s.d_in, max(s.d_out, s.d_in)] for s in found]
    print_table(f"{model}: {len(found)} sites", ["site", "d_out", "d_in", "suggested C"], rows)


@app.command()
def decompose(
    model: Model,
    recipe: Annotated[Path, typer.Option(help="decomposition recipe (YAML)")],
    text: Text,
    out: Out,
    run: Annotated[Path | None, typer.Option(help="run directory; default OUT.run")] = None,
    steps: Annotated[int | None, typer.Option(help="override the recipe's steps")] = None,
    keep_dead: Annotated[bool, typer.Option(help="do not fold dead subcomponents into delta")] = False,
    storage: Annotated[str, typer.Option(help="float32, bfloat16 or int8")] = "bfloat16",
) -> None:
    """Decompose a model into rank-one subcomponents with causal importances; resumes after a kill."""
    from rankone.decomposition.config import DecomposeConfig
    from rankone.decomposition.run import decompose as run_decompose
    from rankone.decomposition.storage import Storage
    from rankone.models.loading import load_model, load_tokenizer
    from rankone.text.corpus import open_corpus

    if storage not in get_args(Storage):
        raise RankOneError(f"unknown storage '{storage}'; choose one of {', '.join(get_args(Storage))}.")
    config = DecomposeConfig.from_yaml(recipe, steps=steps)
    target, tokenizer = load_model(model), load_tokenizer(model)
    run_decompose(
        config,
        target,
        tokenizer,
        open_corpus(text),
        run or _run_dir(out),
        out,
        fold=not keep_dead,
        storage=cast(Storage, storage),
    )
    _print_evidence(_read_json(out / "evidence.json"), str(out))


@app.command()
def evidence(
    decomposition: Annotated[str, typer.Argument(help="decomposition to examine")] = "mini-decomposition",
    model: Annotated[str, typer.Option(help="the model it was made from")] = "mini",
    text: Text = "builtin",
    split: Annotated[str, typer.Option(help="train, validation or test")] = "test",
    steps: Annotated[int, typer.Option(help="longest rung of the adversary's ladder")] = 80,
    out: Annotated[Path | None, typer.Option(help="also write the evidence as JSON")] = None,
) -> None:
    """Recompute the evidence table of a decomposition on held-out text."""
    from rankone.artifact import refuse_existing, write_json
    from rankone.decomposition.run import LADDER, evidence_on
    from rankone.text.corpus import open_corpus
    from rankone.text.mixture import DomainMix

    if out is not None:
        refuse_existing(out)
    target, tokenizer, loaded, artifact = _load_pair(model, decomposition)
    corpus = open_corpus(text)
    recipe = artifact.manifest["provenance"]["recipe"]["mixture"]
    mixture = {d: DomainMix(weight=m["weight"]) for d, m in recipe.items() if d in corpus.domains()}
    ladder = tuple(s for s in LADDER if s <= steps) or (steps,)
    original = artifact.manifest["provenance"]["original_subcomponents"]
    found = evidence_on(target, tokenizer, loaded, corpus, mixture, original, ladder, split)
    _print_evidence(found, decomposition)
    if out is not None:
        write_json(out, found)


@app.command()
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
    from rankone.text.blocks import passage_blocks
    from rankone.text.corpus import open_corpus, require_domain

    target, tokenizer, loaded, _ = _load_pair(model, decomposition)
    corpus = open_corpus(text)
    context = min(int(target.config.max_position_embeddings), 512)
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


@app.command()
def tune(
    model: Annotated[str, typer.Argument(help="model")] = "mini",
    components: Annotated[
        str, typer.Option(help="subcomponents to scale, comma-separated SITE:NUMBER")
    ] = ...,  # pyright: ignore[reportArgumentType]
    forget: Annotated[str, typer.Option(help="domain to forget")] = "de",
    retain: Annotated[str, typer.Option(help="domain to hold")] = "en",
    budget: Annotated[int, typer.Option(help="forget tokens")] = 4,
    decomposition: DecompositionPath = "mini-decomposition",
    text: Text = "builtin",
    seed: Annotated[int, typer.Option(help="which forget text")] = 0,
    learning_rate: Annotated[float, typer.Option(help="Adam rate on α")] = 0.3,
    retain_weight: Annotated[float, typer.Option(help="λ of the retain term")] = 1.0,
    steps: Annotated[int, typer.Option(help="ceiling of steps")] = 300,
    save: Annotated[Path | None, typer.Option(help="save the edit here; must not exist")] = None,
) -> None:
    """Fit the scales α of chosen subcomponents on any text and show what changed on held-out text of every domain."""
    from rankone.benchmark.tuning import tune as run_tune
    from rankone.text.corpus import open_corpus

    target, tokenizer, loaded, _ = _load_pair(model, decomposition)
    run_tune(
        target,
        tokenizer,
        loaded,
        open_corpus(text),
        [c.strip() for c in components.split(",") if c.strip()],
        forget=forget,
        retain=retain,
        budget=budget,
        seed=seed,
        learning_rate=learning_rate,
        retain_weight=retain_weight,
        steps=steps,
        save=save,
    )


@app.command()
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
    target, loaded = load_model(model), LowRankEdit.load(edit)
    loaded.check_base(target)
    if form == "adapter":
        verification = export_adapter(target, loaded, out, model)
    else:
        verification = export_checkpoint(target, load_tokenizer(model), loaded, out, dtypes[dtype])
    values = verification.as_json()
    shown = [[k, v] for k, v in values.items() if isinstance(v, int | float | str)]
    print_table(f"{out}: reloaded in a fresh process and compared", ["figure", "value"], shown)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="text to continue")],
    model: Annotated[str, typer.Option(help="model")] = "mini",
    edit: Annotated[Path | None, typer.Option(help="saved edit to apply first")] = None,
    tokens: Annotated[int, typer.Option(help="tokens to generate")] = 40,
) -> None:
    """Continue a prompt greedily, with an edit applied if one is given."""
    from contextlib import nullcontext

    from rankone.benchmark.measure import rollout
    from rankone.edits.lowrank import LowRankEdit
    from rankone.models.loading import load_model, load_tokenizer

    target, tokenizer = load_model(model), load_tokenizer(model)
    loaded = LowRankEdit.load(edit) if edit is not None else None
    if loaded is not None:
        loaded.check_base(target)
    with loaded.apply(target) if loaded is not None else nullcontext():
        console.print(prompt + rollout(target, tokenizer, prompt, tokens), markup=False)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="report directory")] = Path("report"),
    text: Annotated[str | None, typer.Option("--text", help="other text than the recipe's")] = None,
    recipe: Annotated[Path | None, typer.Option(help="another job recipe (YAML)")] = None,
    replace: Annotated[bool, typer.Option(help="write into an existing report directory")] = False,
) -> None:
    """The main job on the built-in model: one number removes German; beside LoRA, with figures and a report."""
    from rankone.benchmark.demo import run_demo

    run_demo(_job(recipe, text), out, replace)


@app.command()
def measure(
    model: Model,
    text: Text = "builtin",
    split: Annotated[str, typer.Option(help="train, validation or test")] = "test",
    tokens: Annotated[int, typer.Option(help="tokens per domain")] = 1200,
    out: Annotated[Path | None, typer.Option("--out", help="also write the figures as JSON")] = None,
) -> None:
    """Cross-entropy of a model on every domain of some text."""
    from rankone.artifact import refuse_existing
    from rankone.benchmark.measuring import measure_model
    from rankone.text.corpus import open_corpus

    if out is not None:
        refuse_existing(out)
    measure_model(model, open_corpus(text), split, tokens, out)


@app.command(name="select-rates")
def select_rates(
    out: Out,
    recipe: Annotated[Path | None, typer.Option(help="job recipe (YAML)")] = None,
    text: Annotated[str | None, typer.Option("--text", help="other text than the recipe's")] = None,
    seeds: Annotated[int, typer.Option(help="seeds per setting")] = 2,
) -> None:
    """Choose each method's learning rate and λ per budget on validation text."""
    from rankone.benchmark.rates import select

    select(_job(recipe, text, rates=False), out, seeds)


def _job(recipe: Path | None, text: str | None, rates: bool = True) -> Any:
    from rankone.benchmark.config import JobConfig, resolved
    from rankone.benchmark.job import Job
    from rankone.models.loading import ASSETS
    from rankone.text.corpus import open_corpus

    path = recipe or ASSETS / "demo.yaml"
    config = JobConfig.from_yaml(path, text=text)
    config = resolved(config if rates else config.model_copy(update={"rates_from": None}), path.parent)
    corpus = open_corpus(config.text)
    if text is not None:
        left_out = sorted({*config.trained, *config.evaluated} - set(corpus.domains()))
        config = config.on_domains(corpus.domains())
        if left_out:
            console.print(f"'{text}' has no text for {', '.join(left_out)}: not looked at", markup=False)
    target, tokenizer, decomposition, artifact = _load_pair(config.model, config.decomposition)
    evidence = artifact.json("evidence.json") if "evidence.json" in artifact.manifest["files"] else None
    return Job(config, target, tokenizer, decomposition, corpus, evidence)


def _load_pair(model: str, decomposition: str) -> tuple[Any, Any, Any, Any]:
    """Model, tokenizer, decomposition and its artefact."""
    from rankone.decomposition.model import load_decomposition
    from rankone.models.loading import ASSETS, load_model, load_tokenizer

    target = load_model(model)
    path = ASSETS / decomposition if decomposition == "mini-decomposition" else Path(decomposition)
    loaded, artifact = load_decomposition(path, target)
    return target, load_tokenizer(model), loaded, artifact


def _run_dir(out: Path) -> Path:
    return out.with_name(out.name + ".run")


def _read_json(path: Path) -> dict[str, Any]:
    import json

    return json.loads(path.read_text("utf8"))


def _print_evidence(found: dict[str, Any], name: str) -> None:
    delta = {None: "", True: "on", False: "off"}
    rows = [[r["masking"], delta[r["delta"]], r["ce"], r["kl"]] for r in found["rows"]]
    share = found["l0_total"] / found["subcomponents"]
    caption = (
        f"{found['tokens']} tokens of {found['text']['name']} ({found['text']['split']}); "
        f"L0 {found['l0_total']:.1f} of {found['subcomponents']} ({share:.2%}), alive {found['alive_total']}, "
        f"kept {found['kept']}; faithfulness {found['faithfulness']:.3g}; adversary: one shared source vector, step "
        f"{found['adversary']['step']}"
    )
    print_table(f"Evidence for {name} (nats per token)", ["masking", "delta", "CE", "KL"], rows, caption)
    layers = [[r["layer"], r["l0"], r["alive"], r["subcomponents"]] for r in found["per_layer"]]
    print_table("Per layer", ["layer", "L0", "alive", "subcomponents"], layers)


def _quiet_transformers() -> None:
    """Our own progress bars and errors are what a user reads."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def main() -> None:
    """Run the command; a RankOneError is one line on stderr and exit status 2."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    _quiet_transformers()
    try:
        app()
    except RankOneError as error:
        sys.stderr.write(f"rankone: {error}\n")
        sys.exit(2)
