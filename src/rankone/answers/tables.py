"""Side effects as tables: shares by kind, and the answers that went wrong."""

from __future__ import annotations

from rankone.answers.sideeffects import SideEffects
from rankone.core.escaping import clipped
from rankone.render.columns import Column
from rankone.render.tables import Table

# Share of newly degenerate answers from which an edit is not fit for use.
BAR = 0.05
SHOWN = 90
# When a habit is counted, and the priority of that column.
_WHEN = (("before", 4), ("after", 5))


def shares_table(reply: SideEffects) -> Table:
    """One row per kind of prompt, then all side effects, then the prompts that ask for the target."""
    habit = reply.habit
    had = [] if habit is None else [Column(f"{habit.name} {when}", priority=p) for when, p in _WHEN]
    columns = [
        Column("prompts", key=True),
        Column("asked", priority=2),
        *had,
        Column("degenerate before", priority=3),
        Column("after", priority=3),
        Column("new", ".1%", priority=4, limit=BAR),
        Column("new, 95% from", ".1%"),
        Column("to", ".1%"),
        Column("word for word the same", priority=2),
    ]
    shares = reply.by_kind()
    rows = [
        (
            *(s.group, s.prompts, *((s.having_before, s.having_after) if had else ())),
            *(s.before, s.after, s.new_share, *s.new_interval, s.same),
        )
        for s in shares
    ]
    total = [i for i, s in enumerate(shares) if s.group == reply.side.group]
    form = "in the chat template" if reply.chat else "in plain text"
    caption = (
        f"Greedy answers of at most {reply.tokens} tokens, asked {form}. Degenerate: empty, in a loop, more than half of "
        "its 3-grams repeated, or in a language that the prompt does not ask for. New: so with the edit and not before."
    )
    if habit is not None:
        caption += f" {habit.name.capitalize()}: {habit.meaning}"
    title = f"Answers before and after the edit {clipped(reply.edit, SHOWN)}".rstrip()
    return Table.of(title, columns, rows, caption, strong=total)


def answers_table(reply: SideEffects, only_new: bool = True) -> Table:
    """The side effects that went wrong, or all answers: the prompt, what is wrong, the answers before and after."""
    effects = reply.newly_degenerate() if only_new else reply.effects
    columns = [
        Column("prompt", key=True),
        Column("fault", priority=3),
        Column("asked", priority=1),
        Column("before", priority=2),
        Column("after", priority=3),
    ]
    rows = [
        (
            e.prompt.name,
            ", ".join(e.after.signs.faults),
            *(clipped(text, SHOWN) for text in (e.asked, e.before.text, e.after.text)),
        )
        for e in effects
    ]
    return Table.of("Answers that the edit made degenerate" if only_new else "Answers", columns, rows)
