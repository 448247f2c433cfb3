"""Steering: a direction is added to the residual stream as the model runs, everywhere or where a condition holds.

The direction is the difference of the mean residual stream on the text to forget and on other text (contrastive activation
addition, Rimsky et al. 2024; DiffMean of Wu et al. 2025), behind the middle block; how much of it is added is one
learned number. Conditional steering adds it only where what that block's MLP output matrix reads looks more like the text to
forget than like other text (Lee et al. 2025, there for a whole prompt; here at each position).

Neither is a change of weights: these run and are measured beside edits, and nothing can be exported.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method
from rankone.edits.fitting.misdirection import last_block, residual
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.methods.kind import Kind, Target
from rankone.models.sites import Site
from rankone.text.blocks import Blocks

ROWS_AT_ONCE = 8
# Size of the first step, in lengths of the difference of means.
FIRST = 1.0


class Steered:
    """`amount` [runs, 1]: how many times `direction` [d_out] is added to what a site writes to the residual stream.

    reads, threshold: of the condition, reads·x > threshold for what the site reads; None adds it at every position.
    """

    def __init__(
        self,
        site: Site,
        direction: Float[Tensor, " d_out"],
        name: str,
        start: float,
        reads: Float[Tensor, " d_in"] | None = None,
        threshold: float = 0.0,
    ) -> None:
        self.name, self.site, self.direction, self._start = name, site.name, direction, start
        self.condition, self.threshold = reads, threshold

    def start(self, runs: int, seeds: list[int]) -> dict[str, nn.Parameter]:  # noqa: ARG002
        """The same amount for every run."""
        return {"amount": nn.Parameter(torch.full((runs, 1), self._start))}

    def sites(self) -> list[str]:
        """The site whose output is added to."""
        return [self.site]

    def change(
        self,
        site: str,  # noqa: ARG002
        parameters: Mapping[str, Tensor],
        x: Float[Tensor, "runs n d_in"],
    ) -> Float[Tensor, "runs n d_out"]:
        """amount · direction, where the condition holds."""
        holds = x.new_ones(x.shape[:2])
        if self.condition is not None:
            holds = (x @ self.condition.to(x) > self.threshold).to(x)
        added = parameters["amount"].to(x).unsqueeze(2) * self.direction.to(x)
        return holds.unsqueeze(2) * added

    def resized(self, parameters: Mapping[str, Tensor], size: float) -> dict[str, Tensor]:
        """`size` times as much."""
        return {"amount": parameters["amount"] * size}

    @property
    def fixed(self) -> bool:
        """One direction, and nothing to fit but its size."""
        return True

    def edit(self, parameters: Mapping[str, Tensor], run: int) -> LowRankEdit:
        """RankOneError: it changes no weights."""
        del parameters, run
        raise RankOneError(
            f"the method '{self.name}' adds to activations, and no edit of weights can: compare it with `rankone bench`."
        )


def mean_residual(model: PreTrainedModel, site: Site, text: Blocks) -> Float[Tensor, " d"]:
    """The mean over a text's positions of the residual stream behind the block of a site; RankOneError without blocks."""
    block, total = last_block(model, [site.name]), torch.zeros(site.d_out, dtype=torch.float64)
    for rows in text.split(ROWS_AT_ONCE, model.device):
        with torch.no_grad():
            stream = residual(model, block, rows.ids)
        total += stream[rows.present].sum(0, dtype=torch.float64).cpu()
    return (total / int(text.present.sum())).float().to(model.device)


def _direction(target: Target, method: str) -> Float[Tensor, " d"]:
    wanted, *others = (
        mean_residual(target.model, target.middle, text) for text in target.require_texts(method).values()
    )
    return wanted - torch.stack(others).mean(0)


def _constant(target: Target) -> list[Method]:
    direction = _direction(target, "steering")
    return [Steered(target.middle, direction, "steering", sign * FIRST) for sign in (-1, 1)]


def _conditional(target: Target) -> list[Method]:
    site, direction = target.middle, _direction(target, "steering_conditional")
    wanted, others = (m[site.name] for m in target.require_moments([site], "steering_conditional"))
    # Means apart in units of each input's spread: a probe with a diagonal covariance.
    spread = (
        0.5 * (wanted.mean_square + others.mean_square) - 0.25 * (wanted.mean + others.mean) ** 2
    ).clamp_min(1e-9)
    reads = (wanted.mean - others.mean) / spread
    threshold = float(reads @ (wanted.mean + others.mean)) / 2
    return [
        Steered(site, direction, "steering_conditional", sign * FIRST, reads, threshold) for sign in (-1, 1)
    ]


KINDS = (
    Kind("steering", "steering vector", 12, 6, _constant, (0.5,), (1.0,), weights=False, spends="text"),
    Kind(
        "steering_conditional",
        "steering where it fires",
        12,
        2,
        _conditional,
        (0.5,),
        (1.0,),
        weights=False,
        spends="text",
    ),
)
