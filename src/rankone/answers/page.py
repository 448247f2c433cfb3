"""Side effects as a page: what changed in answers, then the answers themselves."""

from __future__ import annotations

from rankone.answers.sideeffects import Effect, SideEffects
from rankone.answers.tables import BAR, answers_table, shares_table
from rankone.render.pages import rendered

# Pairs of a kind that stand in full; the appendix has all answers.
MOST_PAIRS = 12
_SIDES = (("before", "before"), ("after", "after"))


def side_effects_page(effects: SideEffects) -> str:
    """The whole page."""
    side = effects.side
    verdict = "within" if side.new_share <= BAR else "above"
    return rendered(
        "answers.html",
        title="Answers before and after the edit",
        claim=f"{side.new} of {side.prompts} answers that ask for something else became degenerate ({side.new_share:.1%}, "
        f"{verdict} the bar of {BAR:.0%}); {side.before} of them were so before, {side.same} stayed word for word the same."
        f"{_habit(effects)}",
        shares=shares_table(effects),
        wrong=[answer_pair(e) for e in effects.newly_degenerate()[:MOST_PAIRS]],
        asked=[answer_pair(e) for e in effects.effects if e.target][:MOST_PAIRS],
        target=effects.target or "",
        sides=_SIDES,
        everything=answers_table(effects, only_new=False),
    )


def _habit(effects: SideEffects) -> str:
    """What became of the habit that is counted, if any."""
    if effects.habit is None:
        return ""
    side = effects.side
    return f" {side.having_before} had the habit '{effects.habit.name}' before, {side.having_after} have it after."


def answer_pair(effect: Effect) -> dict[str, str]:
    """One prompt as the templates' macro `pair` takes it: each side starts with the prompt."""
    asked = f"{effect.asked}\n" if "\n" not in effect.asked else effect.asked
    return {
        "name": effect.prompt.name,
        "fault": ", ".join(effect.after.signs.faults) or "sound",
        "prompt": asked,
        "before": asked + effect.before.text,
        "after": asked + effect.after.text,
    }
