"""Pretraining of a tiny model on the built-in corpus: resuming, refusals, and that every field of a recipe counts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.metrics.cross_entropy import cross_entropy
from rankone.models.loading import load_model, load_tokenizer
from rankone.models.pretraining import run as pretraining
from rankone.models.pretraining.config import Preset, PretrainConfig
from rankone.models.pretraining.run import VALIDATION_TOKENS, prepare_tokens, pretrain
from rankone.models.tokenizer import train_tokenizer
from rankone.runtime.tracking.recording import Tracking
from rankone.runtime.tracking.tracker import Sink
from rankone.text.blocks import chunk_documents, passage_blocks
from rankone.text.mixture import CHUNK_CHARS
from rankone.text.sources.builtin import BuiltinCorpus

SIZE = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "tokens": 3136,
    "batch_rows": 16,
    "learning_rate": 0.01,
}
RECIPE = {
    "vocab_size": 320,
    "context": 16,
    "mixture": {"en": {"weight": 2}, "de": {"weight": 1}},
    "presets": {"tiny": SIZE},
    "warmup_steps": 2,
    "checkpoint_every": 5,
}
STEPS = 12


def recipe(**changes):
    return PretrainConfig.model_validate({**RECIPE, **changes})


def sized(**changes):
    return recipe(presets={"tiny": {**SIZE, **changes}})


def checkpoint(run):
    """Step and tensors of the one checkpoint in a run directory."""
    (folder,) = (run / "checkpoints").glob("step-*")
    return int(folder.name.removeprefix("step-")), load_file(folder / "state.safetensors")


def assert_same_tensors(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, corpus):
    """Folder with an uninterrupted run and its model."""
    folder = tmp_path_factory.mktemp("pretraining")
    assert pretrain(recipe(), "tiny", corpus, folder / "run", folder / "model") == folder / "model"
    return folder


def test_the_model_has_the_recipes_sizes(trained):
    artifact = open_artifact(trained / "model", "model")
    assert artifact.provenance["recipe"] == recipe().model_dump()
    assert artifact.provenance["preset"] == "tiny"
    assert artifact.provenance["text"]["fingerprint"] == BuiltinCorpus().fingerprint()
    config = load_model(trained / "model").config
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    assert {name: getattr(config, name) for name in names} == {name: SIZE[name] for name in names}
    assert (config.vocab_size, config.max_position_embeddings) == (320, 16)
    assert len(load_tokenizer(trained / "model")) == 320
    tensors = load_file(trained / "model" / "model.safetensors").values()
    assert {t.dtype for t in tensors} == {torch.bfloat16}


def test_the_model_is_the_last_checkpoint_rounded(trained):
    step, state = checkpoint(trained / "run")
    assert step == STEPS
    for name, value in load_file(trained / "model" / "model.safetensors").items():
        assert torch.equal(value, state[f"model.{name}"].bfloat16()), name


def test_the_table_is_measured_on_test_text(trained, corpus):
    table = open_artifact(trained / "model", "model").json("pretraining.json")
    assert list(table) == ["en", "de"]
    model, tokenizer = load_model(trained / "model"), load_tokenizer(trained / "model")
    for domain, row in table.items():
        documents = chunk_documents(corpus.documents(domain, "test", VALIDATION_TOKENS * 8), CHUNK_CHARS)
        blocks = passage_blocks(tokenizer, documents, 16).take(VALIDATION_TOKENS)
        assert row["tokens"] == blocks.tokens > 1000
        assert row["ce"] == pytest.approx(cross_entropy(model, blocks), abs=1e-3)
        assert row["chance"] == pytest.approx(math.log(320))
        assert row["unigram"] < row["chance"]
        assert row["ce"] < row["chance"] - 0.1


def test_a_run_cut_off_ends_as_the_uninterrupted_one(trained, tmp_path, corpus, monkeypatch, caplog):
    caplog.set_level("INFO", "rankone")
    """Cut off in step 3, before any checkpoint, then in step 9 and in step 12: it goes on from those at 5 and 10."""
    run, out = tmp_path / "run", tmp_path / "model"
    loss, calls = pretraining.next_token_loss, []

    def cut_off(model, ids):
        calls.append(ids)
        if len(calls) in (3, 3 + 9, 3 + 9 + 7):
            raise KeyboardInterrupt
        return loss(model, ids)

    monkeypatch.setattr(pretraining, "next_token_loss", cut_off)
    for saved in (None, 5, 10):
        with pytest.raises(KeyboardInterrupt):
            pretrain(recipe(), "tiny", corpus, run, out)
        assert saved is None or checkpoint(run)[0] == saved
        assert not out.exists()
    monkeypatch.undo()
    assert pretrain(recipe(), "tiny", corpus, run, out) == out
    assert "resuming at step 5" in caplog.text
    assert "resuming at step 10" in caplog.text
    assert_same_tensors(checkpoint(run)[1], checkpoint(trained / "run")[1])
    assert_same_tensors(*(load_file(f / "model" / "model.safetensors") for f in (tmp_path, trained)))
    steps = [line.split(",")[0] for line in (run / "metrics.jsonl").read_text("utf8").splitlines()]
    assert len(steps) == len(set(steps))


def test_a_finished_run_writes_its_model_again(trained, tmp_path, corpus):
    assert pretrain(recipe(), "tiny", corpus, trained / "run", tmp_path / "again") == tmp_path / "again"
    assert_same_tensors(
        *(load_file(f / "model.safetensors") for f in (tmp_path / "again", trained / "model"))
    )


def test_trackers_are_told_what_the_file_is_told_and_of_the_test_figures(tmp_path, corpus, monkeypatch):
    """The same numbers at the same steps, the recipe, and at the end the cross-entropies; the weights are no others."""
    told = []

    class Kept:
        def __init__(self, tracked):
            told.append(("open", tracked.name, tracked.config["seed"], tracked.start))

        def log(self, step, values):
            told.append((step, dict(values)))

        def summary(self, values):
            told.append(dict(values))

        def close(self, failed):
            told.append(("close", failed))

    known = {"kept": Sink("kept", "json", "none", Kept)}
    monkeypatch.setattr("rankone.runtime.tracking.recording.sinks", lambda: known)
    monkeypatch.setattr("rankone.runtime.tracking.registry.sinks", lambda: known)
    run, out = tmp_path / "run", tmp_path / "model"
    pretrain(recipe(), "tiny", corpus, run, out, tracking=Tracking(trackers=("kept",), name="mine"))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf8").splitlines()]
    assert [row["step"] for row in rows] == [0, STEPS - 1]
    steps = [(row.pop("step"), row) for row in rows]
    table = open_artifact(out, "model").json("pretraining.json")
    ends = {f"test CE {domain}": row["ce"] for domain, row in table.items()}
    assert told == [("open", "mine", 0, 0), *steps, ends, ("close", False)]


def test_an_unknown_tracker_is_refused_before_any_text_is_read(tmp_path, corpus):
    with pytest.raises(RankOneError, match="no tracker is called 'nowhere'"):
        pretrain(
            recipe(),
            "tiny",
            corpus,
            tmp_path / "run",
            tmp_path / "model",
            tracking=Tracking(trackers=("nowhere",)),
        )
    assert not list(tmp_path.iterdir())


def test_another_recipe_cannot_go_on_with_a_run(trained, tmp_path, corpus):
    with pytest.raises(RankOneError, match="was started with another recipe or text"):
        pretrain(recipe(seed=1), "tiny", corpus, trained / "run", tmp_path / "model")


def test_a_loss_that_is_not_finite_spares_the_last_checkpoint(tmp_path, corpus, monkeypatch):
    loss, calls = pretraining.next_token_loss, []

    def diverges(model, ids):
        calls.append(ids)
        return loss(model, ids) * (math.nan if len(calls) > 7 else 1.0)

    monkeypatch.setattr(pretraining, "next_token_loss", diverges)
    with pytest.raises(RankOneError, match=r"the loss is nan at step 9: lower learning_rate"):
        pretrain(recipe(), "tiny", corpus, tmp_path / "run", tmp_path / "model")
    step, tensors = checkpoint(tmp_path / "run")
    assert step == 5
    assert all(t.isfinite().all() for t in tensors.values())


class Untested(BuiltinCorpus):
    """The built-in corpus without German test text."""

    def documents(self, domain, split, limit_chars=None):
        none = (domain, split) == ("de", "test")
        return [] if none else super().documents(domain, split, limit_chars)


def test_what_cannot_be_trained_is_refused_before_anything_is_written(tmp_path, trained, corpus):
    def refused(config, message, preset="tiny", text=corpus):
        with pytest.raises(RankOneError, match=message):
            pretrain(config, preset, text, tmp_path / "run", tmp_path / "model")
        assert not list(tmp_path.iterdir())

    known = str(trained / "model")
    refused(recipe(), "unknown preset 'huge'; the recipe has tiny", preset="huge")
    refused(
        recipe(without=["de"]), r"without \['de'\] needs the tokenizer of the full model: set tokenizer_from"
    )
    refused(recipe(without=["dee"], tokenizer_from=known), "cannot leave out 'dee'")
    refused(recipe(without=["de", "en"], tokenizer_from=known), r"the mixture has no domain \(left\)")
    refused(recipe(tokenizer_from=str(tmp_path / "none")), "no model directory at '.*none'")
    refused(
        recipe(vocab_size=300, tokenizer_from=known),
        "vocabulary mismatch: .* has 320 entries, vocab_size is 300",
    )
    refused(recipe(mixture={"en": {"weight": 1}, "nl_": {"weight": 1}}), r"no text for 'nl_' .*Nearest: nl")
    refused(recipe(), "has no test text for 'de'", text=Untested())


def test_an_existing_output_is_refused(tmp_path, corpus):
    (tmp_path / "model").mkdir()
    with pytest.raises(RankOneError, match=r"output '.*model' already exists"):
        pretrain(recipe(), "tiny", corpus, tmp_path / "run", tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_too_little_text_for_one_batch_is_said(tmp_path, corpus):
    with pytest.raises(RankOneError, match=r"\d+ rows of text are fewer than one batch of 1000"):
        pretrain(sized(batch_rows=1000), "tiny", corpus, tmp_path / "run", tmp_path / "model")


@pytest.mark.parametrize(("vocab", "dtype"), [(1 << 16, np.uint16), ((1 << 16) + 1, np.int32)])
def test_large_vocabularies_fit_the_stored_rows(tmp_path, trained, corpus, vocab, dtype):
    config = recipe(vocab_size=vocab, tokenizer_from=str(trained / "model"))
    assert prepare_tokens(config, config.presets["tiny"], corpus, tmp_path, "")[1].dtype == dtype


def outcome(config, folder, corpus, monkeypatch):
    """What the training of a run leaves: its last tensors, and the steps at which it saved."""
    saved = []
    save = pretraining.save_checkpoint
    monkeypatch.setattr(
        pretraining,
        "save_checkpoint",
        lambda run, state, key: (saved.append(state.step), save(run, state, key)),
    )
    monkeypatch.setattr(pretraining, "_finish", lambda *_: {})
    pretrain(config, "tiny", corpus, folder, folder / "model")
    monkeypatch.undo()
    return saved, checkpoint(folder)[1]


@pytest.fixture(scope="module")
def plain(tmp_path_factory, corpus):
    with pytest.MonkeyPatch.context() as patch:
        return outcome(recipe(), tmp_path_factory.mktemp("plain"), corpus, patch)


def differs(first, second):
    shapes = [{k: v.shape for k, v in tensors.items()} for _, tensors in (first, second)]
    if first[0] != second[0] or shapes[0] != shapes[1]:
        return True
    return any(not torch.equal(value, second[1][name]) for name, value in first[1].items())


def test_the_same_recipe_gives_the_same_run(plain, tmp_path, corpus, monkeypatch):
    assert not differs(plain, outcome(recipe(), tmp_path, corpus, monkeypatch))


FIELDS = {
    "vocab_size": 330,
    "context": 15,
    "mixture": {"en": {"weight": 1}, "de": {"weight": 1}},
    "presets": {"tiny": {**SIZE, "hidden_size": 24}},
    "tokenizer_chars": 3000,
    "warmup_steps": 4,
    "final_lr_fraction": 0.5,
    "weight_decay": 0.5,
    "clip": 0.01,
    "seed": 1,
    "checkpoint_every": 3,
    "tokenizer_from": "another",
    "without": ["de"],
}


@pytest.fixture(scope="module")
def another(tmp_path_factory, trained):
    """A model directory whose tokenizer has 320 entries learnt from French."""
    folder = tmp_path_factory.mktemp("another")
    text = BuiltinCorpus().documents("fr", "train")
    train_tokenizer(text, 320, 16).save_pretrained(folder)
    (folder / "config.json").write_text((trained / "model" / "config.json").read_text("utf8"), "utf8")
    return str(folder)


@pytest.mark.parametrize("field", list(PretrainConfig.model_fields))
def test_every_field_changes_the_run(field, plain, another, trained, tmp_path, corpus, monkeypatch):
    assert field in FIELDS, f"say in FIELDS how '{field}' changes a run"
    base = plain
    changes = {field: another if field == "tokenizer_from" else FIELDS[field]}
    if field == "without":  # needs a tokenizer, so it is compared with a run that has that one too
        changes["tokenizer_from"] = str(trained / "model")
        full = recipe(tokenizer_from=changes["tokenizer_from"])
        base = outcome(full, tmp_path / "full", corpus, monkeypatch)
    assert differs(base, outcome(recipe(**changes), tmp_path / "run", corpus, monkeypatch))


SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "tokens": 4000,
    "batch_rows": 8,
    "learning_rate": 0.02,
}


@pytest.mark.parametrize("field", list(Preset.model_fields))
def test_every_size_changes_the_run(field, plain, tmp_path, corpus, monkeypatch):
    assert field in SIZES, f"say in SIZES how '{field}' changes a run"
    assert differs(plain, outcome(sized(**{field: SIZES[field]}), tmp_path, corpus, monkeypatch))
