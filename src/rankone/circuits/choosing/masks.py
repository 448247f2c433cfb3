"""The model with only some nodes let through: importance, binary, stochastic and adversarial masks on one prompt.

m = g + (1 − g) r, g the importance of the nodes (0 elsewhere). importance: r = 0; binary: g rounded up to 1; stochastic: r ~
U[0, 1] everywhere, Δ too; adversarial: r of the naturally alive entries by 4 signed steps of size 1 against the prediction,
the others 0, Δ off (VPD's); `all sources`: every entry has an r, which is the stricter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.circuits.attribution.targets import Aim
from rankone.circuits.records import MaskedRow, MaskMode
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.metrics.cross_entropy import prediction_losses
from rankone.metrics.kl import kl_per_position

PGD_STEPS, PGD_STEP = 4, 1.0
DRAWS, RESTARTS = 8, 4
Loss = Callable[[Float[Tensor, "b vocab"]], Float[Tensor, " b"]]


class MaskedPrompt:
    """A prompt on a target model with its decomposition in place; made by `masked_prompt`.

    clean: [vocab] logits at the last position; importance, raw: [T, C], clamped and as the importance function gives them.
    """

    def __init__(self, model: DecomposedModel, ids: Int[Tensor, " t"]) -> None:
        self.model, self.ids = model, ids
        logits, inputs = model.clean(ids.unsqueeze(0))
        self.clean: Float[Tensor, " vocab"] = logits[0, -1]
        with torch.no_grad():
            self.raw: Float[Tensor, "t c"] = model.decomposition.logits(inputs)[0]
        self.importance: Float[Tensor, "t c"] = self.raw.clamp(0, 1)

    @property
    def sites(self) -> int:
        """Number of sites."""
        return len(self.model.decomposition.sites)

    def logits(
        self, mask: Float[Tensor, "b t c"], delta: Float[Tensor, "b t sites"] | None = None
    ) -> Float[Tensor, "b vocab"]:
        """Logits at the last position under masks; delta None is off."""
        ids = self.ids.expand(len(mask), -1)
        return self.model.masked(ids, mask, delta)[:, -1]

    def untouched(self, count: int = 1) -> Float[Tensor, "b t sites"]:
        """Delta fully on."""
        return torch.ones(count, len(self.ids), self.sites, device=self.ids.device)


@contextmanager
def masked_prompt(
    target: PreTrainedModel, decomposition: Decomposition, ids: Int[Tensor, " t"]
) -> Iterator[MaskedPrompt]:
    """The prompt's masked forward, for the length of the block."""
    wanted = [p for p in target.parameters() if p.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        with DecomposedModel(target, decomposition) as model:
            yield MaskedPrompt(model, ids)
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


def loss_of(objective: str, clean: Float[Tensor, " vocab"], aim: Aim) -> Loss:
    """What masks are held to at the target position: KL to the target, −log p of a token, or minus an aim's logits."""
    if objective == "kl":
        return lambda logits: kl_per_position(clean.expand_as(logits), logits)
    token = aim.token
    if objective == "ce" and token is not None:
        return lambda logits: prediction_losses(logits, logits.new_full(logits.shape[:-1], token).long())
    seed = aim.seed(len(clean)).to(clean)
    return lambda logits: -(logits @ seed)


def adversarial_sources(
    prompt: MaskedPrompt,
    g: Float[Tensor, "b t c"],
    free: Bool[Tensor, "t c"],
    loss: Loss,
    generator: torch.Generator,
) -> Float[Tensor, "b t c"]:
    """r of the free entries after PGD_STEPS signed ascents from a random start; the others 0."""
    g = g.detach()
    source = torch.rand(g.shape, generator=generator).to(g) * free
    for _ in range(PGD_STEPS):
        leaf = source.clone().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(loss(prompt.logits(g + (1 - g) * leaf)).sum(), leaf)
        source = ((source + PGD_STEP * slope.sign()).clamp(0, 1)) * free
    return source


def stochastic_logits(
    prompt: MaskedPrompt, g: Float[Tensor, "b t c"], generator: torch.Generator
) -> Float[Tensor, "b vocab"]:
    """Logits under uniform sources at all entries and uniform delta masks."""
    source = torch.rand(g.shape, generator=generator).to(g)
    delta = torch.rand((len(g), g.shape[1], prompt.sites), generator=generator).to(g)
    return prompt.logits(g + (1 - g) * source, delta)


def masked_rows(
    prompt: MaskedPrompt,
    g: Float[Tensor, "t c"],
    alive: Bool[Tensor, "t c"],
    aim: Aim,
    loss: Loss,
    seed: int = 0,
) -> list[MaskedRow]:
    """What the model says under every kind of mask; g: importance of the nodes, alive: entries with adversarial sources."""
    rows = []
    for masks in ("importance", "binary", "stochastic", "adversarial", "adversarial, all sources"):
        logits = masked_logits(prompt, g, alive, loss, masks, seed)
        rows.append(masked_row(prompt.clean, masks, int((g > 0).sum()), logits, aim))
    return rows


def masked_logits(
    prompt: MaskedPrompt,
    g: Float[Tensor, "t c"],
    alive: Bool[Tensor, "t c"],
    loss: Loss,
    masks: MaskMode,
    seed: int = 0,
) -> Float[Tensor, "draws vocab"]:
    """Logits of every draw, or of every restart of the adversary."""
    generator = torch.Generator().manual_seed(seed)
    one = g.unsqueeze(0)
    if masks in ("importance", "binary"):
        with torch.no_grad():
            return prompt.logits(one if masks == "importance" else (one > 0).to(g))
    if masks == "stochastic":
        with torch.no_grad():
            return stochastic_logits(prompt, one.expand(DRAWS, -1, -1), generator)
    free = alive if masks == "adversarial" else torch.ones_like(alive)
    many = one.expand(RESTARTS, -1, -1)
    source = adversarial_sources(prompt, many, free, loss, generator)
    with torch.no_grad():
        return prompt.logits(many + (1 - many) * source)


def masked_row(
    clean: Float[Tensor, " vocab"],
    masks: MaskMode,
    nodes: int,
    logits: Float[Tensor, "draws vocab"],
    aim: Aim,
    random: bool = False,
) -> MaskedRow:
    """Mean over draws; of the adversary's restarts the worst, by KL."""
    wide = logits.detach().double()
    kl = kl_per_position(clean.double().expand_as(wide), wide)
    value = wide @ aim.seed(wide.shape[1]).to(wide)
    chance = None if aim.token is None else wide.softmax(-1)[:, aim.token]
    if masks.startswith("adversarial") and not random:
        worst = int(kl.argmax())
        first = [value[worst], kl[worst], None if chance is None else chance[worst]]
    else:
        first = [value.mean(), kl.mean(), None if chance is None else chance.mean()]
    spread = len(wide) > 1
    return MaskedRow(
        masks=masks,
        nodes=nodes,
        random=random,
        draws=len(wide),
        value=float(first[0]),  # pyright: ignore[reportArgumentType]
        kl=float(first[1]),  # pyright: ignore[reportArgumentType]
        probability=None if first[2] is None else float(first[2]),
        probability_sd=float(chance.std()) if spread and chance is not None else None,
        kl_sd=float(kl.std()) if spread else None,
    )


def random_nodes(
    chosen: Bool[Tensor, "t c"], pool: Bool[Tensor, "t c"], counts: list[int], generator: torch.Generator
) -> Bool[Tensor, "t c"]:
    """As many entries of the pool at random as are chosen at each site (or all, where the pool has no more)."""
    drawn = []
    for wanted, there in zip(chosen.split(counts, dim=1), pool.split(counts, dim=1), strict=True):
        entries = there.flatten().nonzero()[:, 0]
        picked = entries[torch.randperm(len(entries), generator=generator)[: int(wanted.sum())]]
        mask = torch.zeros(there.numel(), dtype=torch.bool)
        mask[picked] = True
        drawn.append(mask.view_as(there))
    return torch.cat(drawn, dim=1)
