"""A whole run of two processes ends with the artefact of one; what is wrong is said once, and stops both."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from unittest.mock import patch

import numpy as np
import pytest
from tests.decomposition.tiny import recipe, target
from tests.helpers import VOCAB, laddered
from tests.helpers import tokenizer as small_tokenizer
from tests.processes import Failed, together

from rankone.core.artifact import open_artifact
from rankone.decomposition import run as module
from rankone.decomposition.model import load_decomposition
from rankone.decomposition.run import decompose
from rankone.runtime.progress import report
from rankone.subject import Subject
from rankone.text.sources.directory import DirectoryCorpus


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "en").mkdir()
    lines = [f"the cat sat on the mat and the dog on the log {i} times over" for i in range(150)]
    (folder / "en" / "words.txt").write_text("\n\n".join(lines), "utf8")
    return folder


def decomposed(ranks, text, out, machine, rows=4, stop_after=None):
    """A run from text to artefact; what this process printed."""
    printed = io.StringIO()
    report()
    quick = laddered(module.account_on, (1,))
    config = recipe(rows=rows, steps=3, importance={"kind": "shared_mlp", "hidden": [4]}, machine=machine)
    subject = Subject(target(vocab_size=VOCAB), small_tokenizer(), DirectoryCorpus(text))
    with patch.object(module, "account_on", quick), redirect_stderr(printed):
        run = out.with_suffix(".run")
        decompose(config, subject, run, out, stop_after, storage="float32")
    return printed.getvalue()


def test_the_artefact_is_that_of_one_process(tmp_path, text):
    together(1, decomposed, text, tmp_path / "one", {})
    expected = open_artifact(tmp_path / "one", "decomposition")
    for name, machine in (("ddp", {}), ("fsdp", {"sharding": "fsdp", "activation_checkpointing": True})):
        # Begun in one layout, ended in another.
        together(1, decomposed, text, tmp_path / name, {"accumulation": 2}, 4, 1)
        first, second = together(2, decomposed, text, tmp_path / name, machine)
        assert "resuming at step 1" in first
        assert "decompose: 3/3" in first
        assert second == ""
        found = open_artifact(tmp_path / name, "decomposition")
        assert sorted(found.manifest.files) == sorted(expected.manifest.files)
        assert found.json() == expected.json()
        ours, theirs = found.tensors(), expected.tensors()
        assert {k: (v.shape, v.dtype) for k, v in ours.items()} == {
            k: (v.shape, v.dtype) for k, v in theirs.items()
        }
        for key, value in theirs.items():
            assert (np.abs((ours[key] - value).numpy()) > 1e-3).mean() < 0.02, key
        load_decomposition(tmp_path / name, target(vocab_size=VOCAB))


def test_rows_that_do_not_split_are_refused_before_anything_is_written(tmp_path, text):
    with pytest.raises(Failed, match=r"3 rows do not split into 2 processes × 1 parts .*multiple of 2"):
        together(2, decomposed, text, tmp_path / "out", {}, 3)
    assert not (tmp_path / "out").exists()


def test_sharding_needs_processes(tmp_path, text):
    with pytest.raises(Failed, match=r"machine\.sharding is fsdp.*there is one\. Start with torchrun"):
        together(1, decomposed, text, tmp_path / "out", {"sharding": "fsdp"})
