"""The code that the card of an export holds is run as it stands there, by a process that imports nothing of RankOne.

The exports themselves are verified in this process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.edits.exporting import edited_logits, mixed_ranks
from tests.fresh import UNSEARCHED
from tests.helpers import llama, probe, tokenizer

import rankone
from rankone import open as open_session
from rankone.answers.answer import prompt_ids
from rankone.edits.card import loading
from rankone.edits.export import export_adapter, export_checkpoint
from rankone.edits.verification import Verification
from rankone.models.loading import load_model

pytestmark = pytest.mark.usefixtures("here")
PART = "h.3.mlp.down_proj:270"
RUN = """
import sys
from pathlib import Path
asked, answered = map(str, sys.argv[1:])
made = {}
exec(Path("README.md").read_text("utf8").split("```python")[1].split("```")[0], made)
from safetensors.torch import load_file, save_file
import torch
with torch.no_grad():
    logits = made["model"](load_file(asked)["ids"], use_cache=False).logits
assert logits.dtype == torch.float32
assert not [name for name in sys.modules if name.partition(".")[0] == "rankone"]
save_file({"logits": logits.contiguous(), "ids": made["ids"]}, answered)
"""


def by_the_card(folder: Path, ids: torch.Tensor, place: Path) -> tuple[torch.Tensor, list[int], str]:
    """Logits of the model that the card's code loads, the ids of its text, what it printed."""
    package = place / "site" / "rankone"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('the code of a card needs nothing of RankOne')\n")
    (package / "assets").symlink_to(Path(rankone.__file__).parent / "assets")
    save_file({"ids": ids}, place / "asked")
    said = {
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(place / "modules"),
        "PYTHONPATH": str(package.parent),
    }
    command = [sys.executable, "-P", "-c", UNSEARCHED + RUN, str(place / "asked"), str(place / "answered")]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **said}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answered = load_file(place / "answered")
    return answered["logits"], answered["ids"][0].tolist(), done.stdout


def test_the_adapter_of_the_built_in_model_is_loaded_by_its_card(tmp_path):
    session = open_session("mini")
    edit = session.scale({PART: -8.0})
    verified = edit.to_peft(tmp_path / "out")
    assert any("'mini' is built into RankOne and on no Hub" in warning for warning in verified.warnings)
    ids = torch.randint(0, 4096, (2, 16), generator=torch.Generator().manual_seed(0))
    logits, text, said = by_the_card(tmp_path / "out", ids, tmp_path)
    assert torch.allclose(logits, edited_logits(session.model, edit, ids), atol=1e-4)
    assert text == prompt_ids(session.bare, "The committee has")
    assert said.startswith("<|endoftext|>The committee has")
    card = (tmp_path / "out" / "README.md").read_text("utf8")
    assert "Rows of text start with `<|endoftext|>`" in card
    assert str(Path(rankone.__file__).parent) not in card  # no place of this machine


@pytest.mark.parametrize(("dtype", "stock"), [(torch.float32, True), (torch.bfloat16, False)])
def test_a_checkpoint_of_the_built_in_model_is_loaded_by_its_card(tmp_path, dtype, stock):
    session = open_session("mini")
    edit = session.scale({PART: -8.0})
    export_checkpoint(session.model, session.tokenizer, edit, tmp_path / "out", dtype, stock=stock)
    ids = torch.randint(0, 4096, (2, 16), generator=torch.Generator().manual_seed(0))
    logits, text, _ = by_the_card(tmp_path / "out", ids, tmp_path)
    expected = edited_logits(session.model, edit, ids)
    if dtype == torch.float32:
        assert torch.allclose(logits, expected, atol=1e-4)
    else:
        with torch.no_grad():
            assert torch.equal(logits, load_model(tmp_path / "out").float()(ids).logits)
    assert text == prompt_ids(session.bare, "The committee has")


def test_the_adapter_of_a_model_in_a_folder_is_loaded_by_its_card(tmp_path):
    llama().save_pretrained(tmp_path / "base")
    tokenizer().save_pretrained(tmp_path / "base")
    model = load_model(tmp_path / "base")
    edit = mixed_ranks(model)
    export_adapter(model, edit, tmp_path / "out", str(tmp_path / "base"), probe(), tokenizer=tokenizer())
    logits, text, _ = by_the_card(tmp_path / "out", probe(seed=5), tmp_path)
    assert torch.allclose(logits, edited_logits(model, edit, probe(seed=5)), atol=1e-4)
    words = tokenizer()
    assert text[1:] == words("The committee has", add_special_tokens=False)["input_ids"]


def test_what_stands_in_names_is_no_code():
    verified = Verification.model_construct(kind="adapter", remote_code=False)
    made = loading(verified, 'a"]; import os #', 'b"); import os #\n')
    compiled = compile(made, "card", "exec")
    assert "os" not in compiled.co_names
