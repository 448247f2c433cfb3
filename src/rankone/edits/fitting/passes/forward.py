"""What a fit asks of a model: how surprised every run's predictions are by fixed targets, for many runs in one forward.

Both terms of a fit's loss are of one kind. With q the target at a position (the base model's own prediction, or the
token that follows) and p what the run predicts,
    −Σ q ln p = ln Σ_i exp z_i − Σ_i q_i z_i,        KL(q ‖ p) = −Σ q ln p − H(q),
and for logits z = W h of a hidden state h the second term is (Wᵀ q)·h. So of the base's predictions nothing as wide as the
vocabulary is kept: the mean unembedding row Wᵀ q, and the entropy H(q). The KL is that of the whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from rankone.edits.adapters import Change


@runtime_checkable
class LowRankChange(Change, Protocol):
    """A change that says its two halves: what it reads of inputs, and the rows that these numbers write."""

    def inner(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "own n d_in"]
    ) -> Float[Tensor, "runs n k"]:
        """S of every run, of its own inputs or of those that all share (own = 1)."""
        ...

    def outer(self, site: str, parameters: Mapping[str, Tensor]) -> Float[Tensor, "own k d_out"]:
        """D of every run, or one for all."""
        ...


class Text(Protocol):
    """Rows whose targets are known, as one kind of forward keeps them.

    entropy: H(q) at every position, nats; 0 where the target is the token that follows.
    """

    @property
    def ids(self) -> Int[Tensor, "rows t"]: ...  # noqa: D102
    @property
    def entropy(self) -> Float[Tensor, "rows t"]: ...  # noqa: D102


class Forward(Protocol):
    """Forwards of a model in which some sites are changed, another change for every run.

    `index` says which rows of the text each run reads: [runs, rows], or [1, rows] where all read the same.
    """

    def prepare(self, ids: Int[Tensor, "rows t"], following: bool = False) -> Text:
        """Rows with their targets: the unchanged model's predictions, or the tokens that follow (a row's last has none)."""
        ...

    def each(
        self,
        text: Text,
        index: Int[Tensor, "own rows"],
        method: Change,
        parameters: Mapping[str, Tensor],
        scored: Bool[Tensor, "own rows t"] | None = None,
    ) -> Float[Tensor, "runs rows t"]:
        """Cross-entropy against the targets at every position, nats. Differentiable in the parameters.

        scored: the positions that are asked for, all where None; what stands elsewhere is then not said.
        """
        ...

    def weighted(
        self,
        text: Text,
        index: Int[Tensor, "own rows"],
        weights: Float[Tensor, "own rows t"],
        method: Change,
        parameters: Mapping[str, Tensor],
    ) -> Float[Tensor, " runs"]:
        """Σ weight · cross-entropy of every run. Differentiable in the parameters."""
        return (self.each(text, index, method, parameters, weights != 0) * weights).sum((1, 2))


def runs_of(parameters: Mapping[str, Tensor]) -> int:
    """How many runs are stacked in a method's parameters."""
    return len(next(iter(parameters.values())))
