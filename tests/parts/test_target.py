"""Parts of another model are refused with the option that names theirs."""

from __future__ import annotations

import pytest
from tests.helpers import llama, simple_mlp

from rankone.core.errors import RankOneError
from rankone.parts.target import require_target, target_entry

SITE = "h.0.mlp.c_fc"


def weights(model):
    return target_entry(model, [SITE])["weights"]


def test_their_own_model_is_taken():
    require_target(simple_mlp(), "small", weights(simple_mlp()), "parts")


def test_another_is_refused_with_the_option_that_mends_it():
    for other, said in ((simple_mlp(seed=1), "other weights"), (llama(), "which this model lacks")):
        other.name_or_path = "mini"
        with pytest.raises(RankOneError, match=f"{said}.*called 'small', as --model DIR; this one is 'mini'"):
            require_target(other, "small", weights(simple_mlp()), "parts")
    with pytest.raises(RankOneError, match="Give the model it was made from, as --model DIR"):
        require_target(simple_mlp(seed=1), "", weights(simple_mlp()), "parts")
