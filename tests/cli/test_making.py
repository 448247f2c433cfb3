"""Sites, decompositions, imports and pretraining from the command line."""

from __future__ import annotations

import pytest
import yaml
from tests.cli.commands import SITES, cells, shown
from tests.tiny import rankone

from rankone.core.artifact import open_artifact
from rankone.decomposition.evidence.records import evidence_of


def test_sites_are_listed(pair):
    said = shown(rankone("sites", pair[0]))
    assert "6 sites" in " ".join(said.split())
    assert [name for name in SITES if f"h.0.{name}" in said] == SITES
    assert cells(said, "h.0.mlp.c_fc") == ["h.0.mlp.c_fc", "24", "16", "24", "960", "Linear"]
    some = shown(rankone("sites", pair[0], "--pattern", "*.mlp.*"))
    assert [name for name in SITES if f"h.0.{name}" in some] == ["mlp.c_fc", "mlp.down_proj"]


def test_sites_are_listed_without_weights_and_with_what_is_left_out(tmp_path):
    from tests.models.families import FAMILIES

    for family in ("phi3", "mixtral"):
        FAMILIES[family][0]().config.save_pretrained(tmp_path / family)
    fused = shown(rankone("sites", tmp_path / "phi3"))
    assert "query, key and value in one" in fused
    assert cells(fused, "model.layers.0.mlp.gate_up_proj")[:6] == [
        "model.layers.0.mlp.gate_up_proj",
        *("80", "24", "80", "8,320", "Linear"),
    ]
    assert "Left out" not in fused
    experts = shown(rankone("sites", tmp_path / "mixtral"))
    assert "Left out" in experts
    assert cells(experts, "model.layers.*.mlp.experts.down_proj")[1:4] == ["3", "4", "experts"]


def test_the_estimate_alone_reads_no_weights_and_writes_nothing(pair, refused, recipe, tmp_path):
    path = recipe(sites=["h.0.mlp.*"])
    said = shown(
        rankone(
            "decompose", pair[0], "--recipe", path, "--text", "builtin", "--out", tmp_path / "o", "--estimate"
        )
    )
    assert "2 sites, 48 subcomponents" in said
    assert "Estimate: work per step" in said
    assert not (tmp_path / "o").exists()
    again = shown(rankone("sites", pair[0], "--recipe", path))
    assert "2 sites, 48 subcomponents" in again
    assert "6 sites, 112 subcomponents" in shown(rankone("sites", pair[0], "--estimate"))
    message = "context 65 is longer than the 64 positions"
    refused(message, "sites", pair[0], "--recipe", recipe(context=65))


def test_a_run_stopped_early_leaves_a_checkpoint_to_go_on_from(pair, recipe, tmp_path):
    words = ["decompose", pair[0], "--recipe", recipe(steps=3, context=16, rows=2), "--text", "builtin"]
    said = shown(rankone(*words, "--out", tmp_path / "o", "--stop-after", 2))
    assert "goes on from there" in said
    assert not (tmp_path / "o").exists()
    assert [p.name for p in (tmp_path / "o.run" / "checkpoints").iterdir()] == ["step-0000002"]


@pytest.mark.parametrize(("evidence", "steps"), [("none", []), ("small", [10, 20])])
def test_how_much_evidence_is_measured(pair, recipe, tmp_path, evidence, steps):
    words = ["decompose", pair[0], "--recipe", recipe(steps=2, context=16, rows=2), "--text", "builtin"]
    said = shown(rankone(*words, "--out", tmp_path / "o", "--evidence", evidence))
    made = open_artifact(tmp_path / "o", "decomposition")
    if not steps:
        assert f"was not measured: rankone evidence {tmp_path / 'o'}" in said.replace("\n", "")
        assert "evidence.json" not in made
        return
    rows = [row for row in evidence_of(made).rows if row.masking == "adversarial"]
    assert sorted({row.steps for row in rows}) == steps


def test_pretrain_names_what_is_wrong(pair, refused, tmp_path):
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    size |= {"tokens": 3000, "batch_rows": 4, "learning_rate": 0.01}
    path = tmp_path / "recipe.yaml"
    values = {"vocab_size": 300, "mixture": {"en": {"weight": 1}}, "presets": {"tiny": size}}
    path.write_text(yaml.safe_dump(values), "utf8")
    words = ["pretrain", path, "--text", "builtin", "--out", tmp_path / "o"]
    refused("unknown preset 'mini'; the recipe has tiny", *words)
    refused("cannot leave out 'dk': the mixture has en", *words, "--preset", "tiny", "--without", "dk")
    mismatch = "vocabulary mismatch: the tokenizer of '.*' has 512 entries, vocab_size is 300"
    refused(mismatch, *words, "--preset", "tiny", "--tokenizer-from", pair[0])
    refused("no model directory at", *words, "--preset", "tiny", "--tokenizer-from", tmp_path / "none")
    path.write_text(yaml.safe_dump({**values, "contxt": 32}), "utf8")
    refused("recipe.yaml: unknown key contxt", *words, "--preset", "tiny")


def test_a_context_longer_than_the_models_is_said(pair, refused, recipe, tmp_path):
    words = ["--recipe", recipe(context=100_000), "--text", "builtin", "--out", tmp_path / "d"]
    refused("context 100000 is longer than the 64 positions", "decompose", pair[0], *words)


def test_import_writes_a_pair_that_other_commands_read(tokenizer, tmp_path):
    from tests.decomposition import published as pub

    config = {**pub.MODEL_CONFIG, "vocab_size": len(tokenizer), "n_ctx": 64, "block_size": 64}
    folder = pub.write_run(tmp_path / "run", pub.decomposition_state(config), config=config)
    tokenizer.backend_tokenizer.save(str(folder / "target" / "tokenizer.json"))
    out = tmp_path / "out"
    said = shown(rankone("import", folder, "--out", out))
    assert cells(said, "h.1.mlp.c_fc")[:2] == ["h.1.mlp.c_fc", "15"]
    assert "100 subcomponents" in said
    said = shown(rankone("evidence", out / "decomposition", "--model", out / "model", "--steps", 1))
    assert "kept 100" in said


def test_import_names_what_is_wrong(refused, tmp_path):
    from tests.decomposition import published as pub

    folder = pub.write_target(tmp_path / "target")
    refused("unknown storage 'fp8'", "import", folder, "--out", tmp_path / "out", "--storage", "fp8")
    refused("no published run at", "import", tmp_path / "no" / "where", "--out", tmp_path / "out")
    (tmp_path / "out").mkdir()
    refused("already exists", "import", folder, "--out", tmp_path / "out")
