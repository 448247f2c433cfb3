"""Greedy continuation as an argmax over the model's own logits: no sampling, penalty or beam of a checkpoint's settings.

Prompts run together, padded at the left; the keys and values of what was read are kept. Both give the tokens of the plain
loop (one prompt, whole sequence every step), up to ties closer than rounding. Where a model does not read padding right,
which is tried, only prompts of one length run together.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

from rankone.core.errors import RankOneError
from rankone.models.context import context_length
from rankone.text.openers import end_of_text

TOGETHER = 32
# Difference that left padding may make to a prompt's logits, in their standard deviations; rounding stays far below.
_PADDING_NOISE = 0.05


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None) -> frozenset[int]:
    """The tokens that end an answer: EOS by the checkpoint's settings or configuration, and by the tokenizer EOS and the
    token between texts."""
    ends: list[object] = []
    for settings in (getattr(model, "generation_config", None), model.config.get_text_config()):
        named = getattr(settings, "eos_token_id", None)
        if named is not None:
            ends += named if isinstance(named, list) else [named]
            break
    if tokenizer is not None:
        between = end_of_text(tokenizer)
        ends += [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(between) if between else None]
    return frozenset(i for i in ends if isinstance(i, int))


def greedy(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], tokens: int, ends: Collection[int] = ()
) -> list[list[int]]:
    """The likeliest next ids of each row of prompt ids, at most `tokens`; an id of `ends` is the last of its row.

    Raises RankOneError for no room in the model's context, an empty prompt, fewer than one token, and logits that are not
    finite.
    """
    _check(model, rows, tokens)
    made: list[list[int]] = [[] for _ in rows]
    for group in _groups(model, rows):
        for at, ids in zip(group, _continued(model, [rows[i] for i in group], tokens, ends), strict=True):
            made[at] = ids
    return made


def _check(model: PreTrainedModel, rows: Sequence[Sequence[int]], tokens: int) -> None:
    if tokens < 1:
        raise RankOneError(f"{tokens} tokens are asked for; ask for at least 1.")
    if not all(rows):
        raise RankOneError(
            "a prompt has no tokens: with no opener there is nothing to continue. Write something."
        )
    longest, room = max(map(len, rows), default=0), context_length(model)
    if room is not None and longest + tokens > room:
        raise RankOneError(
            f"a prompt of {longest} tokens and {tokens} more are longer than the {room} positions the model reads. "
            "Shorten the prompt, or ask for fewer tokens."
        )


def _groups(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Numbers of rows that run together, shortest first."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    mixed = len(set(map(len, rows))) > 1 and _reads_padding(model, rows[order[0]], rows[order[-1]])
    group: list[int] = []
    for i in order:
        if group and (len(group) == TOGETHER or (not mixed and len(rows[i]) != len(rows[group[0]]))):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _reads_padding(model: PreTrainedModel, short: Sequence[int], long: Sequence[int]) -> bool:
    """Whether the short prompt's last logits are the same alone and beside the long one."""
    alone = _step(model, *_padded([short], model.device), None)[0]
    beside = _step(model, *_padded([short, long], model.device), None)[0]
    return float((alone[0] - beside[0]).abs().max()) <= _PADDING_NOISE * float(alone.std())


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """ids and mask [B, T], padded at the left."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask


def _continued(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], tokens: int, ends: Collection[int]
) -> list[list[int]]:
    ids, mask = _padded(rows, model.device)
    made: list[list[int]] = [[] for _ in rows]
    open_rows = set(range(len(rows)))
    cache = None
    for _ in range(tokens):
        logits, cache = _step(model, ids, mask, cache)
        chosen = logits.argmax(-1)
        for row in list(open_rows):
            made[row].append(int(chosen[row]))
            if made[row][-1] in ends:
                open_rows.discard(row)
        if not open_rows:
            break
        ids = torch.cat((ids, chosen.unsqueeze(1)), 1)
        mask = torch.cat((mask, torch.ones_like(mask[:, :1])), 1)
    return made


def _step(
    model: PreTrainedModel, ids: Tensor, mask: Tensor, cache: Cache | None
) -> tuple[Float[Tensor, "rows vocab"], Cache | None]:
    """The logits after each row, and what the model keeps of it; without a cache it reads the whole row."""
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    unread = slice(-1, None) if cache is not None else slice(None)
    taken = inspect.signature(model.forward).parameters
    given: dict[str, object] = {"input_ids": ids[:, unread], "past_key_values": cache, "use_cache": True}
    # Without padding nothing is masked, and models that know no mask are not given one.
    given |= {"attention_mask": mask, "position_ids": positions[:, unread]} if not mask.all() else {}
    given |= {"logits_to_keep": 1}
    with torch.no_grad():
        out = model(**{k: v for k, v in given.items() if k in taken and v is not None})
    logits = out.logits[:, -1].float()
    if not logits.isfinite().all():
        raise RankOneError(
            "the model's logits are not finite: a weight holds NaN or infinity, or the edit is too large for the dtype."
        )
    return logits, getattr(out, "past_key_values", None)
