"""generate prints what a model says without letting it move the cursor."""

from __future__ import annotations

import pytest
from tests.tiny import rankone, write_pair

from rankone.answers import answer


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer):
    return write_pair(tmp_path_factory.mktemp("editing"), tokenizer, len(tokenizer))[0]


def test_a_prompt_is_continued(model):
    done = rankone("generate", "Die", "--model", model, "--tokens", 3)
    assert done.code == 0, done.err
    assert done.out.startswith("Die")


def test_what_a_model_says_is_inert(model, monkeypatch):
    said = answer.Answer(prompt="Die", chat=False, text=" [b]\x1b[2J\u202ex\nend", tokens=3, finish="length")
    monkeypatch.setattr(answer, "answer", lambda *_: said)
    done = rankone("generate", "Die", "--model", model)
    assert done.out == "Die [b]\\x1b[2J\\u{202e}x\nend\n"
