"""Forwards whose products are in bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


@contextmanager
def short_products(device: torch.device, wanted: bool) -> Iterator[None]:
    """PyTorch's autocast to bfloat16 while the block runs; on a CPU attention stays in float32, where it is the faster."""
    with torch.autocast(device.type, torch.bfloat16, enabled=wanted):
        if wanted and device.type == "cpu":
            with _WideAttention():
                yield
        else:
            yield


class _WideAttention(TorchFunctionMode):
    """Attention of few heads' width and short rows: its backward in bfloat16 takes five times that in float32."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func is not F.scaled_dot_product_attention:
            return func(*args, **named)
        with torch.autocast("cpu", enabled=False):
            wide = func(*map(_wide, args), **{name: _wide(value) for name, value in named.items()})
        return wide.to(args[0].dtype)


def _wide(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
