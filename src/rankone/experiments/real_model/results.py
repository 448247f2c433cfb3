"""What the job found, language by language: as it is saved, and whether it meets its bars."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from rankone.answers.sideeffects import SideEffects
from rankone.core.config import Config
from rankone.edits.finding.found import Found
from rankone.edits.finding.tolerances import Tolerances
from rankone.edits.fitting.aim import CHANCE_SHARE
from rankone.experiments.real_model.config import MOST_DEGENERATE
from rankone.metrics.damage_record import Damage

SCALE, TRAINED, LORA, TRAINED_LORA = "scale", "trained", "lora", "trained-lora"
TITLES = {
    SCALE: "one scale",
    TRAINED: "directions trained",
    LORA: "LoRA rank 1",
    TRAINED_LORA: "LoRA, same training",
}
"""The edits of a language by name, in the order of tables."""


class Fitted(Config):
    """One edit brought to its size.

    alpha: of a scale, None of the others. size: what it was multiplied by after its fit. damage: of each spared domain on
    the text that set the size, KL or rise, nats per token. reached: whether the forget text set the size; if not, spared
    text did. weights: of an edit that was trained within the tolerances, what each domain weighed at the end
    (fitting/within.py).
    """

    alpha: float | None = None
    size: float
    forget_tokens: int
    steps: int
    reached: bool
    damage: dict[str, float]
    weights: dict[str, float] = Field(default_factory=dict)


class HeldOut(Config):
    """What an edit does to held-out text: by corpus, then by domain, with intervals over passages.

    unseen: corpora whose sources nothing was found, chosen or fitted on.
    """

    damage: dict[str, dict[str, Damage]]
    unseen: tuple[str, ...]


class HeldOutOfAll(Config):
    """The same of every edit, by its name."""

    edits: dict[str, HeldOut]


class Bar(Config):
    """One thing that must be true: what was measured, what is asked for."""

    name: str
    value: float
    bar: str
    met: bool


class Language(Config):
    """All that was found for one language. fits, held_out: by the names of the edits. effects, adapter: of the edit that
    is shipped.
    """

    language: str
    chance: float
    search: Found
    fits: dict[str, Fitted]
    held_out: dict[str, HeldOut]
    effects: SideEffects
    adapter: str
    adapter_difference: float
    adapter_engine: str

    @property
    def pick(self) -> str:
        """The part that is turned, or the two."""
        return self.search.turned

    @property
    def alpha(self) -> float:
        """The one scale."""
        return self.fits[SCALE].alpha or 0.0

    @property
    def shipped(self) -> str:
        """The name of the edit that is asked questions and exported."""
        return shipped_of(self.fits)


def shipped_of(fits: Mapping[str, Fitted]) -> str:
    """Which of a language's edits is asked questions and exported: the scale, or what was trained from it."""
    return TRAINED if TRAINED in fits else SCALE


def bars(result: Language, tolerance: Tolerances, name: str | None = None) -> list[Bar]:
    """What was promised, on the unseen sources where there are any, else on the built-in test text.

    name: of which edit; of the one that is shipped where None. Answers are those of the shipped one alone.
    """
    name = name or result.shipped
    held = result.held_out[name]
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
    if name == result.shipped:
        made.append(_most("answers newly degenerate", result.effects.side.new_share, MOST_DEGENERATE))
    return made


def _most(name: str, value: float, most: float) -> Bar:
    return Bar(name=name, value=value, bar=f"≤ {most:g}", met=value <= most)
