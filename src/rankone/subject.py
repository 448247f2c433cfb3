"""A subject: a target model with its tokenizer and text, on one device; what a decomposition is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.models.context import usual_context
from rankone.models.soundness import require_causal, require_eval_mode, require_fitting
from rankone.text.blocks import Blocks
from rankone.text.corpus import Corpus, require_domain
from rankone.text.openers import AUTO, opener_id
from rankone.text.passages import domain_blocks


@dataclass(frozen=True)
class Subject:
    """A model under study; token ids and the model lie on the same device.

    opener: what rows of text start with, by choice (text/openers.py).
    Raises RankOneError where tokenizer and model do not fit, for a model that sees later tokens or is in training mode, and
    for an opener that the tokenizer does not have.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    corpus: Corpus
    opener: str = field(default=AUTO, kw_only=True)

    def __post_init__(self) -> None:
        require_eval_mode(self.model)
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
