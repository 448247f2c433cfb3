"""Other objectives for LoRA rank 1 on every matrix: ascent, GradDiff, NPO, SimNPO, a task vector taken away."""

from __future__ import annotations

from rankone.edits.methods.kind import Kind
from rankone.edits.methods.lora import everywhere

RATES = (0.001, 0.003)

KINDS = (
    Kind("ascent", "gradient ascent", 10, 5, everywhere, RATES, (0.0,), objective="ascent"),
    Kind("grad_diff", "GradDiff", 10, 6, everywhere, RATES, objective="ascent"),
    Kind("npo", "NPO", 10, 7, everywhere, RATES, objective="npo"),
    Kind("simnpo", "SimNPO", 10, 4, everywhere, RATES, objective="simnpo"),
    Kind(
        "task_vector",
        "task vector taken away",
        10,
        2,
        everywhere,
        RATES,
        (0.0,),
        objective="learn",
        negated=True,
    ),
)
