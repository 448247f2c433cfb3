"""Cross-entropy of a model on labelled text, before and after edits."""

from __future__ import annotations

from collections.abc import Mapping

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.core.config import Config
from rankone.edits.lowrank import LowRankEdit
from rankone.metrics.cross_entropy import cross_entropies, text_losses
from rankone.metrics.damage import damages
from rankone.metrics.damage_record import Damage
from rankone.models.greedy import end_ids, greedy
from rankone.runtime.progress import SHORT, meter
from rankone.text.blocks import Blocks, encode
from rankone.text.openers import opener_id


class Rollout(Config):
    """An entry of `rollouts.json`: a prompt, its domain, and its greedy continuations before and after an edit."""

    prompt: str
    domain: str
    before: str
    after: str


def edited_cross_entropies(
    model: PreTrainedModel, edit: LowRankEdit, text: Mapping[str, Blocks]
) -> dict[str, float]:
    """Cross-entropy per domain with the edit in the weights; the model is put back bit for bit."""
    with edit.applied(model):
        return cross_entropies(model, text)


def edit_damage(model: PreTrainedModel, edit: LowRankEdit, text: Mapping[str, Blocks]) -> dict[str, Damage]:
    """What an edit does to each domain, with its interval; the model is put back bit for bit."""
    with meter("measure", 2 * len(text), after=SHORT) as bar:
        base = text_losses(model, text, bar)
        with edit.applied(model):
            return damages(base, text_losses(model, text, bar))


def rollout(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, tokens: int = 40) -> str:
    """Greedy continuation of a prompt (without it); RankOneError where both do not fit the model's context."""
    first = opener_id(tokenizer)
    (said,) = encode(tokenizer, [prompt])
    ids = said if first is None else [first, *said]
    (continuation,) = greedy(model, [ids], tokens, end_ids(model, tokenizer))
    return str(tokenizer.decode(continuation, skip_special_tokens=True))
