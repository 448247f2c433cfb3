"""Seconds and memory of one decomposition step: RankOne's two forms beside a straightforward implementation.

    python -m perf.step --quick      a minute or two, small batches: does it run, which way does it point
    python -m perf.step              the figures to quote; on an idle machine

Each case runs in a fresh process, so that its peak memory is its own. All have the same target, starting point, batch and
recipe; `merged` is the recipe's one-pass form. Beside the seconds that passed stand those the process had a processor:
where the two differ (and threads are not the reason) the machine was busy, and the latter are the ones to compare. The
JSON written to perf/results/ holds every single time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from perf.cases import IMPLEMENTATIONS, SIZES, Case, build
from perf.ceiling import count_flops, matmul_ceiling, synchronize
from perf.environment import cores_allowed, environment

from rankone.core.artifact import write_json
from rankone.render.tables import Table
from rankone.runtime import memory
from rankone.runtime.progress import console

RESULTS = Path(__file__).resolve().parent / "results"
# (rows, context, timed steps) by kind of device and size.
FULL = {
    "cpu": {"mini": (16, 128, 5), "67m": (2, 128, 3)},
    "cuda": {"mini": (64, 128, 20), "67m": (16, 512, 10)},
}
QUICK = {
    "cpu": {"mini": (8, 128, 2), "67m": (1, 128, 1)},
    "cuda": {"mini": (64, 128, 5), "67m": (8, 512, 3)},
}
PROFILE_ROWS = 15
# Steps before the timed ones: compilation, allocation, the optimiser's state.
WARM_STEPS = 2


def measure(case: Case, profile: bool) -> dict[str, Any]:
    """Time the case's step in this process; the first ones (compilation, allocation) are not among the timed."""
    torch.set_num_threads(cores_allowed())
    device = torch.device(case.device)
    ready = build(case)
    times: list[float] = []
    busy: list[float] = []
    losses: dict[str, float] = {}
    with ready.within:
        start_bytes = peak_bytes(device)
        for i in range(case.steps + WARM_STEPS):
            synchronize(device)
            start, spent = time.perf_counter(), time.process_time()
            losses = ready.step(i)
            synchronize(device)
            times.append(time.perf_counter() - start)
            busy.append(time.process_time() - spent)
        peak = peak_bytes(device)
        after = case.steps + WARM_STEPS
        profiled = _profile(lambda: ready.step(after), device) if profile else None
        # Last: under the counter's dispatch mode compiled kernels fall back to eager ones, and stay there.
        flops = count_flops(lambda: ready.step(after + 1))
    return {
        **asdict(case),
        "seconds": times[WARM_STEPS:],
        "median_seconds": statistics.median(times[WARM_STEPS:]),
        "median_cpu_seconds": statistics.median(busy[WARM_STEPS:]),
        "warm_seconds": times[:WARM_STEPS],
        "start_bytes": start_bytes,
        "peak_bytes": peak,
        "flops": flops,
        "parameters": ready.parameters,
        "losses": losses,
        "profile": profiled,
    }


def peak_bytes(device: torch.device) -> int:
    """Peak memory so far: of the GPU's allocator, or the process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return memory.peak_bytes() or 0


def _profile(step: Any, device: torch.device) -> list[dict[str, Any]]:
    """The operations that take the most time of their own, with their share of all."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as found:
        step()
    name = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    events = sorted(found.key_averages(), key=lambda e: getattr(e, name), reverse=True)
    total = sum(getattr(e, name) for e in events)
    return [
        {"operation": e.key, "calls": e.count, "share": getattr(e, name) / max(total, 1)}
        for e in events[:PROFILE_ROWS]
    ]


def in_fresh_process(case: Case, profile: bool) -> dict[str, Any]:
    """`measure` in a process of its own; a failure (out of memory) is a result that says so."""
    command = [sys.executable, "-m", "perf.step", "--case", json.dumps(asdict(case))]
    done = subprocess.run(
        [*command, *(["--profile"] if profile else [])], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        return {**asdict(case), "failed": said[-1] if said else f"exit status {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def added(result: dict[str, Any]) -> int:
    """Bytes that the steps added to what was resident before the first (Python, torch, weights, sources)."""
    return result["peak_bytes"] - result["start_bytes"]


def table(results: list[dict[str, Any]], ceilings: dict[str, float]) -> list[list[object]]:
    """Rows to print: seconds, how much faster than plain, peak memory, operations, share of the ceiling reached."""
    rows: list[list[object]] = []
    for r in results:
        name = f"{r['size']} {r['implementation']}{'' if r['compile'] or r['implementation'] == 'plain' else ' (eager)'}"
        if "failed" in r:
            rows.append([name, r["failed"][:60], *[None] * 8])
            continue
        plain = next(
            (
                p
                for p in results
                if p["size"] == r["size"] and p["implementation"] == "plain" and "failed" not in p
            ),
            None,
        )
        one_thread = r["device"] == "cpu" and torch.get_num_threads() == 1
        ideal = r["flops"] / ceilings["flops_per_second"]
        rows.append(
            [
                name,
                r["median_seconds"],
                plain and plain["median_seconds"] / r["median_seconds"],
                r["median_cpu_seconds"],
                plain and plain["median_cpu_seconds"] / r["median_cpu_seconds"],
                r["peak_bytes"] / 1e9,
                plain and r["peak_bytes"] / plain["peak_bytes"],
                plain and added(r) / added(plain),
                r["flops"] / 1e12,
                ideal / r["median_cpu_seconds" if one_thread else "median_seconds"],
            ]
        )
    return rows


def main() -> None:
    """Run the cases and write their figures."""
    options = _options()
    if options.case is not None:
        sys.stdout.write(json.dumps(measure(Case(**json.loads(options.case)), options.profile)) + "\n")
        return
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(cores_allowed())
    found = environment()
    ceiling = matmul_ceiling(torch.device(device), torch.bfloat16)
    out = options.out or RESULTS / f"step-{device}{'-quick' if options.quick else ''}.json"
    results: list[dict[str, Any]] = []
    for case in _cases(options, device):
        console.print(f"{case.size} {case.implementation} …", markup=False)
        results.append(in_fresh_process(case, options.profile))
        # After every case: a long benchmark that is cut off keeps what it has.
        write_json(
            out, {"environment": found, "ceiling": ceiling, "quick": options.quick, "results": results}
        )
    caption = (
        f"{device}, {found['threads']} threads, load {found['load_average'][0]}; ceiling "
        f"{ceiling['flops_per_second'] / 1e12:.3g} TFLOP/s (bf16 matrix products)"
    )
    columns = [
        "case",
        "s/step",
        "× plain",
        "CPU s",
        "× plain",
        "peak GB",
        "of plain",
        "added",
        "TFLOP",
        "of ceiling",
    ]
    console.print(Table.of("One decomposition step", columns, table(results, ceiling), caption))
    console.print(f"wrote {out}", markup=False)


def _cases(options: argparse.Namespace, device: str) -> list[Case]:
    chosen = (QUICK if options.quick else FULL)[device]
    cases = []
    for size in options.sizes:
        rows, context, steps = chosen[size]
        rows, steps = options.rows or rows, options.steps or steps
        for implementation in IMPLEMENTATIONS:
            case = Case(size, implementation, rows, context, steps, device, not options.eager)
            cases.append(case)
            if device == "cuda" and implementation != "plain" and not options.eager:
                cases.append(replace(case, compile=False))
    return cases


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m perf.step", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="small batches, few steps")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    parser.add_argument("--rows", type=int, help="rows a step")
    parser.add_argument("--steps", type=int, help="timed steps")
    parser.add_argument("--eager", action="store_true", help="RankOne without its compiled kernels")
    parser.add_argument("--profile", action="store_true", help="also the operations that take most time")
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
