"""What a run is estimated to hold and to take before it begins, beside what its steps then do.

    python -m perf.estimates          # a few minutes on one core; writes results/estimates.json
    python -m perf.estimates --large  # in seconds: estimates alone, for a model of 1.24B parameters

Each case runs in a fresh process on one thread: the estimate that `rankone decompose` prints, then `--steps` steps. Memory
is the process's peak (resident set), seconds are processor seconds (median). The bytes and traffic per value in
decomposition/estimate.py were set on `mini`; `wide`, with random weights, has other shapes and tells whether they hold.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from perf.cases import RECIPE
from perf.environment import environment
from perf.step import WARM_STEPS, peak_bytes
from transformers import LlamaConfig, LlamaForCausalLM

from rankone.core.artifact import write_json
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.planning.estimate import GIB, estimate, estimate_on, positions_at_once
from rankone.decomposition.planning.rates import Rates
from rankone.decomposition.planning.size import run_size
from rankone.decomposition.training.trainer import Trainer
from rankone.models.loading import load_model
from rankone.models.simple_mlp import SimpleMLPConfig, SimpleMLPForCausalLM
from rankone.render.tables import Table
from rankone.runtime.progress import console

OUT = Path(__file__).resolve().parent / "results" / "estimates.json"
WIDE: dict[str, Any] = {
    "vocab_size": 16384,
    "hidden_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "intermediate_size": 1536,
    "max_position_embeddings": 256,
}
TARGETS = {"wide": WIDE, "large vocabulary": WIDE | {"vocab_size": 98304, "hidden_size": 256}}
# Name → (target, changes to the recipe of the shipped decomposition).
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "mini": ("mini", {}),
    "mini, not compiled": ("mini", {"compile": False}),
    "mini, h.3.* only": ("mini", {"sites": ["h.3.*"]}),
    "mini, separate": ("mini", {"reconstruction": {"form": "separate"}}),
    "wide": ("wide", {"rows": 4, "context": 256}),
    "large vocabulary": ("large vocabulary", {"rows": 4, "context": 256}),
}


# The shape of a Llama with 1.24B parameters, and ways to decompose it or a part of it.
LLAMA = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 8192,
    "tie_word_embeddings": True,
}
_PART = {
    "initialisation": "principal",
    "faithfulness": 0,
    "targeted": {"mixture": {"de": {"weight": 1}}, "contrast": 0.5},
}
LARGE: dict[str, dict[str, Any]] = {
    "whole": {},
    "last two blocks only": {"sites": ["model.layers.14.*", "model.layers.15.*"]},
    "targeted, all sites, C = 16": {**_PART, "subcomponents": {"*": 16}},
    "targeted, down projections, C = 64": {**_PART, "sites": ["*down_proj"], "subcomponents": {"*": 64}},
}
# Assumed of a GPU, in FLOP/s and bytes/s; nothing of this size was run.
ASSUMED = Rates(400e12, 40e12, 3.5e12)


def large() -> list[dict[str, Any]]:
    """Estimates for the large model: bytes by what they hold, and seconds a step at the assumed rates."""
    with torch.device("meta"):
        target = LlamaForCausalLM(LlamaConfig(**LLAMA)).to(torch.bfloat16)  # pyright: ignore[reportArgumentType]
    found = []
    for name, changes in LARGE.items():
        recipe = {
            "mixture": {"en": {"weight": 1}},
            "steps": 1000,
            "rows": 8,
            "context": 512,
            "importance": {"kind": "residual_transformer", "width": 1024, "hidden": 4096},
        }
        config = DecomposeConfig.model_validate(recipe | changes)
        size = run_size(target, config)
        own = estimate(size, config, ASSUMED, positions_at_once(size, config, torch.device("cuda")))
        totals = {"sites": len(size.sites), "subcomponents": size.subcomponents, "bytes": own.bytes}
        work = {"tflop": sum(own.flops.values()) / 1e12, "seconds": own.seconds}
        found.append({"case": name, **totals, **work, "memory": own.memory})
    return found


def print_large() -> None:
    """The estimates as a table."""
    columns = ["case", "sites", "C in all", "U, V", "masks", "deltas", "GiB in all", "TFLOP a step", "s"]
    held = ["U and V with optimiser", "masks and gates", "deltas (faithfulness)"]
    rows = [
        [
            r["case"],
            r["sites"],
            r["subcomponents"],
            *[r["memory"][name] / GIB for name in held],
            r["bytes"] / GIB,
            r["tflop"],
            r["seconds"],
        ]
        for r in large()
    ]
    console.print(
        Table.of(
            "A Llama of 1.24B parameters in bf16, 8 × 512 tokens a step", columns, rows, f"assumed: {ASSUMED}"
        )
    )


def measure(name: str, steps: int) -> dict[str, Any]:
    """The estimate of a case and what it takes, in this process."""
    torch.set_num_threads(1)
    kind, changes = CASES[name]
    if kind == "mini":
        target: Any = load_model("mini")
    else:
        target = SimpleMLPForCausalLM(SimpleMLPConfig(**TARGETS[kind])).eval()
    config = DecomposeConfig.from_yaml(RECIPE, **changes)
    found = estimate_on(run_size(target, config), config, torch.device("cpu"))
    vocabulary = target.config.vocab_size
    rows = np.random.default_rng(0).integers(0, vocabulary, (config.rows * 4, config.context))
    trainer, seconds = Trainer(target, new_decomposition(target, config, rows), rows, config), []
    with trainer.installed():
        for step in range(WARM_STEPS + steps):
            start = time.process_time()
            trainer.step(step)
            seconds.append(time.process_time() - start)
    return {
        "case": name,
        "estimated_bytes": found.bytes,
        "peak_bytes": peak_bytes(torch.device("cpu")),
        "estimated_seconds": found.seconds,
        "median_cpu_seconds": statistics.median(seconds[WARM_STEPS:]),
        "cpu_seconds": seconds[WARM_STEPS:],
        "memory": found.memory,
        "flops": found.flops,
    }


def main() -> None:
    """Run the cases and write their figures."""
    parser = argparse.ArgumentParser(prog="python -m perf.estimates", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--steps", type=int, default=5, help="timed steps")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--large", action="store_true", help="the table of a large model")
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.large:
        return print_large()
    if given.case is not None:
        sys.stdout.write(json.dumps(measure(given.case, given.steps)) + "\n")
        return None
    before, results = environment(), []
    for name in CASES:
        console.print(f"{name} …", markup=False)
        own = [sys.executable, "-m", "perf.estimates", "--case", name, "--steps", str(given.steps)]
        done = subprocess.run(own, stdout=subprocess.PIPE, text=True, check=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
        write_json(given.out, {"environment": before, "results": results})
    columns = ["case", "GiB, estimated", "measured", "s a step, estimated", "measured"]
    table = [
        [
            r["case"],
            r["estimated_bytes"] / GIB,
            r["peak_bytes"] / GIB,
            r["estimated_seconds"],
            r["median_cpu_seconds"],
        ]
        for r in results
    ]
    return console.print(Table.of("Estimate and reality", columns, table))


if __name__ == "__main__":
    main()
