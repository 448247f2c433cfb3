"""Training a model of the built-in architecture: pretrain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from rankone.core.fields import Names, Positional, Request, Trackers
from rankone.core.paths import run_directory
from rankone.opening import Opening
from rankone.recipes import Recipe
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.verbs.verb import Verb

if TYPE_CHECKING:
    from rankone.models.pretraining.config import PretrainConfig


class PretrainRequest(Request):
    """A model of the built-in architecture, by its recipe."""

    recipe: Annotated[Recipe, Positional()] = Field(
        description="pretraining recipe: a YAML file, or one that ships, such as mini"
    )
    out: Path = Field(description="where to write; must not exist")
    preset: str = Field("mini", description="model size in the recipe")
    without: Names = Field((), description="leave a domain out (reference model)")
    tokenizer_from: str | None = Field(None, description="reuse the tokenizer of this model")
    run: Path | None = Field(None, description="run directory (checkpoints, metrics); default OUT.run")
    track: Annotated[Names, Trackers()] = Field(
        (), description="also log to these, beside the run's metrics.jsonl: tensorboard, wandb"
    )


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
    """Train a model of the built-in architecture; an interrupted run resumes from its last checkpoint."""
    from rankone.core.artifact import read_json
    from rankone.models.pretraining.run import pretrain as train
    from rankone.runtime.tracking.recording import Tracking

    out = request.out
    config = _pretraining(request)
    run = request.run or run_directory(out)
    tracking = Tracking(trackers=request.track, name=out.name)
    train(config, request.preset, opening.corpus, run, out, device=opening.device, tracking=tracking)
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
)
