"""The unembedding as directions in the residual stream: what raises a token's logit above those of the others."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import cast
from weakref import WeakSet

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.models.anatomy import bends_logits, is_norm
from rankone.models.blocks import stream_as_leaf
from rankone.models.output import output_of
from rankone.models.soundness import probe_ids

# Of the rows' derivative and the model's; of logits that a cap bends, each by its own factor.
_LEAST, _LEAST_BENT = 0.99, 0.9
# Models that were tried.
_TRUE: WeakSet[nn.Module] = WeakSet()


@dataclass(frozen=True)
class Unembedding:
    """rows: [vocab, width], the unembedding with the gain of the final norm, less its mean over the vocabulary.

    A vector w added to the final residual stream moves the logits by rows @ w, up to the scale of the norm and a constant
    that softmax does not see.
    """

    rows: Float[Tensor, "vocab width"]

    def effect(self, write: Float[Tensor, "c width"], token: int) -> Float[Tensor, " c"]:
        """Rise of a token's logit over the mean logit per unit of each write vector."""
        return write.float() @ self.rows[token]

    def sharpness(self, write: Float[Tensor, "c width"], token: int) -> Float[Tensor, " c"]:
        """`effect` in standard deviations over the vocabulary: how much more than other tokens it is raised."""
        covariance = self.rows.T @ self.rows / len(self.rows)
        spread = ((write.float() @ covariance) * write.float()).sum(1).clamp_min(1e-20).sqrt()
        return self.effect(write, token) / spread


def unembedding_of(model: PreTrainedModel) -> Unembedding:
    """The unembedding of a model; RankOneError where it has no linear output layer, or logits that do not follow it."""
    made = supposed_unembedding(model)
    if model not in _TRUE:
        try:
            _require_true(model, made)
        except RankOneError:
            raise
        except Exception as error:  # whatever a family's blocks pass on
            said = (str(error) or type(error).__name__).splitlines()[0]
            raise RankOneError(
                f"whether the logits of {type(model).__name__} follow its unembedding cannot be tried ({said}). Tokens "
                "cannot be read off write vectors here."
            ) from error
        _TRUE.add(model)
    return made


def supposed_unembedding(model: PreTrainedModel) -> Unembedding:
    """The unembedding as names and shapes have it, not compared with what the model does: for who compares it himself."""
    head = model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    if not isinstance(weight, Tensor):
        raise RankOneError(
            f"{type(model).__name__} has no linear output layer to read token directions from."
        )
    rows = weight.detach().float()
    norm = _final_norm(model, rows.shape[1])
    if norm is not None:
        gain, centres = norm_gain(norm, rows.shape[1])
        rows = rows * gain
        rows = rows - rows.mean(1, keepdim=True) if centres else rows
    return Unembedding(rows - rows.mean(0))


def _require_true(model: PreTrainedModel, made: Unembedding) -> None:
    """Raise unless the logits' derivative by the last block's output is that of the rows.

    Names do not tell a head with a transform of its own, nor which norm comes last. Of Σ c z, for random c over the
    vocabulary, the rows give the derivative cᵀ rows, up to the scale of the norm and what lies along the stream or is the
    same in every dimension, which a norm takes out: both are left out before the two are compared.
    """
    ids, vocab = probe_ids(model), len(made.rows)
    weights = torch.randn(vocab, generator=torch.Generator().manual_seed(0)).to(made.rows)
    with torch.enable_grad(), stream_as_leaf(_last_stream(model, ids, made.rows.shape[1])) as kept:
        logits = output_of(model, ids)[0, -1].float()
        (gradient,) = torch.autograd.grad((logits - logits.mean()) @ weights, kept)
    stream, true = kept[0][0, -1].detach().float(), gradient[0, -1].float()
    cosine = float(F.cosine_similarity(_beside(true, stream), _beside(weights @ made.rows, stream), dim=0))
    least = _LEAST_BENT if bends_logits(model.config.get_text_config()) else _LEAST
    if not cosine >= least:
        raise RankOneError(
            f"what {type(model).__name__} makes of its residual stream is not its unembedding (cosine {cosine:.2f} with the "
            "true change of its logits): its head has a transform of its own. Tokens cannot be read off write vectors here."
        )


def _last_stream(model: PreTrainedModel, ids: Int[Tensor, "1 length"], width: int) -> nn.Module:
    """Of the last members of all lists of modules, the one that gives [1, length, width] last: the end of the blocks.

    Models with an encoder of pictures have several lists of blocks. RankOneError where none gives that.
    """
    ended: list[nn.Module] = []

    def note(module: nn.Module, _given: object, output: object) -> None:
        stream = output[0] if isinstance(output, tuple | list) else output
        if isinstance(stream, Tensor) and stream.shape == (*ids.shape, width):
            ended.append(module)

    with ExitStack() as hooks, torch.no_grad():
        for blocks in model.modules():
            if isinstance(blocks, nn.ModuleList) and len(blocks):
                hooks.enter_context(blocks[-1].register_forward_hook(note))
        output_of(model, ids)
    if not ended:
        raise RankOneError(
            f"the blocks of {type(model).__name__} pass on no single residual stream of the unembedding's width, {width}. "
            "Tokens cannot be read off write vectors here."
        )
    return ended[-1]


def _beside(vector: Float[Tensor, " width"], stream: Float[Tensor, " width"]) -> Float[Tensor, " width"]:
    """What of a vector lies neither along the stream nor along the same number in every dimension."""
    basis = torch.linalg.qr(torch.stack([torch.ones_like(stream), stream], 1))[0]
    return vector - basis @ (basis.T @ vector)


def _final_norm(model: nn.Module, width: int) -> nn.Module | None:
    """The last norm outside the list of blocks that has one weight per dimension."""
    lists = [name + "." for name, m in model.named_modules() if isinstance(m, nn.ModuleList)]
    norms = [
        module
        for name, module in model.named_modules()
        if is_norm(module)
        and isinstance(weight := getattr(module, "weight", None), Tensor)
        and weight.shape == (width,)
        and not name.startswith(tuple(lists))
    ]
    return norms[-1] if norms else None


def norm_gain(norm: nn.Module, width: int) -> tuple[Float[Tensor, " width"], bool]:
    """Gain per dimension of a norm with a `weight`, and whether it takes the mean out, read off its outputs.

    Some families keep the gain less one as the weight; what the module does is the same for all.
    """
    weight = cast(Tensor, norm.weight)
    signs = torch.ones(width, dtype=weight.dtype, device=weight.device)
    signs[1::2] = -1
    with torch.no_grad():
        gain = (norm(signs) - norm(-signs)) / 2 * signs
        same = norm(torch.ones_like(signs)) - norm(-torch.ones_like(signs))
    return gain.float(), bool(same.abs().max() < 1e-3 * gain.abs().max().clamp_min(1e-12))
