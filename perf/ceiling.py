"""The ceiling of matrix products on this machine, and the operations a step executes: what it could cost at best."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def clock(device: torch.device) -> float:
    """Seconds; where one thread computes those it had a processor, which other work on the machine does not stretch."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time() if alone else time.perf_counter()


def matmul_ceiling(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> dict[str, Any]:
    """The best FLOP/s of square matrix products of a few sizes in `dtype`; `size` is the one that reached it."""
    sizes = (4096, 8192, 16384) if device.type == "cuda" else (1024, 2048)
    best = {"flops_per_second": 0.0, "size": 0, "dtype": str(dtype).removeprefix("torch.")}
    for size in sizes:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        out = a @ b
        for _ in range(repeats):
            synchronize(device)
            start = clock(device)
            torch.mm(a, b, out=out)
            synchronize(device)
            rate = 2 * size**3 / (clock(device) - start)
            if rate > best["flops_per_second"]:
                best |= {"flops_per_second": rate, "size": size}
    return best


def count_flops(step: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products and attentions that `step` executes, backward included."""
    with FlopCounterMode(display=False, custom_mapping=_cpu_attention()) as counter:
        step()
    return int(counter.get_total_flops())


def _cpu_attention() -> dict[Any, Any]:
    """Formulas for the CPU's attention kernel, which torch's counter does not know."""
    aten: Any = torch.ops.aten

    def forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(query, key, value)

    def backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return sdpa_backward_flop_count(grad, query, key, value)

    return {
        aten._scaled_dot_product_flash_attention_for_cpu: forward,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,
    }
