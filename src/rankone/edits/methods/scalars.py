"""One scale per part: a single part, or those that rank highest, started on both sides of 1; and scales that are set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method
from rankone.edits.methods.kind import Kind, Target
from rankone.edits.scales import FIRST_STEP, Scales, both_signs

# Where a scale that may not be negative starts: half way to nothing, and as far above 1 as any.
HALF = 0.5


class Positive(Scales):
    """Scales that cannot be negative, α = |a|: a part is suppressed or amplified, never inverted."""

    def alphas(self, parameters: Mapping[str, Tensor]) -> Float[Tensor, "runs components"]:
        """|a| of every component."""
        return parameters["alpha"].abs()

    def resized(self, parameters: Mapping[str, Tensor], size: float) -> dict[str, Tensor]:
        """1 + size · (α − 1), at least 0."""
        return {"alpha": (1 + size * (parameters["alpha"].abs() - 1)).clamp_min(0.0)}


def _single(target: Target) -> list[Method]:
    return both_signs(target.parts, [target.single], "scalar")


def _positive(target: Target) -> list[Method]:
    starts = (HALF, 1 + FIRST_STEP)
    return [Positive(target.parts, [target.single], "scalar_positive", start) for start in starts]


def _component(target: Target) -> list[Method]:
    members = list(target.component())
    if len(members) < 2:
        raise RankOneError(
            f"'{target.single}' is a component by itself here: a scale for it is the method 'scalar'."
        )
    return both_signs(target.parts, {"component": members}, "component")


def _set_to(alpha: float, name: str, target: Target) -> list[Method]:
    return [Scales(target.parts, [target.single], name, alpha)]


def _enough(names: Sequence[str], count: int, method: str) -> list[str]:
    chosen = list(names)[:count]
    if not chosen:
        raise RankOneError(f"the method '{method}' needs parts that are ranked: run it as a job.")
    return chosen


def _several(
    name: str, title: str, order: int, slot: int, names: Callable[[Target], Sequence[str]], count: int
) -> Kind:
    return Kind(
        name,
        title,
        order,
        slot,
        lambda t: both_signs(t.parts, _enough(names(t), count, name), name),
        (0.1, 0.03),
    )


KINDS = (
    Kind("scalar", "one scalar", 0, 0, _single, (0.5,), (1.0,), one_scale=True),
    Kind("scalar_positive", "one scalar, α ≥ 0", 12, 3, _positive, (0.5,), (1.0,), one_scale=True),
    Kind(
        "scalar_zero",
        "α = 0, not fitted",
        12,
        5,
        lambda t: _set_to(0.0, "scalar_zero", t),
        (1.0,),
        (1.0,),
        one_scale=True,
        trained=False,
    ),
    Kind(
        "scalar_inverted",
        "α = −1, not fitted",
        12,
        7,
        lambda t: _set_to(-1.0, "scalar_inverted", t),
        (1.0,),
        (1.0,),
        one_scale=True,
        trained=False,
    ),
    Kind("component", "one scalar on its component", 13, 0, _component, (0.5,), (1.0,), one_scale=True),
    _several("top4", "top-4 scalars", 13, 4, lambda t: t.several, 4),
    _several("top16", "top-16 scalars", 2, 3, lambda t: t.several, 16),
    _several("top64", "top-64 scalars", 13, 5, lambda t: t.several, 64),
    _several("specific16", "16 most specific scalars", 13, 6, lambda t: t.specific, 16),
    _several("labelled16", "16 labelled scalars", 13, 7, lambda t: t.labelled(), 16),
    _several("steepest16", "16 scalars of the largest gradient", 13, 1, lambda t: t.steepest(), 16),
)
