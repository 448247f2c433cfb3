"""How fast this device multiplies and moves values, measured in well under a second, once a process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

SECONDS = 0.12
# Large enough that a CPU gets fresh pages for each result, as it does for the tensors of a step.
_VALUES = 1 << 24


@dataclass(frozen=True)
class Rates:
    """Matrix products in FLOP/s in the precision of the passes and in fp32, and memory traffic in bytes/s."""

    matmul: float
    matmul_fp32: float
    bandwidth: float


def measure_rates(device: torch.device, rows: int, d_in: int, d_out: int, autocast: bool) -> Rates:
    """Rates on `device` for products [rows, d_in] · [d_in, d_out], the size of a run's own."""
    low = torch.bfloat16 if autocast else torch.float32
    rows, threads = min(rows, 2048), torch.get_num_threads()
    fp32 = _matmul_rate(device, rows, d_in, d_out, torch.float32, threads)
    rate = fp32 if low == torch.float32 else _matmul_rate(device, rows, d_in, d_out, low, threads)
    return Rates(rate, fp32, _bandwidth(device, threads))


@cache
def _matmul_rate(
    device: torch.device, rows: int, d_in: int, d_out: int, dtype: torch.dtype, _threads: int
) -> float:
    a = torch.full((rows, d_in), 0.5, device=device, dtype=dtype)
    b = torch.full((d_in, d_out), 0.5, device=device, dtype=dtype)
    return 2 * rows * d_in * d_out / _seconds(lambda: a @ b, device)


@cache
def _bandwidth(device: torch.device, _threads: int) -> float:
    a, b = torch.full((2, _VALUES), 0.5, device=device)
    return 3 * a.numel() * a.element_size() / _seconds(lambda: a * b, device)


def _seconds(call: Callable[[], Tensor], device: torch.device) -> float:
    """Seconds per call, after one that does not count."""
    call()
    _wait(device)
    calls, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < SECONDS or calls == 0:
        call()
        calls += 1
        if calls % 8 == 0 or device.type == "cpu":
            _wait(device)
    _wait(device)
    return max(spent, time.perf_counter() - start) / calls


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
