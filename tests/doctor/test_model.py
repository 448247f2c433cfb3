"""What is said of a model: refusals in one line, the figures of openers, what is tied, fused or left out."""

from __future__ import annotations

import io

import torch
from rich.console import Console
from tests.helpers import gpt2, llama
from transformers import BertConfig, BertForMaskedLM

from rankone.doctor.model import CHECKS, check_model, judged
from rankone.runtime import progress
from rankone.text.openers import Opener


def saved(folder, model, tokenizer):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def fitting(model, tokenizer):
    model.resize_token_embeddings(len(tokenizer))
    return model


def found(name, corpus):
    return {f.check: f for f in check_model(name, corpus, tokens=20)}


def test_a_sound_model_has_nothing_wrong(tmp_path, tokenizer, corpus):
    findings = found(saved(tmp_path / "m", fitting(llama(), tokenizer), tokenizer), corpus)
    assert {f.status for f in findings.values()} <= {"ok", "note"}
    assert findings["tied weights"].status == "ok"
    assert "mean CE by opener" in findings["opener"].said


def test_the_progress_says_what_was_checked(tmp_path, tokenizer, corpus, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(progress, "aside", Console(file=out, width=150))
    findings = found(saved(tmp_path / "m", fitting(llama(), tokenizer), tokenizer), corpus)
    lines = out.getvalue().splitlines()
    counts, openers = lines[:CHECKS], lines[CHECKS:]
    for at, (line, check) in enumerate(zip(counts, list(findings)[:-1], strict=True), 1):
        assert line.startswith(f"checks: {at}/{CHECKS}  ")
        assert line.endswith(check)
    assert all(line.startswith("openers: ") for line in openers)
    assert openers[-1].endswith(f"{corpus.domains()[-1]} after nothing")


def test_tied_and_fused_weights_are_noted(tmp_path, tokenizer, corpus):
    findings = found(saved(tmp_path / "m", fitting(gpt2(), tokenizer), tokenizer), corpus)
    assert findings["tied weights"].status == "note"
    assert findings["fused"].said.startswith("2 sites hold query, key and value in one")


def test_what_does_not_load_is_one_line(tmp_path, tokenizer, corpus):
    model = llama()
    with torch.no_grad():
        model.lm_head.weight[0, 0] = float("nan")
    broken = found(saved(tmp_path / "nan", model, tokenizer), corpus)
    assert list(broken) == ["loads"]
    assert (broken["loads"].status, "lm_head.weight" in broken["loads"].said) == ("wrong", True)
    config = BertConfig(
        vocab_size=600,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        initializer_range=0.5,
    )
    torch.manual_seed(0)
    ahead = found(saved(tmp_path / "bert", BertForMaskedLM(config), tokenizer), corpus)
    assert "sees later tokens" in ahead["loads"].said
    assert ahead["loads"].mend == "Load a causal language model (a decoder)."


def test_a_tokenizer_that_does_not_fit_is_wrong(tmp_path, tokenizer, corpus):
    findings = found(saved(tmp_path / "m", llama(), tokenizer), corpus)
    assert findings["tokenizer"].status == "wrong"
    assert "opener" not in findings


def test_the_better_opener_is_named_where_another_is_used():
    used = Opener(1, "<bos>", "the tokenizer's BOS")
    assert judged(used, {"<bos>": 3.00, "<end>": 2.995, "": 3.2}).status == "ok"
    worse = judged(used, {"<bos>": 3.14, "<end>": 3.0, "": 3.2})
    assert worse.status == "note"
    assert "after <end>" in worse.mend
    assert "<bos> 3.140, <end> 3.000, nothing 3.200" in worse.said
