"""A model's own answers, sorted by whether they have a habit: text to find and turn the parts of it on.

The prompts of a topic are in one split, so that no topic that parts were found on is measured on.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rankone.answers.answer import answers, in_template
from rankone.answers.asking import Asked, prompts_to_ask
from rankone.answers.habits import Habit, habit_of
from rankone.answers.requests import Answer, CollectedShare, CollectReply, CollectRequest
from rankone.core.artifact import new_artifact, open_artifact
from rankone.core.errors import RankOneError
from rankone.core.files import write_json, write_text
from rankone.metrics.wilson import wilson_interval
from rankone.runtime.progress import meter
from rankone.text.corpus import SPLITS, Split
from rankone.workspace import Workspace

KIND = "answers"
HABIT, ANSWERS = "habit.json", "answers"
# Prompts answered together.
AT_ONCE = 32


class Kept(NamedTuple):
    """A prompt, its answer, and whether that has the habit."""

    asked: Asked
    answer: Answer
    has: bool | None


def collect(workspace: Workspace, request: CollectRequest, model: str = "") -> CollectReply:
    """Ask the prompts, sort the answers, and save those that clearly have the habit or have it not as text.

    Raises RankOneError where a split would have no answer of one kind: nothing could be found or measured on it.
    """
    habit, asked = habit_of(request.habit), prompts_to_ask(request.prompts)
    chat = in_template(workspace, request.chat)
    kept: list[Kept] = []
    with meter("answers", len(asked)) as bar:
        for start in range(0, len(asked), AT_ONCE):
            some = asked[start : start + AT_ONCE]
            said = answers(workspace, [one.prompt for one in some], request.tokens, chat)
            kept += [Kept(one, answer, habit.of(answer.text)) for one, answer in zip(some, said, strict=True)]
            bar.advance(len(some))
    shares = tuple(_share(split, kept) for split in SPLITS)
    _require_both(habit, shares, kept)
    provenance = {"request": request.model_dump(mode="json"), "model": model}
    with new_artifact(request.out, KIND, provenance) as folder:
        write_answers(folder, habit, kept, chat)
    return CollectReply(out=request.out, habit=habit, shares=shares)


def read_collected(path: Path, split: Split = "test") -> tuple[Habit, list[str]]:
    """The habit of saved answers, and the prompts of a split, in a fixed order."""
    artifact = open_artifact(path, KIND)
    habit = Habit.checked(artifact.json(HABIT), HABIT)
    prompts = []
    for name in (habit.name, habit.without):
        rows = (artifact.path / name / f"{ANSWERS}.{split}.jsonl").read_text("utf8").splitlines()
        prompts += [_prompt(json.loads(row)) for row in rows]
    return habit, prompts


def _prompt(row: dict[str, list[dict[str, str]] | str]) -> str:
    turns = row.get("messages")
    return str(row["prompt"]) if turns is None else str(turns[0]["content"])  # pyright: ignore[reportArgumentType]


def _share(split: Split, kept: Sequence[Kept]) -> CollectedShare:
    has = [one.has for one in kept if one.asked.split == split]
    count = len(has)
    share = has.count(True) / count if count else 0.0
    return CollectedShare(
        split=split,
        prompts=count,
        having=has.count(True),
        without=has.count(False),
        neither=has.count(None),
        interval=wilson_interval(share, count),
    )


def _require_both(habit: Habit, shares: Sequence[CollectedShare], kept: Sequence[Kept]) -> None:
    for share in shares:
        if share.having and share.without:
            continue
        lacking = "none has" if not share.having else "all have"
        texts = [one.answer.text for one in kept if one.asked.split == share.split]
        first = f" The first: {textwrap.shorten(texts[0], 60, placeholder='…')!r}." if texts else ""
        raise RankOneError(
            f"of {share.prompts} answers to {share.split} prompts {lacking} the habit '{habit.name}': parts of it are "
            f"found between answers with and without.{first} Give other prompts (--prompts), or another pattern."
        )


def write_answers(folder: Path, habit: Habit, kept: Sequence[Kept], chat: bool) -> None:
    """A folder per kind of answer with a file per split, as any text (docs/text.md), and the habit."""
    write_json(folder / HABIT, habit.model_dump(mode="json"))
    for name, has in ((habit.name, True), (habit.without, False)):
        (folder / name).mkdir()
        for split in SPLITS:
            rows = [_row(one, chat) for one in kept if one.has is has and one.asked.split == split]
            write_text(folder / name / f"{ANSWERS}.{split}.jsonl", "".join(f"{row}\n" for row in rows))


def _row(one: Kept, chat: bool) -> str:
    """A conversation; of a model that has no chats the prompt with what follows it."""
    prompt, text = one.asked.prompt, one.answer.text
    if not chat:
        return json.dumps({"prompt": prompt, "text": prompt + text}, ensure_ascii=False)
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
    return json.dumps({"messages": turns}, ensure_ascii=False)
