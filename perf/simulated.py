"""A target and a decomposition of published size whose firing and whose next tokens are simulated.

Real: the shapes, every matrix product of the target, the site inputs x, the activations ‖u‖ v·x, the tokens of the text.
Random: the target's weights and the factors, so no subcomponent means anything.
Simulated: which subcomponents fire, and the next tokens.

*Firing.* `alive` subcomponents fire, the others never. Each has a density of its own, from a power law cut at `least` and 1
with the exponent that gives the wished L0 (mean number firing at a position): most are rare, a few nearly always on. It
fires where a score is above the threshold that gives it this density on a sample of the text. The score is a random
direction in features of the token itself and of the topic, a running mean of the token features over some twenty
tokens, in shares drawn for each subcomponent: some fire on a few tokens wherever they stand, some along whole stretches.
The features are few (LATENTS), so subcomponents fire together much more often than by chance. Importance rises from the
firing threshold to 1 over RISE standard deviations of the score.

*Next tokens.* The text's own bigrams with a share of the unigrams (Witten & Bell 1991), times exp of the target's random
logits: as many likely next tokens as a weak language model has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from perf.cases import Size, recipe
from torch import Tensor
from torch.nn import functional as F
from transformers.modeling_outputs import CausalLMOutputWithPast

from rankone.core.config import Config
from rankone.decomposition.importance.function import ImportanceFunction, Taps
from rankone.decomposition.init.initialisation import initial_factors
from rankone.decomposition.init.start import count_for
from rankone.decomposition.model import Decomposition
from rankone.decomposition.site import site_weight
from rankone.harvest.config import FIRING
from rankone.harvest.counting.plan import Batch
from rankone.harvest.counting.sparse import ragged
from rankone.models.simple_mlp import SimpleMLPConfig, SimpleMLPForCausalLM
from rankone.models.sites import find_sites

LATENTS = 64
MEMORY = 0.95
RISE = 0.3
# Positions of the sample that thresholds are set on, and subcomponents at once.
SAMPLE = 16384
AT_ONCE = 1024


class SimulatedTarget(SimpleMLPForCausalLM):
    """A target of random weights whose next tokens follow the bigrams of a text."""

    def learn(self, plan: Sequence[Batch]) -> None:
        """Take the bigrams of all rows, and the unigrams."""
        size = self.config.vocab_size
        pairs, tokens = [], []
        for batch in plan:
            ids, valid = batch.blocks.ids, batch.blocks.valid
            tokens.append(ids[valid])
            pairs.append((ids[:, :-1] * size + ids[:, 1:])[valid[:, 1:]])
        pair, count = torch.cat(pairs).unique(return_counts=True)
        before, after = pair.div(size, rounding_mode="floor"), pair % size
        unigram = torch.cat(tokens).bincount(minlength=size) + 0.5
        self._base = (unigram / unigram.sum()).float().log()
        kinds = before.bincount(minlength=size)
        seen = torch.zeros(size, dtype=torch.long).scatter_add_(0, before, count)
        # Witten & Bell: a word after which n words of k kinds came is followed by another one with k / (n + k).
        share = count / (seen + kinds)[before]
        rest = (kinds / (seen + kinds).clamp_min(1))[before] * self._base[after].exp()
        self._more = ((share + rest) / rest).float().log()
        self._after, self._kinds, self._first = after, kinds, kinds.cumsum(0) - kinds

    def forward(self, input_ids: Int[Tensor, "b t"], **kwargs: Any) -> CausalLMOutputWithPast:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The target's own forward; its logits are shifted by the bigrams' log-probabilities."""
        found = super().forward(input_ids, **kwargs)
        assert found.logits is not None
        logits = found.logits.add_(self._base)
        before = input_ids.flatten()
        owner, entry = ragged(self._first[before], self._kinds[before])
        place = owner * logits.shape[-1] + self._after[entry]
        logits.view(-1).index_add_(0, place, self._more[entry])
        return found


class NoConfig(Config):
    """Nothing to set: thresholds and weights are drawn."""


class SimulatedImportance(ImportanceFunction):
    """Importance linear in features of the token and of the topic; the docstring of the module says what is simulated."""

    taps: ClassVar[Taps] = "sites"

    def __init__(self, config: Config, widths: Sequence[int], counts: Sequence[int]) -> None:
        super().__init__(config, widths, counts)
        self.project = torch.nn.Parameter(torch.zeros(LATENTS, widths[0]), requires_grad=False)
        self.weight = torch.nn.Parameter(torch.zeros(sum(counts), 2 * LATENTS), requires_grad=False)
        self.bias = torch.nn.Parameter(torch.full((sum(counts),), -1.0), requires_grad=False)

    def features(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t features"]:
        """Of the normalised embeddings of the tokens: projections, and their running mean, both of about unit size."""
        token = x @ self.project.T
        mean, topic = token[:, 0], [token[:, 0]]
        for own in token.unbind(1)[1:]:
            mean = MEMORY * mean + (1 - MEMORY**2) ** 0.5 * own
            topic.append(mean)
        return torch.cat((token, torch.stack(topic, 1)), -1)

    def forward(
        self,
        inputs: list[Float[Tensor, "b t d"]],
        present: Bool[Tensor, "b t"] | None = None,  # noqa: ARG002
    ) -> Float[Tensor, "b t c"]:
        """Logits from the first site's input: it is of the first block's attention, so it knows the token alone."""
        return F.linear(self.features(inputs[0]), self.weight, self.bias)

    def axis(self, parameter: str) -> int | Literal["all"] | None:
        """Weights and biases are of all subcomponents."""
        return None if parameter == "project" else "all"

    def draw(
        self,
        embeddings: Float[Tensor, "b t d"],
        valid: Bool[Tensor, "b t"],
        density: Float[Tensor, " alive"],
        generator: torch.Generator,
    ) -> None:
        """Give as many random subcomponents as there are densities these densities on the sample of text."""
        self.project.copy_(
            torch.randn(self.project.shape, generator=generator) / self.project.shape[1] ** 0.5
        )
        features = self.features(embeddings)[valid]
        features = features[torch.randperm(len(features), generator=generator)[:SAMPLE]]
        alive = torch.randperm(len(self.weight), generator=generator)[: len(density)]
        for own, wished in zip(alive.split(AT_ONCE), density.split(AT_ONCE), strict=True):
            share = torch.rand(len(own), 1, generator=generator)
            sizes = torch.cat((share.sqrt().expand(-1, LATENTS), (1 - share).sqrt().expand(-1, LATENTS)), 1)
            weight = sizes * torch.randn(len(own), 2 * LATENTS, generator=generator)
            score = (features @ weight.T).sort(0, descending=True).values
            # Above the k-th largest of n a new score lies with probability k / (n + 1).
            rank = (wished * (len(score) + 1) - 1).clamp(0, len(score) - 1).round().long()
            threshold = score.gather(0, rank.unsqueeze(0)).squeeze(0)
            gain = (1 - FIRING) / (RISE * score.std(0))
            self.weight[own], self.bias[own] = weight * gain.unsqueeze(1), FIRING - gain * threshold


def densities(alive: int, l0: float, least: float, generator: torch.Generator) -> Float[Tensor, " alive"]:
    """Quantiles of the power law d^(−1−s) between `least` and 1 whose sum is `l0`, in random order."""
    at = (np.arange(alive) + 0.5) / alive

    def law(s: float) -> np.ndarray:
        return (least**-s - at * (least**-s - 1)) ** (-1 / s)

    low, high = -20.0, 20.0
    for _ in range(100):
        middle = (low + high) / 2 or 1e-9
        low, high = (middle, high) if law(middle).sum() > l0 else (low, middle)
    found = torch.from_numpy(law(low or 1e-9)).float()
    return found[torch.randperm(alive, generator=generator)]


def simulated(
    size: Size, plan: Sequence[Batch], alive: int, l0: float, least: float, seed: int = 0
) -> tuple[SimulatedTarget, Decomposition]:
    """A target and its decomposition of this size that fire and speak as described, on the text of `plan`."""
    torch.manual_seed(seed)
    target = SimulatedTarget(SimpleMLPConfig(**size.target)).eval().requires_grad_(False)  # pyright: ignore[reportArgumentType]
    target.learn(plan)
    generator = torch.Generator().manual_seed(seed)
    sites = find_sites(target, None)
    counts = [count_for(site, recipe(size, "merged", 1, 2)) for site in sites]
    factors = {
        s.name: initial_factors(size.initialisation, s.name, site_weight(s), count, generator)
        for s, count in zip(sites, counts, strict=True)
    }
    importance = SimulatedImportance(NoConfig(), [read.shape[0] for read, _ in factors.values()], counts)
    ids, valid = _sample(plan)
    with torch.no_grad():
        embeddings = target.h[0].get_submodule("rms_1")(target.wte(ids))
        importance.draw(embeddings, valid, densities(alive, l0, least, generator), generator)
    return target, Decomposition(factors, importance).eval().requires_grad_(False)


def _sample(plan: Sequence[Batch]) -> tuple[Int[Tensor, "b t"], Bool[Tensor, "b t"]]:
    """Rows from all of the text, about twice the positions of the sample."""
    tokens = sum(batch.blocks.tokens for batch in plan)
    step = max(1, tokens // (2 * SAMPLE))
    width = max(batch.blocks.ids.shape[1] for batch in plan)
    rows, valid = [], []
    seen = 0
    for batch in plan:
        own = slice(-seen % step, None, step)
        seen += len(batch.blocks.ids)
        short = width - batch.blocks.ids.shape[1]
        rows.append(F.pad(batch.blocks.ids[own], (0, short)))
        valid.append(F.pad(batch.blocks.valid[own], (0, short)))
    return torch.cat(rows), torch.cat(valid)
