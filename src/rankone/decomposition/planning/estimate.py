"""Memory and time of a decomposition run before it begins.

With P positions a step (of one process), ΣC subcomponents, N_V entries of V and U, N_W of the decomposed matrices, N_Γ
parameters of the importance function, N_u and N_d entries of the other matrices before and from the first decomposed block
on, h the hidden width and T the context, one step takes (a product of a position with an m × n matrix is 2 m n):

    clean forward            2 P (N_u + N_d + N_W) + 4 P T h · blocks, without the unembedding where it is held back
    importance               6 P N_Γ                                 forward, and backward to weights and inputs
    each masked pass         P (6 N_V + 4 N_W + 4 N_d) + 12 P T h · blocks downstream
    each extra ascent        P (4 N_V + 4 N_W + 4 N_d) + 12 P T h · blocks downstream
    clean logits             2 P vocabulary h for each of these      where the unembedding is held back
    faithfulness             6 Σ d_in C d_out                        a third in fp32; none at coefficient 0

With activation checkpointing the forward of a masked pass runs twice; a batch in parts with a frequency term goes through
target and importance function once more. On the CPU masked passes go a piece of the batch at a time (passes.py), and hold
what is theirs for a piece alone.

To this comes what is bound by memory traffic: arithmetic on [P, ΣC], the logits, the optimiser. Bytes per value
in the tables below were counted in the code of a step, rounded to what was then measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.planning.rates import Rates, measure_rates
from rankone.decomposition.planning.size import RunSize
from rankone.decomposition.training.head import logits_at_once
from rankone.decomposition.training.passes import rows_at_once
from rankone.render.columns import Column
from rankone.render.tables import Table
from rankone.runtime.memory import available_bytes
from rankone.runtime.progress import log

GIB = 2**30
RUNTIME_BYTES = 0.45 * GIB  # Python, torch and transformers
STATE_BYTES = 16  # fp32 value, gradient, two moments
# Bytes held per value at the peak of a step, in bf16: (compiled, not compiled) where these differ.
MASK_BYTES = (4, 20)  # of [P, ΣC]: logits, their gradient; uncompiled also what the penalty's is made of
PIECE_BYTES = 3  # of [Q, ΣC], Q positions of a masked pass at a time: noise, activations
SITE_BYTES = (6, 40)  # of [Q, C] of one site: what its kernels read and write at once
INPUT_BYTES = (8, 2)  # of [P, Σ d_in] for the importance function, and of [Q, Σ d_in] for the masked pass
CLEAN_BYTES = 4  # of [P, vocabulary] where logits are whole
LOGIT_BYTES = (12, 20)  # of [positions whose logits are formed together, vocabulary]: masked, their gradient
MASK_TRAFFIC = (60, 520)  # bytes read and written per value of [P, ΣC] and pass
LOGIT_TRAFFIC = (30, 80)
TOUCHES = 4  # times what a pass keeps for its backward is read or written
BLOCK_VALUES = 16  # values of the residual stream's width that a block keeps for its backward, in fp32


@dataclass(frozen=True)
class Estimate:
    """Bytes by what they hold, floating-point operations by what they are for, and seconds per step."""

    memory: dict[str, float]
    flops: dict[str, float]
    seconds: float
    steps: int

    @property
    def bytes(self) -> float:
        """Bytes at the peak of a step."""
        return sum(self.memory.values())


class AtOnce(NamedTuple):
    """How many positions a masked pass takes, and for how many of them logits are formed, where that is not all."""

    masked: int
    logits: int


def estimate(size: RunSize, config: DecomposeConfig, rates: Rates, at_once: AtOnce | None = None) -> Estimate:
    """Memory, work and time of a run of this size (`at_once` None: all positions)."""
    flops, faithful = step_flops(size, config), faithfulness_flops(size) if config.faithfulness else 0.0
    seconds = sum(flops.values()) / rates.matmul
    seconds += faithful / 3 / rates.matmul_fp32 + faithful * 2 / 3 / rates.matmul
    seconds += traffic_bytes(size, config) / rates.bandwidth
    held = step_memory(size, config, at_once)
    return Estimate(held, {**flops, "faithfulness": faithful}, seconds, config.steps)


def estimate_on(size: RunSize, config: DecomposeConfig, device: torch.device) -> Estimate:
    """The estimate with the rates of `device`, measured at this run's shapes."""
    middle = sorted(size.sites, key=lambda s: s[0] * s[2])[len(size.sites) // 2]
    rates = measure_rates(device, size.positions, middle[0], middle[2], config.autocast)
    return estimate(size, config, rates, positions_at_once(size, config, device))


def positions_at_once(size: RunSize, config: DecomposeConfig, device: torch.device) -> AtOnce:
    """As `Trainer` cuts a batch."""
    rows = size.positions // size.context // config.machine.accumulation
    whole = size.first_block > 0 or config.machine.sharding == "fsdp"
    taken = size.context * (rows if whole else rows_at_once(device, rows, size.context))
    return AtOnce(taken, logits_at_once(device, size.vocabulary) if size.held_back else taken)


def passes(config: DecomposeConfig) -> tuple[int, int]:
    """(masked passes with a full backward, ascents before them) of a step."""
    merged = config.reconstruction.form == "merged"
    return 1 if merged else 2, config.adversary.searches(merged)


def step_flops(size: RunSize, config: DecomposeConfig) -> dict[str, float]:
    """Floating-point operations of one step in the precision of the passes."""
    p, full = size.positions, passes(config)
    late = size.blocks - size.first_block
    attention = 4.0 * p * size.context * size.width
    fixed = 4 * size.weights + 4 * size.downstream
    machine = config.machine
    counted = machine.accumulation > 1 and config.minimality.frequency > 0
    again = (
        p * (2.0 * size.factors + fixed / 2) + attention * late if machine.activation_checkpointing else 0.0
    )
    matrices = size.upstream + size.downstream + size.weights - size.head
    clean = 2.0 * p * matrices + attention * size.blocks
    logits = 2.0 * p * size.head
    return {
        "clean forward": clean * (1 + counted),
        "importance": (6.0 + 2.0 * counted) * p * size.importance,
        "masked passes": full[0] * (p * (6.0 * size.factors + fixed) + 3 * attention * late + again + logits)
        + full[1] * (p * (4.0 * size.factors + fixed) + 3 * attention * late + logits),
    }


def faithfulness_flops(size: RunSize) -> float:
    """V U in fp32 and its two gradients in the precision of the passes."""
    return 6.0 * size.products / size.processes


def traffic_bytes(size: RunSize, config: DecomposeConfig) -> float:
    """Bytes one step reads and writes outside matrix products."""
    count, eager = sum(passes(config)), not config.compile
    wide = 1 if config.autocast else 2
    masks = wide * count * MASK_TRAFFIC[eager] * size.positions * size.subcomponents
    logits = count * LOGIT_TRAFFIC[eager] * size.positions * size.vocabulary
    optimiser = 40 * (size.factors + size.importance) / _holders(size, config)
    held = step_memory(size, config)
    kept = TOUCHES * (held["site inputs"] + held["target activations"])
    deltas = 32 * size.weights if config.faithfulness else 0
    return masks + logits + kept + optimiser + deltas


def step_memory(size: RunSize, config: DecomposeConfig, at_once: AtOnce | None = None) -> dict[str, float]:
    """Bytes one process holds at the peak of a step, by what they are (`at_once` None: all positions)."""
    p, eager = size.positions / config.machine.accumulation, not config.compile
    q, together = (p, p) if at_once is None else at_once
    state = STATE_BYTES / _holders(size, config)
    wide = 1 if config.autocast else 2
    late = size.blocks - size.first_block
    weights = (
        size.weights if config.faithfulness or config.warmup_steps else 0
    )  # without it no delta and no copy in fp32 is held
    copies = 0 if size.target_bytes == 4 * size.target else 4 * weights
    channels = size.subcomponents + len(size.sites)
    adversary = config.adversary
    # A fresh one has no moments to keep.
    pool, source_bytes = (adversary.pool, 16.0) if adversary.kind == "persistent" else (1, 12.0)
    positions = size.context if "s" in adversary.scope else 1
    slots = config.rows * adversary.segments
    owners = adversary.owners(slots)
    sources = (owners / size.processes if owners == slots else owners) * pool * positions
    logits = LOGIT_BYTES[eager] * min(q, together) + (0 if size.held_back else CLEAN_BYTES * p)
    blocks, per_site = BLOCK_VALUES * late, wide * 2.0 * (size.inputs + 2 * size.outputs)
    if config.machine.activation_checkpointing:
        # The inputs of all blocks, and all of one of them.
        blocks, per_site = late + BLOCK_VALUES, per_site / max(late, 1)
    return {
        "Python and torch": RUNTIME_BYTES,
        "target": size.target_bytes + copies,
        "U and V with optimiser": state * size.factors,
        "importance function with optimiser": state * size.importance,
        "deltas (faithfulness)": 8.0 * weights,
        "adversary's sources": source_bytes * sources * channels,
        "masks and gates": wide
        * (
            (MASK_BYTES[eager] * p + PIECE_BYTES * q) * size.subcomponents
            + SITE_BYTES[eager] * q * max(count for _, _, count in size.sites)
        ),
        "site inputs": (INPUT_BYTES[0] * p + INPUT_BYTES[1] * q) * size.inputs,
        "target activations": q * (per_site + 4.0 * blocks * size.width)
        + (4.0 * p * size.width if size.first_block else 0.0),
        "logits": logits * size.vocabulary,
    }


def _holders(size: RunSize, config: DecomposeConfig) -> int:
    """Among how many processes parameters and optimiser are split."""
    return size.processes if config.machine.sharding == "fsdp" else 1


# What to turn when one item is what fills the memory.
KNOBS = {
    "U and V with optimiser": "`subcomponents` (C per site), fewer `sites`, or more GPUs with `machine.sharding: fsdp`",
    "importance function with optimiser": "`importance` (its width), or more GPUs with `machine.sharding: fsdp`",
    "deltas (faithfulness)": "fewer `sites`",
    "adversary's sources": "`adversary.scope` (bc or c)",
    "masks and gates": "the rows at once (a higher `machine.accumulation`), `context` or `subcomponents`",
    "site inputs": "the rows at once (a higher `machine.accumulation`) or `context`",
    "target activations": "the rows at once (a higher `machine.accumulation`, `machine.activation_checkpointing`)",
    "logits": "the rows at once (a higher `machine.accumulation`) or `context`",
}


def estimate_tables(estimate: Estimate, size: RunSize, device: torch.device) -> list[Table]:
    """Two small tables: memory by what it holds, work by what it is for; a warning in the log when it will not fit."""
    held = [[what, held / GIB] for what, held in estimate.memory.items() if held > 0.005 * GIB]
    start = "" if size.first_block == 0 else f"; masked forwards start at block {size.first_block}"
    memory = Table.of(
        "Estimate: memory at the peak of a step",
        ["what", Column("GiB", ".2f")],
        [*held, ["in all", estimate.bytes / GIB]],
        f"{len(size.sites)} sites, {size.subcomponents:,} subcomponents, {size.factors:,} factors, "
        f"{size.importance:,} importance parameters{start}",
    )
    work = Table.of(
        "Estimate: work per step",
        ["what", Column("TFLOP", ".3g")],
        [
            [what, flops / 1e12]
            for what, flops in (*estimate.flops.items(), ("in all", sum(estimate.flops.values())))
        ],
        f"{estimate.seconds:.3g} s per step on this device ({device.type}); {estimate.steps:,} steps: "
        f"{_duration(estimate.seconds * estimate.steps)}",
    )
    free = available_bytes(device)
    if free is not None and estimate.bytes > free:
        dearest = max(KNOBS, key=lambda what: estimate.memory[what])
        log.warning(
            f"This needs more than the {free / GIB:.1f} GiB free on {device.type}. Lower {KNOBS[dearest]}."
        )
    return [memory, work]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
