"""Causal importances fitted to one prompt: which nodes suffice, whatever the others do.

One free number per naturally alive (position, part), started at what the importance function gives; every other entry stays
0. The loss is ½ L under stochastic masks + ½ L under adversarial ones (or L with the importances as masks) plus
λ Σ g_up^p / T, p = .3, Adam without weight decay at a constant rate: VPD's objective, its defaults sized for a CPU (200
steps at .03 to .1, where upstream takes 2,000 at .01). T is the prompt's length: nothing after the target position is
there to pay for.
"""

from __future__ import annotations

import time
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rankone.circuits.choosing.masks import Loss, MaskedPrompt, adversarial_sources, stochastic_logits
from rankone.circuits.config import OptimiseConfig
from rankone.circuits.records import OptimisedRecord
from rankone.decomposition.masking.squash import lower, upper
from rankone.runtime.progress import meter

POWER, EPSILON = 0.3, 1e-12


def optimised(
    prompt: MaskedPrompt,
    loss: Loss,
    config: OptimiseConfig,
    masks: Literal["stochastic and adversarial", "importance"] = "stochastic and adversarial",
) -> tuple[Float[Tensor, "t c"], OptimisedRecord]:
    """Importances [T, C] after the fit, 0 where nothing is needed, and how it went."""
    alive: Bool[Tensor, "t c"] = prompt.raw > 0
    started = time.process_time()
    free = prompt.raw[alive].clone().requires_grad_()
    adam = torch.optim.Adam([free], lr=config.learning_rate)
    generator = torch.Generator().manual_seed(config.seed)
    course = []
    with meter("optimising", config.steps) as bar:
        for step in range(config.steps):
            g = _dense(lower(free), alive)
            if masks == "importance":
                value = loss(prompt.logits(g)).sum()
            else:
                source = adversarial_sources(prompt, g, alive, loss, generator)
                value = 0.5 * loss(stochastic_logits(prompt, g, generator)).sum()
                value = value + 0.5 * loss(prompt.logits(g + (1 - g) * source)).sum()
            price = config.penalty * (upper(free) + EPSILON).pow(POWER).sum() / len(prompt.ids)
            adam.zero_grad()
            (value + price).backward()
            adam.step()
            nodes = int((free > 0).sum())
            if step % max(1, config.steps // 10) == 0 or step == config.steps - 1:
                course.append(float(value))
            bar.advance(note=f"loss {float(value):.3f}, {nodes} nodes")
    g = _dense(free.detach().clamp(0, 1), alive)[0]
    record = OptimisedRecord(
        **config.model_dump(exclude={"seed"}),
        masks=masks,
        seed=config.seed,
        start_nodes=int(alive.sum()),
        loss=tuple(course),
        processor_seconds=time.process_time() - started,
    )
    return g, record


def _dense(values: Float[Tensor, " n"], alive: Bool[Tensor, "t c"]) -> Float[Tensor, "1 t c"]:
    dense = torch.zeros(alive.shape, dtype=values.dtype, device=values.device)
    return dense.masked_scatter(alive, values).unsqueeze(0)
