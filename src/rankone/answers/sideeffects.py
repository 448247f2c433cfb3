"""What an edit does to a model's answers that no table per domain shows: the side-effect set, before and after."""

from __future__ import annotations

from collections.abc import Sequence

from rankone.answers.answer import answers, in_template
from rankone.answers.collecting import read_collected
from rankone.answers.degeneration import Signs, signs
from rankone.answers.habits import Habit
from rankone.answers.prompts import KINDS, Prompt, prompts_for
from rankone.answers.requests import Answer, Share, SideEffectRequest
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.edits.lowrank import LowRankEdit
from rankone.metrics.wilson import wilson_interval
from rankone.runtime.progress import SHORT, meter
from rankone.workspace import Workspace


class Judged(Config):
    """One answer and what was measured of it. has: the habit that is counted, None where none is."""

    text: str
    tokens: int
    signs: Signs
    has: bool | None = None


class Effect(Config):
    """One prompt and its answers. target: the prompt asks for what was edited."""

    prompt: Prompt
    asked: str
    target: bool
    before: Judged
    after: Judged

    @property
    def degenerated(self) -> bool:
        """Sound before the edit, degenerate after it."""
        return self.after.signs.degenerate and not self.before.signs.degenerate


class SideEffects(Config):
    """Answers before and after an edit; effects in the order of the prompts. habit: that is counted in them, if any."""

    target: str | None
    chat: bool
    tokens: int
    edit: str
    effects: tuple[Effect, ...]
    habit: Habit | None = None

    @property
    def side(self) -> Share:
        """Over all prompts that do not ask for the target: the figure an edit is judged by."""
        whole = "all side effects" if self.habit is None else "all prompts"
        return share(whole, [e for e in self.effects if not e.target])

    def by_kind(self) -> list[Share]:
        """A share per kind and, of other languages, per language; then the prompts that ask for the target."""
        groups: dict[str, list[Effect]] = {}
        for effect in self.effects:
            groups.setdefault(_group(effect, self.habit), []).append(effect)
        wanted = groups.pop("target", [])
        shares = [share(name, effects) for name, effects in groups.items()]
        return [*shares, self.side, *([share(f"asks for {self.target}", wanted)] if wanted else [])]

    def newly_degenerate(self) -> list[Effect]:
        """The side effects that went wrong, in the order of the prompts."""
        return [e for e in self.effects if e.degenerated and not e.target]


def side_effects(
    workspace: Workspace,
    edit: LowRankEdit,
    request: SideEffectRequest,
    known: dict[str, Answer] | None = None,
) -> SideEffects:
    """Greedy answers of a model without and with an edit, and which of them degenerate (answers/degeneration.py).

    known: what the unedited model answered to earlier calls with as many tokens, by what was asked; new answers are put in.
    The model is put back bit for bit. Raises RankOneError for an edit of another model, and for `chat` without a template.
    """
    chat = in_template(workspace, request.chat)
    habit, chosen = _asked(request)
    asked = [p.chat if chat else p.plain for p in chosen]
    first = {} if known is None else known
    new = [text for text in dict.fromkeys(asked) if text not in first]
    with meter("answers", len(new) + len(asked), after=SHORT) as bar:
        if new:
            first.update(zip(new, answers(workspace, new, request.tokens, chat, bar=bar), strict=True))
        with edit.applied(workspace.model):
            after = answers(workspace, asked, request.tokens, chat, bar=bar)
    effects = [
        Effect(
            prompt=prompt,
            asked=text,
            target=prompt.asks_for(request.target),
            before=reply(prompt, first[text], habit),
            after=reply(prompt, changed, habit),
        )
        for prompt, text, changed in zip(chosen, asked, after, strict=True)
    ]
    return SideEffects(
        target=request.target,
        chat=chat,
        tokens=request.tokens,
        edit=edit.description,
        effects=tuple(effects),
        habit=habit,
    )


def _asked(request: SideEffectRequest) -> tuple[Habit | None, list[Prompt]]:
    """The set that ships, or prompts that were collected with their habit."""
    if request.prompts is None:
        if request.split is not None:
            raise RankOneError(
                "a split is of collected prompts, and none are given: add --prompts, or leave it out."
            )
        return None, prompts_for(request.target, request.kinds or KINDS)
    if request.kinds:
        raise RankOneError(
            "kinds are of the set that ships, and other prompts are given: leave out one of the two."
        )
    habit, texts = read_collected(request.prompts, request.split or "test")
    plain = {"kind": "collected", "language": None, "about": None, "uses": ()}
    named = enumerate(texts, 1)
    return habit, [
        Prompt.checked({**plain, "name": f"prompt-{i}", "chat": t, "plain": t}, "prompts") for i, t in named
    ]


def reply(prompt: Prompt, said: Answer, habit: Habit | None = None) -> Judged:
    """An answer with its signs; languages that a prompt may be answered in are no fault."""
    expected = [] if prompt.language is None else [prompt.language, *prompt.uses]
    faults = signs(said.text, expected, code=prompt.kind == "code")
    has = None if habit is None else habit.of(said.text) is True
    return Judged(text=said.text, tokens=said.tokens, signs=faults, has=has)


def share(group: str, effects: Sequence[Effect]) -> Share:
    """Counts over some effects."""
    new = sum(e.degenerated for e in effects)
    return Share(
        group=group,
        prompts=len(effects),
        before=sum(e.before.signs.degenerate for e in effects),
        after=sum(e.after.signs.degenerate for e in effects),
        new=new,
        same=sum(e.before.text == e.after.text for e in effects),
        new_interval=wilson_interval(new / len(effects) if effects else 0.0, len(effects)),
        having_before=_having([e.before for e in effects]),
        having_after=_having([e.after for e in effects]),
    )


def _having(answers: Sequence[Judged]) -> int | None:
    """How many have the habit; None where none is counted."""
    has = [answer.has for answer in answers if answer.has is not None]
    return sum(has) if has else None


def _group(effect: Effect, habit: Habit | None) -> str:
    if effect.target:
        return "target"
    if habit is not None:
        return f"with {habit.name} before" if effect.before.has else f"without {habit.name} before"
    prompt = effect.prompt
    return f"{prompt.kind} {prompt.language if prompt.kind == 'language' else prompt.about or ''}".strip()
