"""A workspace: a target model with its tokenizer, its parts and text, on one device; what every later verb takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.core.errors import RankOneError
from rankone.decomposition.model import Decomposition
from rankone.models.context import usual_context
from rankone.models.soundness import require_causal, require_fitting
from rankone.parts.parts import Parts
from rankone.text.blocks import Blocks
from rankone.text.corpus import Corpus, require_domain
from rankone.text.openers import AUTO, opener_id
from rankone.text.passages import domain_blocks


@dataclass(frozen=True)
class Workspace:
    """A model under study and what is known of it; token ids, parts and the model lie on the same device.

    parts: None where nothing but the model is needed. opener: what rows of text start with, by choice (text/openers.py).
    Raises RankOneError where tokenizer and model do not fit, for a model that sees later tokens, and for an opener
    that the tokenizer does not have.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    corpus: Corpus
    parts: Parts | None = None
    opener: str = AUTO

    def __post_init__(self) -> None:
        require_causal(self.model)
        require_fitting(self.tokenizer, self.model)
        if self.opener != AUTO:
            opener_id(self.tokenizer, self.opener)

    @property
    def device(self) -> torch.device:
        """Where the model lies, and all that is computed with it."""
        return self.model.device

    @property
    def vocabulary(self) -> int:
        """Number of entries of the model's vocabulary, V."""
        return int(self.model.config.get_text_config().vocab_size)

    @property
    def chance(self) -> float:
        """Cross-entropy of a uniform guess, ln V, in nats."""
        return math.log(self.vocabulary)

    @property
    def context(self) -> int:
        """Row length: the model's context, at most 512."""
        return usual_context(self.model)

    @property
    def decomposition(self) -> Decomposition:
        """The parts as a decomposition; RankOneError where they are of another origin."""
        parts = self.require_parts()
        if not isinstance(parts, Decomposition):
            raise RankOneError(
                f"this needs causal importances, and {parts.origin} parts have none. Give a decomposition."
            )
        return parts

    def require_parts(self) -> Parts:
        """The parts; RankOneError where none were opened."""
        if self.parts is None:
            raise RankOneError("this needs parts of the model: open a decomposition (--decomposition DIR).")
        return self.parts

    def blocks(self, domain: str, split: str, tokens: int, length: int | None = None) -> Blocks:
        """The first `tokens` tokens of a domain's split, or all it has, on the device; no text is an error."""
        require_domain(self.corpus, domain)
        made = domain_blocks(
            self.tokenizer, self.corpus, domain, split, tokens, length or self.context, self.opener
        )
        return made.to(self.device)

    def text(self, domains: Sequence[str], split: str, tokens: int) -> dict[str, Blocks]:
        """Text of several domains, as `blocks`."""
        return {domain: self.blocks(domain, split, tokens) for domain in domains}
