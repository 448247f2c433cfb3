"""The fresh process that loads an export runs no code but that of the libraries."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.edits.exporting import mixed_ranks
from tests.helpers import gpt2, probe

from rankone.edits import consumer, consumption
from rankone.edits.export import export_adapter


def test_no_code_of_the_current_folder_runs(tmp_path, monkeypatch):
    for name in ("tokenizers", "peft", "torch", "transformers", "rankone", "safetensors"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w').write('x')\n", "utf8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    model = gpt2()
    result = export_adapter(model, mixed_ranks(model), tmp_path / "out", "someone/base", probe())
    assert result.engine == "peft"
    assert not (tmp_path / "ran").exists()


def test_the_consumer_cannot_import_rankone(tmp_path):
    instructions = tmp_path / "i.json"
    asked = {"kind": "checkpoint", "paths": [str(p) for p in sys.path if p], "blocked": ["rankone"]}
    script = (
        Path(consumer.__file__)
        .read_text("utf8")
        .replace(
            "    from safetensors.torch import load_file, save_file\n", "    import rankone.models.loading\n"
        )
    )
    (tmp_path / "consumer.py").write_text(script, "utf8")
    instructions.write_text(json.dumps(asked), "utf8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consumption, "_SCRIPT", tmp_path / "consumer.py")
        reason = consumption.run_consumer(instructions, tmp_path)
    assert reason == "ModuleNotFoundError: 'rankone' is not to be imported here"
