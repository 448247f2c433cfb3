"""Greedy continuation: at every step the token with the largest logit, whatever the checkpoint's generation settings say.

`generate` of transformers fills what a call leaves open from the checkpoint (repetition penalty, beams, suppressed tokens),
and guesses an attention mask where padding and opener share an id: it is not greedy for every model. This is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from transformers import PreTrainedModel


def greedy_continuation(
    model: PreTrainedModel, ids: Sequence[int], tokens: int, ends: Collection[int] = ()
) -> list[int]:
    """At most `tokens` ids that follow `ids`, all of which is seen; one of `ends` is the last."""
    row = torch.tensor([list(ids)], device=model.device)
    said: list[int] = []
    seen, cache = row, None
    with torch.no_grad():
        while len(said) < tokens and not (said and said[-1] in ends):
            out = model(input_ids=seen, past_key_values=cache, use_cache=True)
            said.append(int(out.logits[0, -1].argmax()))
            new = row.new_tensor([[said[-1]]])
            row, cache = torch.cat([row, new], dim=1), getattr(out, "past_key_values", None)
            # A model that keeps no such cache reads the whole row again.
            seen = row if cache is None else new
    return said


def end_ids(model: PreTrainedModel) -> set[int]:
    """Ids after which the model stops, by its generation settings or its configuration."""
    for settings in (getattr(model, "generation_config", None), model.config.get_text_config()):
        found: int | list[int] | None = getattr(settings, "eos_token_id", None)
        if found is not None:
            return {found} if isinstance(found, int) else set(found)
    return set()
