"""An edit as hooks gives the logits of the edit as weights: in PyTorch, and in TransformerLens and nnsight themselves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.helpers import VOCAB, gpt2, llama, simple_mlp

from rankone.core.errors import RankOneError
from rankone.edits.lowrank import LowRankEdit
from rankone.integrations.hooks import additions, forward_hooks, hooked
from rankone.models.sites import find_sites

ROOT = Path(__file__).resolve().parents[2]
FENCES = re.compile(r"^```py\n(.*?)^```", re.MULTILINE | re.DOTALL).findall(
    (ROOT / "docs/hooks.md").read_text("utf8")
)
IDS = torch.randint(VOCAB, (2, 7), generator=torch.Generator().manual_seed(3))


def an_edit(model):
    """Rank two at every other site."""
    draw = torch.Generator().manual_seed(1)
    factors = {
        site.name: (
            torch.randn(site.d_out, 2, generator=draw),
            0.1 * torch.randn(2, site.d_in, generator=draw),
        )
        for site in find_sites(model)[::2]
    }
    return LowRankEdit(factors)


@pytest.mark.parametrize("build", [simple_mlp, gpt2, llama])
def test_hooks_are_the_weights(build):
    model = build()
    edit, before = an_edit(model), {k: v.clone() for k, v in model.state_dict().items()}
    with torch.no_grad():
        base = model(IDS).logits
        with edit.applied(model):
            weights = model(IDS).logits
        with hooked(model, edit):
            hooks = model(IDS).logits
        assert torch.equal(model(IDS).logits, base)  # the hooks are gone
    assert (weights - base).abs().max() > 0.1
    torch.testing.assert_close(hooks, weights, atol=2e-4, rtol=1e-4)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_term_by_hand():
    """write = (1, 2), read = (3, 0): x = (2, 5) gives 6 · (1, 2), in x's dtype."""
    edit = LowRankEdit({"a": (torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 0.0]]))})
    (add,) = additions(edit).values()
    given = add(torch.tensor([[2.0, 5.0]], dtype=torch.bfloat16))
    assert given.tolist() == [[6.0, 12.0]]
    assert given.dtype == torch.bfloat16
    hook = forward_hooks(edit)["a"]
    assert hook(torch.nn.Identity(), (torch.tensor([2.0, 5.0]),), torch.ones(2)).tolist() == [7.0, 13.0]


def test_a_missing_site_is_refused_and_no_hook_stays():
    model = simple_mlp()
    edit = an_edit(model).compose(LowRankEdit({"h.9.mlp.c_fc": (torch.ones(40, 1), torch.ones(1, 24))}))
    with pytest.raises(RankOneError, match=r"h\.9\.mlp\.c_fc"), hooked(model, edit):
        pass
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.slow
@pytest.mark.parametrize("code", FENCES, ids=["transformer_lens", "nnsight"])
def test_the_page_runs_with_the_real_package(code, tmp_path):
    pytest.importorskip("transformer_lens" if "transformer_lens" in code else "nnsight")
    (tmp_path / "page.py").write_text(code, "utf8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_page_has_both():
    assert [("transformer_lens" in code, "nnsight" in code) for code in FENCES] == [
        (True, False),
        (False, True),
    ]
