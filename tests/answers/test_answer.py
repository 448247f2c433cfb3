"""Answers: the chat template on demand, an end at once is said, bad prompts are named."""

from __future__ import annotations

import pytest
from tests.answers.world import silent, workspace

from rankone.answers.answer import AnswerRequest, answer, answers, prompt_ids
from rankone.core.errors import RankOneError
from rankone.models.greedy import greedy
from rankone.text.chats import Turn, rendered


def test_a_plain_prompt_comes_after_the_opener():
    space = workspace()
    ids = prompt_ids(space, "the cat")
    assert ids[0] == space.tokenizer.bos_token_id
    assert space.tokenizer.decode(ids[1:]) == "the cat"


def test_chat_puts_the_template_around_the_prompt():
    space = workspace()
    ids = prompt_ids(space, "the cat", chat=True)
    assert space.tokenizer.decode(ids) == rendered(space.tokenizer, [Turn("user", "the cat")], answering=True)
    said = answer(space, AnswerRequest(prompt="the cat", tokens=5, chat=True))
    (made,) = greedy(space.model, [ids], 5, {0})
    assert said.text == space.tokenizer.decode(made, skip_special_tokens=True)
    assert (said.tokens, said.chat) == (len(made), True)


def test_a_system_message_comes_first():
    space = workspace()
    plain = answer(space, AnswerRequest(prompt="the cat", chat=True, tokens=8))
    told = answer(space, AnswerRequest(prompt="the cat", chat=True, tokens=8, system="the dog"))
    assert told.text != plain.text


def test_an_end_at_once_is_said_and_the_template_offered():
    found = answer(silent(workspace()), AnswerRequest(prompt="What is the capital of France?"))
    assert (found.text, found.tokens, found.finish) == ("", 1, "end")
    assert (
        found.note == "the model ended at once: it is a chat model, and answers in its chat template (--chat)"
    )
    asked = answer(silent(workspace()), AnswerRequest(prompt="the cat", chat=True))
    assert asked.note == "the model ended at once"
    plain = answer(silent(workspace(chat=False)), AnswerRequest(prompt="the cat"))
    assert plain.note == "the model ended at once"


def test_an_answer_cut_at_the_limit_says_so():
    found = answer(workspace(), AnswerRequest(prompt="the cat sat on", tokens=3))
    assert (found.tokens, found.finish, found.note) == (3, "length", "")


def test_several_prompts_keep_their_order():
    space, prompts = workspace(), ["the cat sat", "a", "the dog on the log and the cat"]
    together = answers(space, prompts, 6)
    assert together == [answer(space, AnswerRequest(prompt=p, tokens=6)) for p in prompts]


@pytest.mark.parametrize(
    ("chat", "given", "complaint"),
    [
        (False, {"chat": True}, "has no chat template"),
        (True, {"system": "be brief"}, "a system message is part of a chat"),
        (True, {"prompt": "a \udcff"}, r"the prompt is not text: half of a surrogate pair"),
        (True, {"tokens": 0}, "tokens: must be greater than 0"),
        (True, {"prompt": "cat " * 3000}, "longer than the 2048 positions"),
    ],
)
def test_bad_input_is_named(chat, given, complaint):
    with pytest.raises(RankOneError, match=complaint):
        answer(workspace(chat), AnswerRequest.checked({"prompt": "the cat", **given}, "answer"))
