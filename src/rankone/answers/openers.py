"""Which opener a model reads plain text best after: for `doctor`, and for whoever measures on plain text."""

from __future__ import annotations

import torch
from pydantic import Field

from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.metrics.cross_entropy import cross_entropy
from rankone.text.blocks import Blocks, passage_blocks
from rankone.text.openers import candidates, opener
from rankone.text.passages import domain_passages
from rankone.workspace import Workspace

# A difference that is not worth a change of opener, nats.
LEAST_GAIN = 0.01
# An opener matters for the first tokens of a text: short rows show it, and cost little.
ROW = 64


class OpenerRequest(Config):
    """Text to try openers on: the first tokens of so many passages per domain; domains None: the first four there are."""

    domains: tuple[str, ...] | None = None
    split: str = "validation"
    passages: int = Field(default=12, ge=1)


class OpenerTrial(Config):
    """One opener: cross-entropy by domain and its mean, nats per token. token: '' for none."""

    opener: str
    cross_entropy: dict[str, float]

    @property
    def mean(self) -> float:
        """The mean over the domains."""
        return sum(self.cross_entropy.values()) / len(self.cross_entropy)


class OpenerReply(Config):
    """All openers that were tried, the one in use, and the one to use."""

    trials: tuple[OpenerTrial, ...]
    used: str
    why: str
    best: str
    advice: str


def try_openers(workspace: Workspace, request: OpenerRequest) -> OpenerReply:
    """Cross-entropy of the same tokens after each opener: BOS, the token between texts, none, and the one in use.

    Scored are the same tokens for all, those from the second on: without an opener the first cannot be predicted. Raises
    RankOneError for an unknown domain or split, and where there is no text.
    """
    used = opener(workspace.tokenizer, workspace.opener)
    tried = {o.token: o for o in [*candidates(workspace.tokenizer), used]}
    domains = request.domains or tuple(workspace.corpus.domains()[:4])
    trials = tuple(
        OpenerTrial(
            opener=token,
            cross_entropy={d: _cross_entropy(workspace, d, request, token or "none") for d in domains},
        )
        for token in tried
    )
    best = min(trials, key=lambda trial: trial.mean)
    current = next(trial for trial in trials if trial.opener == used.token)
    gain = current.mean - best.mean
    advice = ""
    if gain > LEAST_GAIN:
        name = best.opener or "none"
        advice = f"plain text is read {gain:.2f} nats better with the opener {name} than with {used.token or 'none'}"
    return OpenerReply(
        trials=trials,
        used=used.token,
        why=used.why,
        best=best.opener if advice else used.token,
        advice=advice,
    )


def _cross_entropy(workspace: Workspace, domain: str, request: OpenerRequest, choice: str) -> float:
    """Of the second to the 64th token of each passage."""
    bare = choice == "none"
    texts = domain_passages(workspace.corpus, domain, request.split, request.passages * ROW)
    what = f"the {request.split} text of '{domain}'"
    first = [
        passage_blocks(workspace.tokenizer, [text], ROW if bare else ROW + 1, what=what, opener=choice).rows(
            0, 1
        )
        for text in texts[: request.passages]
    ]
    if not first:
        raise RankOneError(
            f"{what} in '{workspace.corpus.name}' is empty. Leave the domain out, or give it text."
        )
    ids, valid = torch.cat([b.ids for b in first]), torch.cat([b.valid for b in first])
    if not bare:
        valid[:, 1] = False
    return cross_entropy(workspace.model, Blocks(ids, valid))
