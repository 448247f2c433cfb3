"""Two rules for what a gradient means, put under a model's forward without touching its code.

`grad`: derivatives as they are. `frozen`: what is not a product with weights becomes a constant, so that every input is a
linear function of what was written before, and the incoming edges sum to its value: norm scales and attention patterns
are held,
activation functions are f(h)/h, of a product of two live tensors each gets half. These are the rules of RelP and AttnLRP
(arXiv 2508.21258, 2402.05602).

A bias that an operation adds (a layer norm's, an output layer's) becomes a leaf of its own by either rule. Operations are
caught by name as PyTorch is asked for them; those that are neither linear nor known are noted, and the sum identity says
whether they matter. A model in float64 stays in it: casts to narrower numbers are left out, by either rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rankone.circuits.attribution.secant import Held, secant
from rankone.circuits.records import Rule
from rankone.core.errors import RankOneError

# Functions of what is normalised or weighed; their results are constants by the frozen rule.
_HELD = {
    *(
        "rsqrt",
        "sqrt",
        "reciprocal",
        "pow",
        "square",
        "norm",
        "vector_norm",
        "linalg_vector_norm",
        "var",
        "std",
    ),
    *("softmax", "_softmax", "sigmoid", "abs", "exp"),
}
# Element-wise functions through 0, by their secants.
_SECANTS = {
    *(
        "gelu",
        "silu",
        "relu",
        "tanh",
        "leaky_relu",
        "elu",
        "celu",
        "selu",
        "mish",
        "hardswish",
        "hardtanh",
        "relu6",
    ),
    *("softsign", "sin"),
}
# Operators that write into their first operand and are asked for as such; of `+=` and its like PyTorch is asked as `add_`.
_WRITING = {"__setitem__", "__iand__", "__ior__", "__ixor__", "__ilshift__", "__irshift__"}
_LINEAR = {
    *(
        "add",
        "sub",
        "rsub",
        "neg",
        "div",
        "mul",
        "matmul",
        "mm",
        "bmm",
        "linear",
        "addmm",
        "einsum",
        "sum",
        "mean",
        "cumsum",
    ),
    *(
        "view",
        "reshape",
        "transpose",
        "permute",
        "t",
        "squeeze",
        "unsqueeze",
        "flatten",
        "unflatten",
        "expand",
        "repeat",
    ),
    *(
        "repeat_interleave",
        "cat",
        "concat",
        "stack",
        "split",
        "chunk",
        "unbind",
        "narrow",
        "select",
        "index_select",
        "getitem",
    ),
    *(
        "gather",
        "roll",
        "flip",
        "pad",
        "where",
        "masked_fill",
        "clone",
        "contiguous",
        "to",
        "type",
        "type_as",
        "float",
    ),
    *(
        "double",
        "half",
        "bfloat16",
        "dropout",
        "movedim",
        "swapaxes",
        "tril",
        "triu",
        "detach",
        "expand_as",
        "view_as",
    ),
    *(
        "split_with_sizes",
        "tensor_split",
        "slice",
        "T",
        "mT",
        "identity",
        "alias",
        "zeros_like",
        "ones_like",
        "empty_like",
    ),
}
_PRODUCTS = {"mul", "multiply"}
# What norms do to compute in fp32 whatever the model's numbers are.
_CASTS = {"float", "half", "bfloat16", "to", "type", "type_as"}


def activation_modules(model: nn.Module) -> list[nn.Module]:
    """Modules that are an element-wise function, whatever they compute it with."""
    homes = ("transformers.activations", "torch.nn.modules.activation")
    others = (nn.MultiheadAttention, nn.Softmax, nn.LogSoftmax, nn.Sigmoid, nn.GLU)
    return [m for m in model.modules() if type(m).__module__ in homes and not isinstance(m, others)]


class RuleMode(TorchFunctionMode):
    """A rule in force while a forward runs. names: of parameters, by id, to name the biases that become leaves.

    biases: leaf of each bias as it was added, by name. noted: operations on live tensors that are neither linear nor
    known, by name, in order; held: known ones that hold only where their result is a scale or a pattern. attended: queries
    and keys [1, heads, T, d] as they meet, by the frozen rule, layer after layer; of keys there may be fewer heads.
    """

    def __init__(self, rule: Rule, names: Mapping[int, str], tape: Iterable[Tensor] | None = None) -> None:
        super().__init__()
        self.rule: Rule = rule
        self.constant = Held(tape)
        self._names = names
        self.paused = 0
        self.biases: dict[str, Tensor] = {}
        self.noted: list[str] = []
        self.held: list[str] = []
        self.attended: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """What PyTorch asks for each operation."""
        del types
        kwargs = kwargs or {}
        name = _name(func)
        if self.paused or not _live([*args, *kwargs.values()]):
            return func(*args, **kwargs)
        _refuse_in_place(func, args)
        if name in _CASTS and args[0].dtype == torch.float64:
            cast = func(*args, **kwargs)
            return args[0] if cast.dtype.is_floating_point else cast
        if name == "softmax" and args[0].dtype == torch.float64:
            kwargs = {**kwargs, "dtype": None}
        if name in ("linear", "addmm", "layer_norm", "rms_norm", "scaled_dot_product_attention"):
            return getattr(self, f"_{name}")(*args, **kwargs)
        if self.rule == "grad":
            return func(*args, **kwargs)
        return self._frozen(name, func, args, kwargs)

    def _frozen(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if name in _HELD:
            self._note(self.held, name)
            return self.constant(func(*args, **kwargs))
        if name in _SECANTS:
            return secant(lambda x: func(x, *args[1:], **kwargs), args[0], self.constant)
        one: Any = next(iter(args), None)
        other: Any = next(iter(args[1:]), None)
        both = all(isinstance(a, Tensor) and a.requires_grad for a in (one, other))
        if both and name in _PRODUCTS:
            return 0.5 * (one * self.constant(other) + self.constant(one) * other)
        if both and name in ("div", "true_divide", "truediv", "rtruediv"):
            return func(one, self.constant(other), *args[2:], **kwargs)
        if both and name in ("matmul", "bmm", "mm", "einsum"):
            self._note(self.held, f"{name} of two live tensors")
            if one.ndim == 4 and name == "matmul":
                self.attended.append((one, other.transpose(-2, -1)))
        result = func(*args, **kwargs)
        if name not in _LINEAR and _live([result]):
            self._note(self.noted, name)
        return result

    def _note(self, where: list[str], name: str) -> None:
        if name not in where:
            where.append(name)

    def _bias(self, bias: Tensor, shape: Iterable[int], like: Tensor) -> Tensor:
        name = self._names.get(id(bias), f"bias {len(self.biases)}")
        leaf = bias.detach().to(like.dtype).expand(*shape).clone().requires_grad_()
        self.biases[name] = leaf
        return leaf

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        out = F.linear(input, weight)
        return out if bias is None else out + self._bias(bias, out.shape, out)

    def _addmm(self, input: Tensor, mat1: Tensor, mat2: Tensor, **more: Any) -> Tensor:
        if more:
            self._note(self.noted, "addmm with factors")
            return torch.addmm(input, mat1, mat2, **more)
        out = mat1 @ mat2
        return out + self._bias(input, out.shape, out)

    def _layer_norm(
        self,
        input: Tensor,
        normalized_shape: Iterable[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
        *_: object,
        **__: object,
    ) -> Tensor:
        shape = list(normalized_shape)
        if self.rule == "grad":
            out = F.layer_norm(input, shape, weight, None, eps)
        else:
            axes = tuple(range(-len(shape), 0))
            centred = input - input.mean(axes, keepdim=True)
            out = centred * self.constant(
                torch.rsqrt(centred.detach().square().mean(axes, keepdim=True) + eps)
            )
            out = out if weight is None else out * weight
        return out if bias is None else out + self._bias(bias, out.shape, out)

    def _rms_norm(
        self,
        input: Tensor,
        normalized_shape: Iterable[int],
        weight: Tensor | None = None,
        eps: float | None = None,
    ) -> Tensor:
        axes = tuple(range(-len(list(normalized_shape)), 0))
        eps = torch.finfo(input.dtype).eps if eps is None else eps
        scale = torch.rsqrt(input.square().mean(axes, keepdim=True) + eps)
        out = input * (self.constant(scale) if self.rule == "frozen" else scale)
        return out if weight is None else out * weight

    def _scaled_dot_product_attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        del dropout_p  # the model is in eval mode
        if self.rule == "frozen":
            self.attended.append((query, key))
        if enable_gqa:
            groups = query.shape[-3] // key.shape[-3]
            key, value = (side.repeat_interleave(groups, -3) for side in (key, value))
        scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        if is_causal:
            shape = scores.shape[-2:]
            scores = scores.masked_fill(
                ~torch.ones(shape, dtype=torch.bool, device=scores.device).tril(), -torch.inf
            )
        if attn_mask is not None:
            hidden = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, -torch.inf) if hidden else scores + attn_mask
        pattern = scores.softmax(-1)
        return (self.constant(pattern) if self.rule == "frozen" else pattern) @ value


def _name(func: Callable[..., Any]) -> str:
    """`mul` of torch.mul, Tensor.mul, Tensor.mul_, Tensor.__mul__, __rmul__ and __imul__."""
    name = getattr(func, "__name__", str(func))
    plain = name.strip("_")
    if name.startswith("__") and plain[:1] in ("r", "i") and plain[1:] in ("mul", "add", "div", "matmul"):
        return plain[1:]
    return plain


def _refuse_in_place(func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """RankOneError for an operation that writes into a leaf: autograd has no gradient of that."""
    name = getattr(func, "__name__", "")
    writes = name in _WRITING if name.startswith("__") else name.endswith("_")
    first = next(iter(args), None)
    if writes and isinstance(first, Tensor) and first.is_leaf and first.requires_grad:
        raise RankOneError(
            f"no graph can be made of this model: it changes what a matrix writes in place ('{name}'), which no rule covers."
        )


def _live(values: Iterable[Any]) -> bool:
    """Whether a tensor among the values, or in their lists, depends on a leaf."""
    for value in values:
        if isinstance(value, Tensor):
            if value.requires_grad:
                return True
        elif isinstance(value, list | tuple) and _live(value):
            return True
    return False
