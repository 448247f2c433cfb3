"""A subcomponent or component investigated: what each domain loses when it is turned, what it reads and what it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rankone.core.errors import RankOneError, nearest
from rankone.experiments.investigation.direct import DirectEffect, direct_effect
from rankone.experiments.investigation.effects import (
    Context,
    Lost,
    Where,
    lost_tokens,
    token_losses,
    whereabouts,
    worst_contexts,
)
from rankone.experiments.investigation.prediction import PREDICTORS, Predictor, statistics
from rankone.experiments.investigation.reads import Read, reads
from rankone.experiments.investigation.traces import Traces, traces
from rankone.experiments.requests import StudyRequest
from rankone.harvest.reading.page import PartPage, TokenRow, most_informative
from rankone.harvest.reading.store import HarvestStore
from rankone.labels.label import Label
from rankone.metrics.rank_statistics import spearman
from rankone.runtime.progress import meter
from rankone.text.blocks import Blocks
from rankone.workspace import Workspace

# A rise of the mean cross-entropy from which a domain is said to suffer, in nats.
SUFFERS = 0.02
# Probability mass, in positions, below which an output PMI says little.
LEAST_MASS = 1.0
# The best of PREDICTORS on validation text (perf/investigate.py).
PREDICTOR = Predictor.DAMPED


@dataclass(frozen=True)
class Finding:
    """One domain.

    ce: cross-entropy of the base model; rises, predicted: rise by α, nats per token. importance:
    mean, in the harvest. activation, energy: mean and mean square of ‖u‖ v·x; strong: share of positions where its size
    is above the root mean square over all domains. where: of the damage at the strongest α, in domains that suffer.
    """

    domain: str
    tokens: int
    ce: float
    rises: Mapping[float, float]
    predicted: Mapping[float, float]
    importance: float
    activation: float
    energy: float
    strong: float
    where: Where | None
    reads: list[Read]
    lost: list[Lost]
    contexts: list[Context]


@dataclass(frozen=True)
class Investigation:
    """All findings about one subcomponent or component, the domains by measured rise at the strongest α, largest first."""

    page: PartPage
    labels: list[Label]
    config: StudyRequest
    text: str
    chance: float
    direct: DirectEffect
    findings: list[Finding]

    @property
    def strongest(self) -> float:
        """The α furthest from 1."""
        return max(self.config.alphas, key=lambda a: abs(a - 1))

    @property
    def suffering(self) -> list[Finding]:
        """The domains that rise by SUFFERS or more at the strongest α."""
        return [f for f in self.findings if f.rises[self.strongest] >= SUFFERS]

    def follows(self, top: int) -> list[TokenRow]:
        """Next tokens that the model finds likelier where the subcomponent fires, by weight × PMI, from the harvest."""
        rows = (r for r in self.page.output_tokens if r.weight >= LEAST_MASS and r.pmi > 0)
        return most_informative(rows, top)

    @cached_property
    def correlations(self) -> dict[float, float | None]:
        """By α, Spearman's correlation over the domains between predicted and measured rise."""
        return {
            alpha: spearman(
                [f.predicted[alpha] for f in self.findings], [f.rises[alpha] for f in self.findings]
            )
            for alpha in self.config.alphas
        }


def study_text(workspace: Workspace, domains: list[str], split: str, tokens: int) -> dict[str, Blocks]:
    """Text of every domain; one the corpus has no text for is an error."""
    corpus = workspace.corpus
    missing = [d for d in domains if d not in corpus.domains()]
    if missing:
        raise RankOneError(
            f"the text '{corpus.name}' has nothing for domain '{missing[0]}' of the harvest; it has "
            f"{', '.join(corpus.domains())}. Name the domains to look at with --domains, or give other --text."
        )
    text = workspace.text(domains, split, tokens)
    empty = [d for d, blocks in text.items() if not blocks.tokens]
    if empty:
        raise RankOneError(f"the {split} text of '{empty[0]}' is empty. Give text for it, or leave it out.")
    return text


def chosen_domains(store: HarvestStore, asked: Sequence[str] = ()) -> list[str]:
    """The asked domains, or all of the harvest; one it lacks is an error that offers others."""
    known = store.domains()
    for domain in asked:
        if domain not in known:
            raise RankOneError(
                f"the harvest '{store.artifact.path}' has no domain '{domain}'; it has {', '.join(known)}."
                f"{nearest(domain, known)}"
            )
    return list(dict.fromkeys(asked)) if asked else known


def investigate(
    workspace: Workspace,
    store: HarvestStore,
    name: str,
    config: StudyRequest,
    labels: list[Label] | None = None,
) -> Investigation:
    """Measure one subcomponent or component of the harvest on held-out text of every domain; gather what explains it.

    The members of a component are turned together.
    """
    members = store.members(name)
    page = store.page(name, examples=store.record.config.examples)
    domains = chosen_domains(store, config.domains)
    text = study_text(workspace, domains, config.split, config.tokens)
    settings = [{}, *(dict.fromkeys(members, alpha) for alpha in config.alphas)]
    losses, each = {}, {}
    with meter("turning it", sum(b.tokens for b in text.values()) * len(settings)) as bar:
        for domain, blocks in text.items():
            losses[domain] = token_losses(workspace, settings, blocks, bar.advance)
    with meter("tracing it", len(text)) as bar:
        for domain, blocks in text.items():
            each[domain] = traces(workspace, members, blocks, config.draws, config.seed)
            bar.advance(note=domain)
    traced = {domain: traces_of_members.together() for domain, traces_of_members in each.items()}
    strong = _strong(traced)
    importance = {row.domain: row.mean_importance for row in page.domains}
    counted = statistics(
        list(traced.values()),
        torch.tensor([[importance[d]] for d in domains]),
        [losses[d][0] for d in domains],
        workspace.vocabulary,
    )
    predicted = {a: PREDICTORS[PREDICTOR](counted, a)[:, 0].tolist() for a in config.alphas}
    listed = reads(page, store.token_counts(), config.words)
    findings = [
        _finding(
            domain,
            _Measured(text[domain].to(torch.device("cpu")), losses[domain], traced[domain], strong[domain]),
            {a: values[i] for a, values in predicted.items()},
            importance[domain],
            listed[domain],
            config,
            workspace.tokenizer,
        )
        for i, domain in enumerate(domains)
    ]
    last = max(config.alphas, key=lambda a: abs(a - 1))
    findings.sort(key=lambda f: -f.rises[last])
    active = torch.stack([each[d].activation[strong[d]].sum(0) for d in domains]).sum(0)
    direct = direct_effect(workspace, dict(zip(members, active.tolist(), strict=True)))
    return Investigation(
        page,
        labels or [],
        config,
        f"{workspace.corpus.name} ({config.split})",
        workspace.chance,
        direct,
        findings,
    )


def _strong(traced: Mapping[str, Traces]) -> dict[str, Bool[Tensor, "rows length"]]:
    """Where |a| is above its root mean square over the text tokens of all domains, taken equally."""
    energy = torch.stack([t.activation[t.valid].square().mean() for t in traced.values()]).mean()
    return {d: (t.activation[..., 0].square() > energy) & t.valid for d, t in traced.items()}


@dataclass(frozen=True)
class _Measured:
    """The text of one domain with what was measured on it: losses of the base model and under every α, traces."""

    blocks: Blocks
    losses: Float[Tensor, "settings rows length"]
    traced: Traces
    strong: Bool[Tensor, "rows length"]


def _finding(
    domain: str,
    measured: _Measured,
    predicted: Mapping[float, float],
    importance: float,
    listed: list[Read],
    config: StudyRequest,
    tokenizer: PreTrainedTokenizerBase,
) -> Finding:
    blocks, losses, strong, alphas = measured.blocks, measured.losses, measured.strong, config.alphas
    tokens, valid = blocks.tokens, blocks.valid
    base, last = losses[0], losses[1 + max(range(len(alphas)), key=lambda i: abs(alphas[i] - 1))]
    rise = last - base
    activation = measured.traced.activation[valid]
    return Finding(
        domain=domain,
        tokens=tokens,
        ce=float(base.sum()) / tokens,
        rises={a: float((losses[i] - base).sum()) / tokens for i, a in enumerate(alphas, 1)},
        predicted=predicted,
        importance=importance,
        activation=float(activation.mean()),
        energy=float(activation.square().mean()),
        strong=float(strong[valid].float().mean()),
        where=whereabouts(rise, strong, valid) if float(rise.sum()) >= SUFFERS * tokens else None,
        reads=listed,
        lost=lost_tokens(rise, blocks, tokenizer, config.words),
        contexts=worst_contexts(base, last, strong, blocks, tokenizer, config.contexts),
    )
