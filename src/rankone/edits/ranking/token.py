"""Rankings by output token: what the model predicts where a subcomponent fires, or what its write vector raises directly."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rankone.core.errors import RankOneError
from rankone.edits.ranking.asked import Asked, Ranking, Sources
from rankone.harvest.reading.tokens import token_shares
from rankone.models.anatomy import writes_residual
from rankone.models.unembedding import unembedding_of
from rankone.text.vocabulary import require_tokens, spelled

# Probability mass, in positions, below which a PMI says little.
LEAST_MASS = 1.0


def by_token(asked: Asked, sources: Sources) -> Ranking:
    """Output PMI: how much likelier the model finds the token where a subcomponent fires than elsewhere (nats)."""
    assert asked.token is not None
    store = sources.require_harvest("a ranking by output PMI")
    texts = store.table("SELECT text FROM vocabulary ORDER BY token")["text"].to_pylist()
    tokens = require_tokens(asked.token, texts)
    shares = token_shares(store, "outputs", tokens)
    names = store.names()
    values, mass, precision = torch.zeros(3, len(names))
    index = torch.tensor(shares.part, dtype=torch.long)
    for column, share in ((mass, shares.weight), (precision, shares.precision), (values, shares.pmi)):
        column[index] = torch.tensor(share, dtype=torch.float32)
    values[mass < LEAST_MASS] = -torch.inf
    if not torch.isfinite(values).any():
        raise RankOneError(
            f"'{asked.token}' is predicted nowhere in this harvest with a total probability of {LEAST_MASS:g}: harvest "
            "more text, or rank by the unembedding (--by unembedding)."
        )
    return Ranking(
        f"Where the model expects “{asked.token}”",
        "PMI",
        f"PMI in nats of {_count(tokens)} where the subcomponent fires; probability: mean there",
        names,
        values,
        {"probability": precision.tolist(), "firings": store.firings().tolist()},
    )


def by_unembedding(asked: Asked, sources: Sources) -> Ranking:
    """How much a write vector raises the token's logit directly, in standard deviations over the vocabulary; size counts.

    Of sites that write to the residual stream. What later layers make of it is left out. Of a component, that of the member
    with the largest size: what it writes in all depends on how active each member is.
    """
    assert asked.token is not None
    parts = sources.workspace.require_parts()
    tokens = require_tokens(asked.token, spelled(sources.workspace.tokenizer))
    head = unembedding_of(sources.workspace.model)
    values, effects = [], []
    for site, count in zip(parts.sites, parts.counts, strict=True):
        write = parts.factors(site)[1].detach()
        if writes_residual(site, write.shape[1], head.rows.shape[1]):
            values.append(torch.stack([head.sharpness(write, t) for t in tokens]).mean(0).cpu())
            effects.append(torch.stack([head.effect(write, t) for t in tokens]).mean(0).cpu())
        else:
            values.append(torch.full((count,), torch.nan))
            effects.append(torch.full((count,), torch.nan))
    sharp, effect = torch.cat(values), torch.cat(effects)
    if sharp.isnan().all():
        raise RankOneError(
            "no decomposed site is known to write to the residual stream: none can be ranked by its effect."
        )
    size = sharp.abs().nan_to_num(-torch.inf)
    columns: dict[str, Sequence[object]] = {}
    if sources.grouping is not None:
        size, best = sources.grouping.largest(size)
        sharp, effect = sharp[best], effect[best]
        every = parts.names()
        columns["by"] = [every[i] for i in best.tolist()]
    columns["raised where v·x is"] = ["+" if v > 0 else "−" for v in sharp.tolist()]
    columns["effect"] = effect.tolist()
    return Ranking(
        f"Writes “{asked.token}” to the logits",
        "size",
        f"size: |direct effect| on {_count(tokens)} in standard deviations over the vocabulary; raised where v·x is: "
        "the sign that raises it; effect: logit per unit of v·x, before the scale of the final norm",
        sources.names,
        size,
        columns,
    )


def _count(tokens: list[int]) -> str:
    return "one vocabulary entry" if len(tokens) == 1 else f"{len(tokens)} vocabulary entries"
