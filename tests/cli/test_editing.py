"""generate prints what a model says without letting it move the cursor."""

from __future__ import annotations

import pytest
from tests.tiny import rankone, write_pair

from rankone.experiments import measure


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer):
    return write_pair(tmp_path_factory.mktemp("editing"), tokenizer, len(tokenizer))[0]


def test_a_prompt_is_continued(model):
    done = rankone("generate", "Die", "--model", model, "--tokens", 3)
    assert done.code == 0, done.err
    assert done.out.startswith("Die")


def test_what_a_model_says_is_inert(model, monkeypatch):
    monkeypatch.setattr(measure, "rollout", lambda *_: " [b]\x1b[2J\u202ex\nend")
    done = rankone("generate", "Die", "--model", model)
    assert done.out == "Die [b]\\x1b[2J\\u{202e}x\nend\n"
