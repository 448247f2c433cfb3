"""The job on a real model as a page: answers before and after first, then what was promised and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rankone.answers.page import answer_pair
from rankone.answers.sideeffects import Effect
from rankone.answers.tables import shares_table
from rankone.experiments.real_model.config import RealModelConfig
from rankone.experiments.real_model.results import SCALE, TRAINED, Language, bars
from rankone.experiments.real_model.stages import Seconds
from rankone.experiments.real_model.tables import bars_table, damage_table, seconds_table, sources_table
from rankone.render.pages import rendered
from rankone.render.values import formatted
from rankone.text.domains import domain_name

# Answers that stand in full: those that ask for the language, and of the others.
SHOWN = 3
SIDES = (("before", "before"), ("after", "after"))
KINDS = ("about", "instruction", "fact")


def page(
    results: Sequence[Language],
    config: RealModelConfig,
    precision: str,
    seconds: Mapping[str, Seconds],
) -> str:
    """The whole page."""
    names = " and ".join(domain_name(result.language) for result in results)
    kind = "a chat model" if all(result.effects.chat for result in results) else "a model"
    return rendered(
        "real_model.html",
        title=f"RankOne: removing {names} from {kind}",
        model=config.model if config.model.isidentifier() else "a model folder",
        precision=precision,
        languages=[_section(result, config) for result in results],
        sides=SIDES,
        seconds=seconds_table(seconds),
    )


def claim(result: Language, config: RealModelConfig) -> str:
    """What one number did, what training did to it, and which bars are missed, in a few sentences."""
    missed = [bar for bar in bars(result, config.tolerance) if not bar.met]
    alpha = formatted(result.alpha, "+.3g")
    said = (
        f"One number, α = {alpha} on {result.pick}, takes {domain_name(result.language)} to {_share(result, SCALE):.2f} of "
        "chance on held-out text. "
    )
    if result.shipped == TRAINED:
        said += (
            f"With both its directions trained, every domain held within its tolerance: {_share(result, TRAINED):.2f}; "
            "answers below are that edit's. "
        )
    if not missed:
        return said + "Every bar is met."
    return said + "Missed: " + "; ".join(f"{bar.name} {bar.value:.3f} ({bar.bar})" for bar in missed) + "."


def _share(result: Language, name: str) -> float:
    """The least share of chance that an edit brings the language to, of all held-out text."""
    held = result.held_out[name].damage.values()
    return min(d[result.language].edited / result.chance for d in held if result.language in d)


def _section(result: Language, config: RealModelConfig) -> dict[str, object]:
    effects = result.effects
    asked = [e for e in effects.effects if e.target][:SHOWN]
    others = [next((e for e in effects.effects if e.prompt.kind == k and not e.target), None) for k in KINDS]
    return {
        "name": domain_name(result.language),
        "id": result.language,
        "claim": claim(result, config),
        "asked": [answer_pair(e) for e in asked],
        "others": [answer_pair(e) for e in others if isinstance(e, Effect)],
        "wrong": [answer_pair(e) for e in effects.newly_degenerate()],
        "bars": bars_table(result, config.tolerance),
        "damage": damage_table(result),
        "sources": sources_table(result),
        "shares": shares_table(effects),
        "adapter": result.adapter,
        "engine": result.adapter_engine,
        "difference": result.adapter_difference,
    }
