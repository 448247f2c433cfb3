"""Other objectives for LoRA rank 1: ascent, GradDiff, NPO, SimNPO, RMU (up to the middle), a task vector taken away."""

from __future__ import annotations

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method
from rankone.edits.methods.kind import Kind, Target
from rankone.edits.methods.lora import Lora, everywhere
from rankone.models.blocks import blocks_of
from rankone.models.sites import find_sites

RATES = (0.001, 0.003)


def _up_to_the_middle(target: Target) -> list[Method]:
    """LoRA on every matrix up to the middle block, behind which activations are led away."""
    places = {site.name: blocks_of(target.model, [site.name]) for site in find_sites(target.model, ["*"])}
    middle = places[target.middle.name]
    if middle is None:
        raise RankOneError("the method 'rmu' needs a model with a list of blocks.")
    names = [name for name, place in places.items() if place is not None and place.first <= middle.first]
    return [Lora(target.model, names, 1, name="rmu", draw=draw) for draw in range(2)]


KINDS = (
    Kind("ascent", "gradient ascent", 10, 5, everywhere, RATES, (0.0,), objective="ascent", spends="nothing"),
    Kind("grad_diff", "GradDiff", 10, 6, everywhere, RATES, objective="ascent", spends="nothing"),
    Kind("npo", "NPO", 10, 7, everywhere, RATES, objective="npo", spends="nothing"),
    Kind("simnpo", "SimNPO", 10, 4, everywhere, RATES, objective="simnpo", spends="nothing"),
    Kind("rmu", "RMU", 10, 3, _up_to_the_middle, RATES, objective="rmu", spends="nothing"),
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
        spends="nothing",
    ),
)
