"""Greedy continuation as an argmax over the model's own logits: no sampling, penalty or beam of a checkpoint's settings.

Prompts run together, padded at the left; the keys and values of what was read are kept. Both give the tokens of the plain
loop (one prompt, whole sequence every step), up to ties closer than rounding. Where a model does not read padding right,
which is tried, only prompts of one length run together. What a group was given by kept keys and values is held against
whole forwards of its longest and its shortest row; where they differ, or a model cannot keep them, it goes without.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol
from weakref import WeakSet

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

from rankone.core.errors import RankOneError, first_line
from rankone.core.foreign import is_out_of_memory
from rankone.models.context import context_length
from rankone.models.output import require_finite_logits
from rankone.runtime.progress import Meter
from rankone.text.openers import end_of_text

TOGETHER = 32
# Difference that left padding may make to a prompt's logits, in their standard deviations; rounding stays far below.
_PADDING_NOISE = 0.05
# The same for kept keys and values, in full precision and in half: kernels add in another order.
_CACHE_NOISE, _CACHE_NOISE_HALF = 1e-3, 0.2
# Models whose kept keys and values were seen to give other logits than the whole row, or none.
_WITHOUT_CACHE: WeakSet[nn.Module] = WeakSet()


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
    model: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    tokens: int,
    ends: Collection[int] = (),
    bar: Meter | None = None,
) -> list[list[int]]:
    """The likeliest next ids of each row of prompt ids, at most `tokens`; an id of `ends` is the last of its row.

    bar: moves a step a row. Raises RankOneError for no room in the model's context, an empty prompt, fewer than one token,
    and logits that are not finite.
    """
    _check(model, rows, tokens)
    made: list[list[int]] = [[] for _ in rows]
    for group in _groups(model, rows):
        for at, ids in zip(group, _continued(model, [rows[i] for i in group], tokens, ends), strict=True):
            made[at] = ids
        if bar is not None:
            bar.advance(len(group))
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
    alone = _whole(model, *_padded([short], model.device))[:, -1]
    beside = _whole(model, *_padded([short, long], model.device))[:, -1]
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
    read = None
    if model not in _WITHOUT_CACHE:
        read = _read(model, rows, tokens, ends, cached=True)
        if read is None or not _holds(model, rows, read):
            _WITHOUT_CACHE.add(model)
            read = None
    if read is not None:
        return read.made
    # A family whose cache errs may read padding wrong as well, past a length that the trial of it had.
    made: list[list[int]] = [[] for _ in rows]
    for length in set(map(len, rows)):
        same = [i for i, row in enumerate(rows) if len(row) == length]
        whole = _read(model, [rows[i] for i in same], tokens, ends, cached=False)
        assert whole is not None  # only with kept keys and values may it fail
        for i, ids in zip(same, whole.made, strict=True):
            made[i] = ids
    return made


class _Output(Protocol):
    logits: Tensor


class _Read(NamedTuple):
    """made: of each row. chosen: what followed each row, after an end too. last: the logits of the last choice."""

    made: list[list[int]]
    chosen: Int[Tensor, "rows made"]
    last: Float[Tensor, "rows vocab"]


def _read(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], tokens: int, ends: Collection[int], cached: bool
) -> _Read | None:
    """The group's continuations; None where the model fails with kept keys and values."""
    ids, mask = _padded(rows, model.device)
    width = ids.shape[1]
    made: list[list[int]] = [[] for _ in rows]
    open_rows = set(range(len(rows)))
    cache, logits = None, torch.empty(0)
    for _ in range(tokens):
        if cached:
            try:
                logits, cache = _step(model, ids, mask, cache)
            except Exception as error:  # whatever a family's cache makes of it: without one it may work
                if is_out_of_memory(error):
                    raise
                return None
        else:
            logits = _whole(model, ids, mask)[:, -1]
        require_finite_logits(logits)
        chosen = logits.argmax(-1)
        ids = torch.cat((ids, chosen.unsqueeze(1)), 1)
        mask = torch.cat((mask, torch.ones_like(mask[:, :1])), 1)
        for row in list(open_rows):
            made[row].append(int(chosen[row]))
            if made[row][-1] in ends:
                open_rows.discard(row)
        if not open_rows:
            break
    return _Read(made, ids[:, width:], logits)


def _holds(model: PreTrainedModel, rows: Sequence[Sequence[int]], read: _Read) -> bool:
    """Whether whole forwards of the longest and the shortest row, alone, choose what was chosen and end in like logits."""
    count = read.chosen.shape[1]
    if count == 1:
        return True
    allowed = _CACHE_NOISE if model.dtype in (torch.float32, torch.float64) else _CACHE_NOISE_HALF
    lengths = [len(row) for row in rows]
    for row in {lengths.index(max(lengths)), lengths.index(min(lengths))}:
        given = [*rows[row], *read.chosen[row, :-1].tolist()]
        logits = _whole(model, *_padded([given], model.device), keep=count)[0, -count:]
        noise = allowed * float(logits[-1].std())
        short = logits.amax(-1) - logits.gather(1, read.chosen[row].unsqueeze(1)).squeeze(1)
        apart = (logits[-1] - read.last[row]).abs().max()
        if not (float(short.max()) <= noise and float(apart) <= noise):
            return False
    return True


def _step(
    model: PreTrainedModel, ids: Tensor, mask: Tensor, cache: Cache | None
) -> tuple[Float[Tensor, "rows vocab"], Cache | None]:
    """The logits after each row, and what the model keeps of it; without a cache it reads the whole row."""
    unread = slice(-1, None) if cache is not None else slice(None)
    given = {**_given(ids, mask, unread), "past_key_values": cache, "use_cache": True, "logits_to_keep": 1}
    out = _forward(model, given)
    return out.logits[:, -1].float(), getattr(out, "past_key_values", None)


def _whole(
    model: PreTrainedModel, ids: Tensor, mask: Tensor, keep: int = 1
) -> Float[Tensor, "rows kept vocab"]:
    """The logits after the last `keep` places, or more, of whole rows, nothing kept."""
    given = {**_given(ids, mask, slice(None)), "use_cache": False, "logits_to_keep": keep}
    try:
        return _forward(model, given).logits.float()
    except Exception as error:  # whatever a length makes of another library's forward
        if is_out_of_memory(error):
            raise
        reason = first_line(error).rstrip(".")
        raise RankOneError(
            f"{type(model).__name__} cannot continue {ids.shape[1]} tokens: {reason}. Give prompts of another length."
        ) from error


def _given(ids: Tensor, mask: Tensor, unread: slice) -> dict[str, object]:
    given: dict[str, object] = {"input_ids": ids[:, unread]}
    # Without padding nothing is masked, and models that know no mask are not given one.
    if not mask.all():
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        given |= {"attention_mask": mask, "position_ids": positions[:, unread]}
    return given


def _forward(model: PreTrainedModel, given: Mapping[str, object]) -> _Output:
    taken = inspect.signature(model.forward).parameters
    with torch.no_grad():
        return model(**{k: v for k, v in given.items() if k in taken and v is not None})
