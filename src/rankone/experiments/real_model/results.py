"""What the job found, language by language: as it is saved, and whether it meets its bars."""

from __future__ import annotations

from rankone.answers.sideeffects import SideEffects
from rankone.core.config import Config
from rankone.edits.finding.found import Found
from rankone.edits.finding.tolerances import Tolerances
from rankone.edits.fitting.aim import CHANCE_SHARE
from rankone.experiments.real_model.config import MET_DEGENERATE
from rankone.metrics.damage_record import Damage


class Fitted(Config):
    """One edit brought to its size.

    alpha: of a scale, None of a LoRA. damage: of each spared domain on the fit's own text, KL or rise, as the size was
    set by, nats per token. reached: whether the forget text told the size; if not, spared text did.
    """

    method: str
    alpha: float | None
    forget_tokens: int
    steps: int
    reached: bool
    damage: dict[str, float]


class HeldOut(Config):
    """What an edit does to held-out text: by corpus, then by domain, with intervals over passages.

    unseen: corpora whose sources nothing was found, chosen or fitted on.
    """

    damage: dict[str, dict[str, Damage]]
    unseen: tuple[str, ...]


class HeldOutOfAll(Config):
    """The same of every edit, by its name: `scale` and `lora`."""

    edits: dict[str, HeldOut]


class Bar(Config):
    """One thing that must be true: what was measured, what is asked for."""

    name: str
    value: float
    bar: str
    met: bool


class Language(Config):
    """All that was found for one language."""

    language: str
    chance: float
    search: Found
    scale: Fitted
    lora: Fitted
    held_out: dict[str, HeldOut]
    effects: SideEffects
    adapter: str
    adapter_difference: float
    adapter_engine: str

    @property
    def pick(self) -> str:
        """The part that is turned, or the two."""
        return self.search.turned


def bars(result: Language, tolerance: Tolerances) -> list[Bar]:
    """What was promised of the scale, on the unseen sources where there are any, else on the built-in test text."""
    held = result.held_out["scale"]
    corpora = held.unseen or tuple(held.damage)
    made: list[Bar] = []
    for corpus in corpora:
        for domain, damage in held.damage[corpus].items():
            if domain == result.language:
                share = damage.edited / result.chance
                made.append(
                    Bar(
                        name=f"{domain}, share of chance ({corpus})",
                        value=share,
                        bar=f"≥ {CHANCE_SHARE:g}",
                        met=share >= CHANCE_SHARE,
                    )
                )
            elif not domain.startswith("about-"):
                made.append(_most(f"{domain}, rise ({corpus})", damage.rise, tolerance.of(domain)))
    for corpus, damages in held.damage.items():
        for domain, damage in damages.items():
            if domain.startswith("about-"):
                made.append(_most(f"English about the country ({corpus})", damage.rise, tolerance.about))
    made.append(_most("answers newly degenerate", result.effects.side.new_share, MET_DEGENERATE))
    return made


def _most(name: str, value: float, most: float) -> Bar:
    return Bar(name=name, value=value, bar=f"≤ {most:g}", met=value <= most)
