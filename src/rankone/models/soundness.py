"""What has to hold of a model before anything is measured on it: its weights are plain numbers, and it does not look ahead.

Class names do not say so: a `BertForMaskedLM` loads as a causal model, and sees the tokens it is asked to predict.
"""

from __future__ import annotations

from weakref import WeakSet

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.core.errors import RankOneError
from rankone.core.tensors import is_plain, require_finite
from rankone.models.context import context_length
from rankone.models.output import output_of

LENGTH = 8
# Of the largest logit: kernels may add in another order (mixtures of experts: 3e-7 in fp32, or a step of a half precision).
# A small BERT as it is initialised moves by 7e-4.
_RELATIVE = {torch.float64: 1e-5, torch.float32: 1e-5}
_RELATIVE_HALF = 1e-3
# Models that were tried. Weights may change later; what a forward reads does not.
_CAUSAL: WeakSet[nn.Module] = WeakSet()


def require_plain_weights(model: nn.Module) -> None:
    """Raise, naming the parameter, for weights without values (meta, offloaded) and for quantised ones."""
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            empty = sum(p.is_meta for p in model.parameters())
            raise RankOneError(
                f"'{name}' has no values (meta device or offloaded; {empty} parameters). Load the model with its weights, "
                "on one device."
            )
        if not is_plain(parameter):
            kind = type(parameter.data).__name__
            raise RankOneError(
                f"'{name}' is no plain matrix of real numbers but {parameter.dtype} ({kind}): the model is quantised. "
                "Load the checkpoint it was quantised from."
            )


def require_finite_weights(model: nn.Module, where: str) -> None:
    """Raise, naming the tensor, where a weight holds NaN or infinity."""
    for name, parameter in model.named_parameters():
        require_finite(name, parameter.detach(), where)


def require_causal(model: PreTrainedModel) -> None:
    """Raise unless the logits of earlier positions stay when a later token is another; each model is tried once.

    Eight forwards of eight random tokens, in eval mode: one as drawn, and one for every later token that is another, since a
    look ahead may reach some positions alone.
    """
    if model in _CAUSAL:
        return
    require_plain_weights(model)
    ids = _probe(model)
    drawn, rows = _logits(model, ids), _rows_of_embedding(model)
    limit = _RELATIVE.get(model.dtype, _RELATIVE_HALF) * drawn.abs().max()
    for place in range(ids.shape[1] - 1, 0, -1):
        moved = ids.clone()
        moved[:, place] = (ids[:, place] + 1) % rows
        if (_logits(model, moved)[:, :place] - drawn[:, :place]).abs().max() > limit:
            raise RankOneError(
                f"{type(model).__name__} sees later tokens: its prediction at a position changes with a token after it, so "
                "a cross-entropy of it means nothing. Load a causal language model (a decoder)."
            )
    _CAUSAL.add(model)


def require_fitting(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    """Raise where the tokenizer has ids past the model's embedding."""
    rows, largest = _rows_of_embedding(model), max(tokenizer.get_vocab().values(), default=0)
    if largest >= rows:
        token = tokenizer.convert_ids_to_tokens(largest)
        raise RankOneError(
            f"vocabulary mismatch: the tokenizer has {len(tokenizer)} entries, the model {rows} (its ids go up to "
            f"{largest}, {token!r}). Load the tokenizer the model was trained with."
        )


def _rows_of_embedding(model: PreTrainedModel) -> int:
    return model.get_input_embeddings().get_parameter("weight").shape[0]


def _probe(model: PreTrainedModel) -> Int[Tensor, "1 length"]:
    length = min(LENGTH, context_length(model) or LENGTH)
    drawn = torch.randint(_rows_of_embedding(model), (1, length), generator=torch.Generator().manual_seed(0))
    return drawn.to(next(model.parameters()).device)


def _logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            return output_of(model.eval(), ids).float()
    except Exception as error:  # whatever a configuration makes of another library's forward
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RankOneError(
            f"{type(model).__name__} cannot be run on token ids alone: {reason} Load a causal language model."
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training
