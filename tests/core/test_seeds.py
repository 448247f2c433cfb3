"""Every seed that is asked for is one that whatever is drawn from it can take."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from rankone.decomposition.config import TrainingConfig
from rankone.edits.methods.lora import Lora
from rankone.experiments.real_model.config import RealModelConfig
from rankone.models.loading import load_model
from rankone.models.pretraining.config import PretrainConfig
from rankone.verbs.table import VERBS

ASKED: dict[str, type] = {name: verb.request for name, verb in VERBS.items()}
READ: dict[str, type] = {kind.__name__: kind for kind in (TrainingConfig, PretrainConfig, RealModelConfig)}
SEEDED = {name: kind for name, kind in {**ASKED, **READ}.items() if "seed" in kind.model_fields}
LARGEST = 2**31 - 1


@pytest.mark.parametrize("name", SEEDED)
def test_a_seed_is_neither_negative_nor_too_large(name):
    field = SEEDED[name].model_fields["seed"]
    seed = TypeAdapter(Annotated[field.annotation, *field.metadata])
    assert seed.validate_python(LARGEST) == LARGEST
    for wrong in (-1, LARGEST + 1):
        with pytest.raises(ValidationError, match=r"greater than or equal to 0|less than 2147483648"):
            seed.validate_python(wrong)


def test_what_is_made_from_the_largest_seed_can_be_drawn():
    start = Lora(load_model("mini"), ["h.3.mlp.down_proj"], rank=1, draw=3).start(1, [LARGEST])
    assert start["A:h.3.mlp.down_proj"].isfinite().all()
