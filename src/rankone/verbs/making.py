"""Verbs that make models and decompositions: pretrain, sites, decompose, import, toys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from rankone.core.errors import RankOneError
from rankone.core.fields import Names, Positional, Published, Request, Trackers
from rankone.core.paths import run_directory
from rankone.opening import Opening
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.verbs.verb import Verb

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from rankone.decomposition.config import DecomposeConfig
    from rankone.decomposition.ground_truth.recipe import ToyRecipe
    from rankone.models.pretraining.config import PretrainConfig

Storage = Literal["float32", "bfloat16", "int8"]


class PretrainRequest(Request):
    """A model of the built-in architecture, by its recipe."""

    recipe: Annotated[Path, Positional()] = Field(description="pretraining recipe (YAML)")
    out: Path = Field(description="where to write; must not exist")
    preset: str = Field("mini", description="model size in the recipe")
    without: Names = Field((), description="leave a domain out (reference model)")
    tokenizer_from: str | None = Field(None, description="reuse the tokenizer of this model")
    run: Path | None = Field(None, description="run directory (checkpoints, metrics); default OUT.run")


class PretrainedDomain(Reply):
    """Test cross-entropy of one domain in nats per token: the model's, a unigram's, chance."""

    domain: str
    model: float
    unigram: float
    chance: float
    tokens: int


class PretrainReply(Reply):
    """A trained model and its test figures."""

    out: Path
    domains: tuple[PretrainedDomain, ...]

    def tables(self) -> Sequence[Table]:
        """One row per domain."""
        rows = [[d.domain, d.model, d.unigram, d.chance, d.tokens] for d in self.domains]
        columns = ["domain", "model", "unigram", "chance", "tokens"]
        return (Table.of(f"{self.out}: test cross-entropy, nats per token", columns, rows),)


def _pretraining(request: PretrainRequest) -> PretrainConfig:
    from rankone.models.pretraining.config import PretrainConfig

    config = PretrainConfig.from_yaml(
        request.recipe, without=list(request.without) or None, tokenizer_from=request.tokenizer_from
    )
    config.require_preset(request.preset)
    return config


def pretrain(opening: Opening, request: PretrainRequest) -> PretrainReply:
    """Train a model of the built-in architecture; a run cut off goes on where its last checkpoint stands."""
    from rankone.core.artifact import read_json
    from rankone.models.pretraining.run import pretrain as train

    out = request.out
    config = _pretraining(request)
    run = request.run or run_directory(out)
    train(config, request.preset, opening.corpus, run, out, device=opening.device)
    measured: dict[str, Any] = read_json(out / "pretraining.json")
    domains = [
        PretrainedDomain(
            domain=domain,
            model=row["ce"],
            unigram=row["unigram"],
            chance=row["chance"],
            tokens=int(row["tokens"]),
        )
        for domain, row in measured.items()
    ]
    return PretrainReply(out=out, domains=tuple(domains))


class SitesRequest(Request):
    """Which matrices of a model."""

    pattern: Names = Field((), description="fnmatch patterns of module paths; default all")
    estimate: bool = Field(False, description="memory and time of decomposing them")
    recipe: Path | None = Field(None, description="recipe of the estimate; default 16 × 128 tokens")


class SiteRow(Reply):
    """One weight matrix that can be decomposed or edited."""

    site: str
    d_out: int
    d_in: int
    suggested_count: int
    layer: str
    note: str


class SitesReply(Reply):
    """The sites of a model, what is left out and why, and what decomposing them takes, if asked.

    tables: the sites, what is left out, then the estimate.
    """

    model: str
    sites: tuple[SiteRow, ...]
    left_out: dict[str, str]


def _estimated(request: SitesRequest) -> DecomposeConfig | None:
    from rankone.decomposition.config import DecomposeConfig

    return request.recipe and DecomposeConfig.from_yaml(request.recipe, sites=list(request.pattern) or None)


def sites(opening: Opening, request: SitesRequest) -> SitesReply:
    """List the weight matrices that can be decomposed or edited, with shapes and a suggested C; reads no weights."""
    from rankone.decomposition.config import DecomposeConfig
    from rankone.models.anatomy import fused_note
    from rankone.models.context import usual_context
    from rankone.models.listing import site_tables, suggested_count
    from rankone.models.loading import load_skeleton
    from rankone.models.sites import find_sites, left_out

    name, pattern = opening.options.model, list(request.pattern)
    skeleton = load_skeleton(name)
    matched = find_sites(skeleton, pattern or None)
    config = _estimated(request)
    if config is None and request.estimate:
        context = usual_context(skeleton, 128)
        config = DecomposeConfig(mixture={}, steps=1000, context=context, sites=pattern or ["*"])
    tables = [] if config is None else _estimate(skeleton, config)
    rows = [
        SiteRow(
            site=s.name,
            d_out=s.d_out,
            d_in=s.d_in,
            suggested_count=suggested_count(s),
            layer=type(s.module).__name__,
            note=fused_note(s.name),
        )
        for s in matched
    ]
    reply = SitesReply(model=name, sites=tuple(rows), left_out=left_out(skeleton))
    return reply.showing(*site_tables(name, skeleton, matched), *tables)


def _estimate(model: PreTrainedModel, config: DecomposeConfig) -> list[Table]:
    """Memory and time of a run on the device it will use."""
    from rankone.decomposition.planning.estimate import estimate_on, estimate_tables
    from rankone.decomposition.planning.size import run_size
    from rankone.models.context import require_context
    from rankone.runtime.device import run_device

    require_context(model, config.context)
    size, device = run_size(model, config), model.device
    if device.type == "meta":
        device = run_device()
    return estimate_tables(estimate_on(size, config, device), size, device)


class DecomposeRequest(Request):
    """A decomposition, by its recipe."""

    recipe: Path = Field(description="decomposition recipe (YAML)")
    out: Path = Field(description="where to write; must not exist")
    run: Path | None = Field(None, description="run directory; default OUT.run")
    steps: int | None = Field(None, gt=0, description="override the recipe's steps")
    stop_after: int | None = Field(None, gt=0, description="stop at this step of the recipe, to go on later")
    keep_dead: bool = Field(False, description="do not fold dead subcomponents into delta")
    storage: Storage = Field("bfloat16", description="numbers it is stored in")
    evidence: Literal["none", "small", "full"] = Field(
        "full", description="measured at the end: nothing, 20 steps of the adversary, or 80"
    )
    estimate: bool = Field(False, description="print the estimate of memory and time, and stop")
    sweep: bool = Field(
        False, description="five short runs over the importance coefficient; OUT is their frontier"
    )
    track: Annotated[Names, Trackers()] = Field(
        (), description="tell these too, beside the run's metrics.jsonl: tensorboard, wandb"
    )


class DecomposeReply(Reply):
    """What a run of `decompose` came to: an estimate, a checkpoint to go on from, a frontier, or a decomposition.

    tables: the estimate, the frontier, or the evidence.
    """

    out: Path
    state: Literal["estimated", "stopped", "swept", "finished"]
    run: Path
    evidence: Path | None = None

    def lines(self) -> Sequence[str]:
        """How to go on from a checkpoint."""
        if self.state == "stopped":
            return (f"stopped in '{self.run}'; the same command without --stop-after goes on from there",)
        if self.state == "finished" and self.evidence is None:
            return (f"saved {self.out}; how good it is was not measured: rankone evidence {self.out}",)
        return ()


def _decomposing(request: DecomposeRequest) -> DecomposeConfig:
    from rankone.decomposition.config import DecomposeConfig

    return DecomposeConfig.from_yaml(request.recipe, steps=request.steps)


def decompose(opening: Opening, request: DecomposeRequest) -> DecomposeReply:
    """Decompose a model into rank-one subcomponents with causal importances; resumes after a kill.

    Under torchrun the processes share the work.
    """
    from rankone.core.artifact import refuse_existing
    from rankone.decomposition.sweep import SHORTER
    from rankone.models.loading import load_skeleton
    from rankone.runtime.distributed import current, joined

    with joined():
        config = _decomposing(request)
        if request.sweep and request.steps is None:
            config = config.model_copy(update={"steps": max(1, config.steps // SHORTER)})
        folder = request.run or run_directory(request.out)
        if request.estimate:
            reply = DecomposeReply(out=request.out, state="estimated", run=folder)
            return reply.showing(*_estimate(load_skeleton(opening.options.model), config))
        current().on_first(lambda: refuse_existing(request.out))
        fixed = (request.storage, request.evidence) != ("bfloat16", "full")
        if request.sweep and (request.keep_dead or request.stop_after or fixed):
            raise RankOneError(
                "--sweep runs to the end, folds the dead, stores bfloat16 and measures: leave --stop-after, --keep-dead, "
                "--storage and --evidence out."
            )
        return _decompose(opening, request, config, folder)


def _decompose(
    opening: Opening, request: DecomposeRequest, config: DecomposeConfig, folder: Path
) -> DecomposeReply:
    from rankone.core.artifact import open_artifact
    from rankone.decomposition.evidence.records import evidence_of
    from rankone.decomposition.evidence.tables import evidence_tables
    from rankone.decomposition.frontier import sweep_table
    from rankone.decomposition.planning.memory import memory_advice
    from rankone.decomposition.run import LADDERS
    from rankone.decomposition.run import decompose as run_decompose
    from rankone.decomposition.sweep import sweep
    from rankone.render.terminal import announce
    from rankone.runtime.tracking.recording import Tracking

    with memory_advice(config):
        target = opening.model
    announce(_estimate(target, config))
    if request.sweep:
        points = sweep(config, opening.bare, folder, request.out, request.track)
        reply = DecomposeReply(out=request.out, state="swept", run=folder)
        return reply.showing(sweep_table(points, request.out))
    made = run_decompose(
        config,
        opening.bare,
        folder,
        request.out,
        request.stop_after,
        not request.keep_dead,
        request.storage,
        LADDERS[request.evidence],
        Tracking(trackers=request.track, name=request.out.name),
    )
    if made is None:
        return DecomposeReply(out=request.out, state="stopped", run=folder)
    if request.evidence == "none":
        return DecomposeReply(out=request.out, state="finished", run=folder)
    evidence = request.out / "evidence.json"
    reply = DecomposeReply(out=request.out, state="finished", run=folder, evidence=evidence)
    return reply.showing(*evidence_tables(evidence_of(open_artifact(request.out)), str(request.out)))


class ImportRequest(Request):
    """A published target and its decomposition."""

    source: Annotated[str, Positional(), Published()] = Field(
        description="folder, wandb:ENTITY/PROJECT/runs/ID, or Hub repository"
    )
    out: Path = Field(description="where to write; must not exist")
    target: Annotated[str | None, Published()] = Field(
        None, description="the target's run, where SOURCE lacks it"
    )
    tokenizer: str | None = Field(
        None, description="tokenizer.json, model directory or Hub name, if not the run's own"
    )
    storage: Storage = Field("float32", description="numbers it is stored in; float32 is exact")


class ImportedSite(Reply):
    """One imported site: subcomponents, and what they leave of its weight, ‖W − (V U)ᵀ‖² / ‖W‖²."""

    site: str
    count: int
    unexplained: float


class ImportReply(Reply):
    """What was read and written."""

    model: Path
    decomposition: Path | None
    has_tokenizer: bool
    sites: tuple[ImportedSite, ...]

    def tables(self) -> Sequence[Table]:
        """One row per site, where there is a decomposition."""
        if self.decomposition is None:
            return ()
        total = sum(s.count for s in self.sites)
        caption = f"{total:,} subcomponents; unexplained: ‖W − (V U)ᵀ‖² / ‖W‖²"
        rows = [[s.site, s.count, s.unexplained] for s in self.sites]
        title = f"{self.model.parent}: model and decomposition"
        return (Table.of(title, ["site", "C", "unexplained"], rows, caption),)

    def lines(self) -> Sequence[str]:
        """What the source lacked."""
        said: list[str] = []
        if not self.has_tokenizer:
            said.append("no tokenizer in the run: commands that read text need one, see --tokenizer")
        if self.decomposition is None:
            said.append(f"wrote {self.model}; the source has no decomposition")
        return said


def import_(opening: Opening, request: ImportRequest) -> ImportReply:  # noqa: ARG001
    """Read a published target and its decomposition and write them as OUT/model and OUT/decomposition."""
    from rankone.decomposition.importers.published import import_published
    from rankone.decomposition.importers.source import open_source

    source = open_source(request.source, request.target)
    imported = import_published(source, request.out, request.tokenizer, request.storage)
    sites = [
        ImportedSite(site=site, count=count, unexplained=imported.unexplained[site])
        for site, count in imported.counts.items()
    ]
    return ImportReply(
        model=imported.model,
        decomposition=imported.decomposition,
        has_tokenizer=imported.tokenizer,
        sites=tuple(sites),
    )


class ToysRequest(Request):
    """A toy whose mechanisms are known."""

    recipe: Annotated[Path, Positional()] = Field(
        description="toy recipe (YAML), as recipes/toys/tms-5-2.yaml"
    )
    out: Path = Field(description="where to write; must not exist")
    seeds: int = Field(1, gt=0, description="number of seeds, from 0")
    steps: int | None = Field(None, gt=0, description="override the decomposition's steps")


class ToyScore(Reply):
    """How near one site of one seed came to the truth."""

    site: str
    seed: int
    truth: str
    errors: int
    per_feature: float
    alive: int
    read: float | None
    write: float | None
    remainder: float


class ToysReply(Reply):
    """The scores of all seeds."""

    name: str
    scores: tuple[ToyScore, ...]

    def tables(self) -> Sequence[Table]:
        """One row per seed and site."""
        titles = [
            "site",
            "seed",
            "truth",
            "errors",
            "per feature",
            "alive",
            "|cos| v",
            "|cos| u",
            "‖Δ‖²/‖W‖²",
        ]
        caption = "errors: importances over 0.1 from the truth, one feature active at a time"
        rows = [list(score.model_dump().values()) for score in self.scores]
        return (Table.of(f"{self.name} against its truth", titles, rows, caption),)


def _toy(request: ToysRequest) -> ToyRecipe:
    from rankone.decomposition.ground_truth.recipe import ToyRecipe

    return ToyRecipe.from_yaml(request.recipe)


def toys(opening: Opening, request: ToysRequest) -> ToysReply:
    """Decompose a toy whose mechanisms are known and measure how near the decomposition comes to them."""
    from rankone.decomposition.ground_truth.run import run_toys

    config = _toy(request)
    if request.steps is not None:
        shortened = config.decomposition.model_copy(update={"steps": request.steps})
        config = config.model_copy(update={"decomposition": shortened})
    scores = [
        ToyScore(
            truth="one per feature" if row.dense is None else f"dense, {row.dense}",
            **row.model_dump(exclude={"dense"}),
        )
        for row in run_toys(config, request.seeds, request.out, opening.device)
    ]
    return ToysReply(name=request.recipe.stem, scores=tuple(scores))


_TRAINED = (
    "V, U and Δ are trained in float32, so that V U + Δ stays W; the recipe's `autocast` says what the forwards "
    "compute in"
)

VERBS = (
    Verb(
        "pretrain",
        PretrainRequest,
        PretrainReply,
        pretrain,
        ("text", "device"),
        needs=("text",),
        without={"dtype": "weights are trained in float32, under bfloat16 autocast"},
        recipe=_pretraining,
    ),
    Verb(
        "sites",
        SitesRequest,
        SitesReply,
        sites,
        ("model",),
        first="model",
        needs=("model",),
        without=dict.fromkeys(("device", "dtype"), "no weights are read"),
        recipe=_estimated,
        cost="seconds",
    ),
    Verb(
        "decompose",
        DecomposeRequest,
        DecomposeReply,
        decompose,
        ("model", "text", "device"),
        first="model",
        needs=("model", "text"),
        without={"dtype": _TRAINED},
        recipe=_decomposing,
    ),
    Verb(
        "import",
        ImportRequest,
        ImportReply,
        import_,
        writes=("out",),
        without={"device": "weights are copied, no model runs", "dtype": "--storage is that of the files"},
    ),
    Verb("toys", ToysRequest, ToysReply, toys, ("device",), without={"dtype": _TRAINED}, recipe=_toy),
)
