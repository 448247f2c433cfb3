"""What has to hold of a model before anything is measured on it: its weights are plain numbers, and it does not look ahead.

Class names do not say so: a `BertForMaskedLM` loads as a causal model, and sees the tokens it is asked to predict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from weakref import WeakSet

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.core.errors import RankOneError, first_line
from rankone.core.tensors import is_plain, require_finite
from rankone.models.context import context_length
from rankone.models.output import output_of

LENGTH = 8
# Of the largest logit, and of the largest derivative: kernels may add in another order (mixtures of experts: 3e-7 in fp32).
# A small BERT as it is initialised moves by 7e-4.
_RELATIVE = 1e-5
_FULL = (torch.float32, torch.float64)
# A step of a half precision is more than many a look ahead: there the limit is so many times what rounding itself moves.
_TIMES_NOISE = 4
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
                f"'{name}' is not a plain matrix of real numbers but {parameter.dtype} ({kind}): the model is quantised. "
                "Load the checkpoint it was quantised from."
            )


def require_finite_weights(model: nn.Module, where: str) -> None:
    """Raise, naming the tensor, where a weight holds NaN or infinity, or a saved buffer (of masks infinity is right) NaN."""
    for name, parameter in model.named_parameters():
        require_finite(name, parameter.detach(), where)
    saved = model.state_dict()
    for name, buffer in model.named_buffers():
        if name in saved and buffer.isnan().any():
            raise RankOneError(
                f"the buffer '{name}' of '{where}' holds NaN. Restore the file from its source."
            )


def require_eval_mode(model: nn.Module) -> None:
    """Raise for a model in training mode: with dropout the same text measures otherwise each time."""
    if model.training:
        raise RankOneError(
            f"{type(model).__name__} is in training mode, in which dropout changes what is measured. Call model.eval()."
        )


def require_causal(model: PreTrainedModel) -> None:
    """Raise unless logits are finite and those of earlier positions stay when a later token is another; tried once a model.

    Eight forwards of eight random tokens, in eval mode: one as drawn, and one for every later token that is another, since a
    look ahead may reach some positions alone. They may differ by 1e-5 of the largest logit; in a half precision by what the
    same row differs by beside other rows of a batch, which is 0 but for mixtures of experts, and no logit may have a
    derivative by the embedding of a later token.
    """
    if model in _CAUSAL:
        return
    require_plain_weights(model)
    ids, before = probe_ids(model), _settings(model)
    drawn, rows = _logits(model, ids), _rows_of_embedding(model)
    _require_unchanged(before, _settings(model))
    moved = {place: _moved(ids, place, rows) for place in range(ids.shape[1] - 1, 0, -1)}
    apart = max(
        (float(_apart(_logits(model, row)[:, :p], drawn[:, :p])) for p, row in moved.items()), default=0.0
    )
    if model.dtype in _FULL:
        sees = apart > _RELATIVE * float(drawn.abs().max())
    else:
        sees = apart > 0 and apart > _TIMES_NOISE * _noise(model, ids, list(moved.values()))
        sees = sees or _derivative_ahead(model, ids) > _RELATIVE
    if sees:
        raise RankOneError(
            f"{type(model).__name__} sees later tokens: its prediction at a position changes with a token after it, so "
            "a cross-entropy of it means nothing. Load a causal language model (a decoder)."
        )
    _CAUSAL.add(model)


def _require_unchanged(before: Mapping[tuple[str, str], str], after: Mapping[tuple[str, str], str]) -> None:
    for (kind, name), value in after.items():
        said = before.get((kind, name))
        if said != value:
            raise RankOneError(
                f"{kind} sets its {name} from '{said}' to '{value}' by the length of what it reads, and stays so: what is "
                f"measured would depend on what ran before. Load it with {name} '{value}' in its config.json."
            )


def _settings(model: nn.Module) -> dict[tuple[str, str], str]:
    """(Class, attribute) → what modules hold as a word: ways to compute, which no forward may change."""
    return {
        (type(module).__name__, name): value
        for module in model.modules()
        for name, value in vars(module).items()
        if isinstance(value, str)
    }


def _moved(ids: Int[Tensor, "1 length"], place: int, rows: int) -> Int[Tensor, "1 length"]:
    """The row with another token at one place."""
    moved = ids.clone()
    moved[:, place] = (ids[:, place] + 1) % rows
    return moved


def _apart(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).abs().max()


def _noise(model: PreTrainedModel, ids: Int[Tensor, "1 length"], others: Sequence[Tensor]) -> float:
    """How far the logits of a row move with the row beside it, before it or after it: rounding, and nothing else."""
    alone = _logits(model, torch.cat([ids, ids]))[0]
    before = [_apart(_logits(model, torch.cat([other, ids]))[1], alone) for other in others]
    after = [_apart(_logits(model, torch.cat([ids, other]))[0], alone) for other in others]
    return float(torch.stack([*before, *after]).max())


def _derivative_ahead(model: PreTrainedModel, ids: Int[Tensor, "1 length"]) -> float:
    """Largest derivative of earlier logits by the embedding of a later token, of the largest by that of an earlier one.

    Exact where logits are not: what a mask leaves out is multiplied by zero. Earlier and later are parted at two places in
    the middle of the row. 0 for a forward that has no derivative, too.
    """
    held: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor | None:
        if output.shape[:-1] != ids.shape:
            return None
        held.append(output.detach().requires_grad_())
        return held[-1].clone()

    try:
        with model.get_input_embeddings().register_forward_hook(keep), torch.enable_grad():
            logits = _in_eval_mode(model, ids)[0]
            weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)).to(logits)
            middle = ids.shape[1] // 2
            return max(_share_ahead(logits * weights, held, cut) for cut in (middle, middle + 1))
    except Exception:  # an operation has no derivative, or a family refuses one in eval mode
        return 0.0


def _share_ahead(values: Float[Tensor, "length v"], embedded: Sequence[Tensor], cut: int) -> float:
    """Of values before a place: their largest derivative by an embedding from there on, of that by one before."""
    made = torch.autograd.grad(values[:cut].sum(), embedded, retain_graph=True, allow_unused=True)
    sizes = torch.stack([g.float().nan_to_num().abs().amax((0, 2)) for g in made if g is not None]).amax(0)
    before = float(sizes[:cut].max())
    return float(sizes[cut:].max()) / before if before and len(sizes) > cut else 0.0


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


def probe_ids(model: PreTrainedModel, rows: int = 1, longest: int = LENGTH) -> Int[Tensor, "rows length"]:
    """Rows of random tokens that a model is tried on; no global seed is touched."""
    shape = (rows, min(longest, context_length(model) or longest))
    drawn = torch.randint(_rows_of_embedding(model), shape, generator=torch.Generator().manual_seed(0))
    return drawn.to(next(model.parameters()).device)


def _logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    try:
        with torch.no_grad():
            logits = _in_eval_mode(model, ids)
    except Exception as error:  # whatever a configuration makes of another library's forward
        raise RankOneError(
            f"{type(model).__name__} cannot be run on token ids alone: {first_line(error)} Load a causal language model."
        ) from error
    # Of comparisons with NaN none is true: what follows would pass whatever it asks.
    if not logits.isfinite().all():
        raise RankOneError(
            f"the logits of {type(model).__name__} are not finite ({int((~logits.isfinite()).sum())} of {logits.numel()} on "
            f"{ids.numel()} random tokens in {model.dtype}): a number in its config.json is wrong, a weight is too large, "
            "or the dtype too narrow. Restore the model from its source, or load it in float32."
        )
    return logits


def _in_eval_mode(model: PreTrainedModel, ids: Tensor) -> Tensor:
    modes = {module: module.training for module in model.modules()}
    try:
        return output_of(model.eval(), ids).float()
    finally:
        for module, training in modes.items():
            module.training = training
