"""What a model answers: greedy, to a plain text or to a message in its chat template."""

from __future__ import annotations

from collections.abc import Sequence

from rankone.answers.requests import Answer, AnswerRequest
from rankone.core.errors import RankOneError
from rankone.core.escaping import half_pair
from rankone.models.greedy import end_ids, greedy
from rankone.runtime.progress import Meter
from rankone.text.blocks import encode
from rankone.text.chats import Turn, chat_prompt
from rankone.text.openers import opener_id
from rankone.workspace import Workspace


def answer(workspace: Workspace, request: AnswerRequest) -> Answer:
    """Answer one prompt by an exact argmax over the model's logits (models/greedy.py).

    Raises RankOneError for a prompt that is not text or does not fit the context, and for `chat` with a model that has no
    template.
    """
    turns = [Turn("system", request.system)] if request.system is not None else []
    (only,) = answers(workspace, [request.prompt], request.tokens, request.chat, turns)
    return only


def in_template(workspace: Workspace, chat: bool | None) -> bool:
    """Whether to ask in the chat template: as said, else where the tokenizer has one."""
    return bool(workspace.tokenizer.chat_template) if chat is None else chat


def answers(
    workspace: Workspace,
    prompts: Sequence[str],
    tokens: int = 40,
    chat: bool = False,
    before: Sequence[Turn] = (),
    bar: Meter | None = None,
) -> list[Answer]:
    """Answer several prompts together, each a step of `bar`; in a chat each of them comes after the turns `before`."""
    rows = [prompt_ids(workspace, prompt, chat, before) for prompt in prompts]
    ends = end_ids(workspace.model, workspace.tokenizer)
    made = greedy(workspace.model, rows, tokens, ends, bar)
    return [_answer(workspace, p, ids, ends, chat) for p, ids in zip(prompts, made, strict=True)]


def prompt_ids(
    workspace: Workspace, prompt: str, chat: bool = False, before: Sequence[Turn] = ()
) -> list[int]:
    """What the model reads: the opener and the prompt, or the chat template up to where the assistant speaks."""
    if problem := half_pair(prompt):
        raise RankOneError(f"the prompt is not text: {problem}. Give it in UTF-8.")
    tokenizer = workspace.tokenizer
    if chat:
        return chat_prompt(tokenizer, [*before, Turn("user", prompt)])
    first = opener_id(tokenizer, workspace.opener)
    (said,) = encode(tokenizer, [prompt])
    return said if first is None else [first, *said]


def _answer(workspace: Workspace, prompt: str, ids: list[int], ends: frozenset[int], chat: bool) -> Answer:
    ended = ids[-1] in ends
    text = str(workspace.tokenizer.decode(ids, skip_special_tokens=True))
    note = ""
    if ended and not text.strip():
        note = "the model ended at once"
        if not chat and workspace.tokenizer.chat_template:
            note += ": it is a chat model, and answers in its chat template (--chat)"
    finish = "end" if ended else "length"
    return Answer(prompt=prompt, chat=chat, text=text, tokens=len(ids), finish=finish, note=note)
