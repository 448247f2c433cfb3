"""The context a model states, under the names the architectures give it."""

from __future__ import annotations

import pytest
from tests.helpers import gpt2, simple_mlp
from tests.models.families import FAMILIES

from rankone.core.errors import RankOneError
from rankone.models.context import context_length, require_context, usual_context


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_states_its_context(family):
    assert context_length(FAMILIES[family][0]()) == 64


def test_the_usual_context_is_capped_and_never_longer_than_the_models():
    model = simple_mlp()
    assert usual_context(model) == 64
    assert usual_context(model, 32) == 32
    model.config.max_position_embeddings = None
    assert context_length(model) is None
    assert usual_context(model) == 512
    require_context(model, 10_000)


def test_a_longer_sequence_is_refused():
    require_context(gpt2(), 64)
    with pytest.raises(
        RankOneError, match=r"context 65 is longer than the 64 positions GPT2LMHeadModel reads"
    ):
        require_context(gpt2(), 65)
