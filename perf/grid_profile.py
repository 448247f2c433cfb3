"""Where the time of a step of the published grid goes, by operation: PyTorch's profile of a whole stack of fits.

    python -m perf.grid_profile [--methods lora_r1 scalar] [--budget 128] [--steps 4] [--autocast]

Self time on one thread of the steps alone: a profile of some steps less that of the first two. Times of a profile hold what
it costs to take it, most where operations are small; shares say where to look, `perf.grid` says what is gained.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable

import torch
from perf.grid import FIRST, opened, stacked
from perf.pages import markdown
from torch.profiler import ProfilerActivity, profile

PRODUCTS = (
    "aten::mm",
    "aten::bmm",
    "aten::addmm",
    "aten::baddbmm",
    "aten::addbmm",
    "mkldnn::_linear_pointwise",
)
ATTENTION = (
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
)
SHOWN = 24
Spent = dict[str, tuple[float, float]]


def spent(fit: Callable[[int], float], steps: int) -> Spent:
    """By operation: milliseconds of its own, and calls, of so many steps beyond the first."""
    found: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for count, sign in ((FIRST, -1), (FIRST + steps, 1)):
        with profile(activities=[ProfilerActivity.CPU]) as taken:
            fit(count)
        for event in taken.key_averages():
            found[event.key][0] += sign * event.self_cpu_time_total / 1e3
            found[event.key][1] += sign * event.count
    return {name: (ms / steps, calls / steps) for name, (ms, calls) in found.items()}


def table(by_name: Spent) -> str:
    """Operations by what they take of a step, in Markdown: products of matrices and attention, then the others."""
    whole = sum(ms for ms, _ in by_name.values())
    others = [name for name in by_name if name not in (*PRODUCTS, *ATTENTION)]
    others.sort(key=lambda name: -by_name[name][0])
    rows = [("products of matrices", PRODUCTS), *((f"of these `{op}`", (op,)) for op in PRODUCTS)]
    rows += [("attention", ATTENTION), *((f"`{name}`", (name,)) for name in others[:SHOWN])]
    rows += [("the rest", others[SHOWN:]), ("all", by_name)]
    lines: list[list[str]] = []
    for name, ops in rows:
        ms, calls = (sum(by_name.get(op, (0.0, 0.0))[i] for op in ops) for i in (0, 1))
        if calls:
            lines.append([name, f"{ms:.1f}", f"{ms / whole:.1%}", f"{calls:.0f}"])
    return markdown(["operation", "ms a step", "share", "calls"], lines)


def main() -> None:
    """Profile and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["lora_r1", "scalar"])
    parser.add_argument("--budget", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--autocast", action="store_true", help="fits in bfloat16")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    benchmark = opened(FIRST + asked.steps, asked.autocast)
    for method in asked.methods:
        runs, fit = stacked(benchmark, method, asked.budget)
        fit(1)
        print(f"\n{method}, {asked.budget} tokens, {runs} runs\n\n{table(spent(fit, asked.steps))}")


if __name__ == "__main__":
    main()
