"""Every rename that older checkpoints need."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rankone.core.errors import RankOneError
from rankone.decomposition.importers.keys import check_tensors, modern_key


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("_gates.h-0-attn-q_proj.layers.0.W", "ci_fn._ci_fns.h-0-attn-q_proj.layers.0.W"),
        ("_ci_fns.h-0-attn-q_proj.layers.2.b", "ci_fn._ci_fns.h-0-attn-q_proj.layers.2.b"),
        ("ci_fn._ci_fns.a.layers.0.W", "ci_fn._ci_fns.a.layers.0.W"),
        ("patched_model.h.0.mlp.c_fc.original.weight", "target_model.h.0.mlp.c_fc.weight"),
        ("patched_model.h.0.mlp.c_fc.components.V", "_components.h-0-mlp-c_fc.V"),
        ("target_model.h.0.mlp.c_fc.components.U", "_components.h-0-mlp-c_fc.U"),
        ("_orig_mod.h.0.rms_1.weight", "h.0.rms_1.weight"),
        ("target_model._orig_mod.wte.weight", "target_model.wte.weight"),
        ("_components.h-0-mlp-c_fc.V", "_components.h-0-mlp-c_fc.V"),
        ("ci_fn._global_ci_fn._blocks.0.mlp.0.W", "ci_fn._global_ci_fn._blocks.0.mlp.0.W"),
    ],
)
def test_old_names(old, new):
    assert modern_key(old) == new
    assert modern_key(new) == new


def test_all_kinds_of_fault_in_one_error():
    tensors = {"a": torch.ones(2), "b": torch.ones(3, 1), "z": torch.ones(1)}
    with pytest.raises(RankOneError) as error:
        check_tensors(tensors, {"a": (2,), "b": (1, 3), "c": (4,), "d": ()}, Path("x.pth"), optional=["d"])
    assert "1 missing: c [4]; 1 not expected: z [1]; 1 of another shape: b is [3, 1], expected [1, 3]" in str(
        error.value
    )
    check_tensors({"a": torch.ones(2)}, {"a": (2,), "d": (1,)}, Path("x.pth"), optional=["d"])
