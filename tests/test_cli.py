"""The command line on a tiny model: every verb runs, and bad input is one clear line with nothing written."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
import yaml
from tests.tiny import RECIPE, rankone, write_pair

from rankone.core.artifact import open_artifact
from rankone.decomposition.evidence.records import evidence_of
from rankone.edits.lowrank import LowRankEdit
from rankone.models.loading import load_model

COMPONENTS = "h.0.mlp.c_fc:3,h.0.attn.v_proj:5"
SITES = ["attn.k_proj", "attn.o_proj", "attn.q_proj", "attn.v_proj", "mlp.c_fc", "mlp.down_proj"]


@pytest.fixture(scope="session")
def pair(tmp_path_factory, tokenizer):
    """Model directory and decomposition."""
    return write_pair(tmp_path_factory.mktemp("cli"), tokenizer, len(tokenizer))


@pytest.fixture(scope="session")
def mismatched(tmp_path_factory, tokenizer):
    """The same with a tokenizer of more entries than the model."""
    return write_pair(tmp_path_factory.mktemp("mismatched"), tokenizer, 300)


@pytest.fixture(scope="session")
def tuned(pair, tmp_path_factory):
    """An edit saved by `tune`, with what was printed."""
    model, decomposition = pair
    path = tmp_path_factory.mktemp("tuned") / "edit"
    words = [
        "--scale",
        COMPONENTS,
        "--forget",
        "de",
        "--retain",
        "en,fr",
        "--budget",
        6,
        "--steps",
        4,
        "--learning-rate",
        0.5,
    ]
    words += ["--save", path]
    return path, rankone("tune", model, "--decomposition", decomposition, *words)


def shown(outcome):
    """The printed text of a command that went well."""
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    return outcome.out


def cells(text, first):
    """The numbers and words of the table row that begins with `first`."""
    (row,) = [line for line in text.splitlines() if line.strip("│┃ ").startswith(first + " ")]
    return row.replace("│", " ").replace("┃", " ").split()


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


def test_rank_lists_the_most_specific(pair):
    words = [
        "--of",
        "de",
        "--domains",
        "de",
        "--domains",
        "en",
        "--domains",
        "fr",
        "--tokens",
        200,
        "--top",
        3,
    ]
    said = shown(rankone("rank", "--of", "de", pair[0], "--decomposition", pair[1], *words))
    assert "Most specific to de" in said
    rows = [re.findall(r"h\.0\.\S+:\d+|-?\d\.\d{3}", line) for line in said.splitlines() if "h.0." in line]
    assert len(rows) == 3
    scores = [float(row[1]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    for _, score, de, en, fr in rows:
        assert float(score) == pytest.approx(float(de) - max(float(en), float(fr)), abs=0.0016)


def test_tune_fits_and_saves_the_edit(pair, tuned):
    path, outcome = tuned
    said = shown(outcome)
    edit = LowRankEdit.from_pretrained(path)
    assert edit.sites == ("h.0.attn.v_proj", "h.0.mlp.c_fc")
    edit.check_base(load_model(pair[0]))
    provenance = open_artifact(path, "edit").provenance
    assert {k: provenance[k] for k in ("forget", "retain", "budget", "steps")} == {
        "forget": "de",
        "retain": ["en", "fr"],
        "budget": 6,
        "steps": 4,
    }
    alphas = [float(cells(said, name)[1]) for name in COMPONENTS.split(",")]
    assert all(alpha != 1 for alpha in alphas)
    assert all(f"{name} × " in edit.description for name in COMPONENTS.split(","))
    for domain in ("de", "en", "fr", "es", "it", "nl", "sv", "code"):
        role, before, after, rise = cells(said, domain)[1:5]
        assert role == {"de": "forget", "en": "retain", "fr": "retain"}.get(domain, "off-target")
        assert float(rise) == pytest.approx(float(after) - float(before), abs=0.0011)
    assert f"saved {path}" in said.replace("\n", "")


def test_the_seed_decides_the_forget_text(pair, tuned):
    words = [
        "--scale",
        COMPONENTS,
        "--forget",
        "de",
        "--retain",
        "en,fr",
        "--budget",
        6,
        "--steps",
        4,
        "--learning-rate",
        0.5,
    ]
    again, other = (
        shown(
            rankone(
                "tune",
                "--forget",
                "de",
                "--retain",
                "en",
                pair[0],
                "--decomposition",
                pair[1],
                *words,
                "--seed",
                seed,
            )
        )
        for seed in (0, 1)
    )
    first = shown(tuned[1])
    assert cells(again, "h.0.mlp.c_fc:3") == cells(first, "h.0.mlp.c_fc:3")
    assert cells(other, "h.0.mlp.c_fc:3") != cells(first, "h.0.mlp.c_fc:3")


@pytest.fixture(scope="session")
def exported(pair, tuned, tmp_path_factory):
    """A checkpoint exported from the tuned edit, with what was printed."""
    path = tmp_path_factory.mktemp("exported") / "model"
    return path, rankone("export", tuned[0], "--model", pair[0], "--out", path)


def test_export_writes_a_checkpoint(pair, tuned, exported):
    path, outcome = exported
    assert "reloaded in a fresh process" in " ".join(shown(outcome).split())
    artifact = open_artifact(path, "model")
    assert artifact.json("verification.json")["file_difference"] <= 1e-4
    base = load_model(pair[0])
    with LowRankEdit.from_pretrained(tuned[0]).applied(base):
        for name, value in load_model(path).named_parameters():
            assert torch.allclose(value, base.get_parameter(name), atol=1e-6), name


def test_export_writes_an_adapter(pair, tuned, tmp_path):
    said = shown(rankone("export", tuned[0], "--model", pair[0], "--out", tmp_path / "a", "--as", "adapter"))
    assert "peft" in said
    config = open_artifact(tmp_path / "a", "adapter").json("adapter_config.json")
    assert sorted(config["target_modules"]) == ["h.0.attn.v_proj", "h.0.mlp.c_fc"]


def test_generate_with_and_without_the_edit(pair, tuned, exported):
    words = ["The committee", "--tokens", 12]
    plain = shown(rankone("generate", *words, "--model", pair[0]))
    edited = shown(rankone("generate", *words, "--model", pair[0], "--edit", tuned[0]))
    merged = shown(rankone("generate", *words, "--model", exported[0]))
    assert plain.startswith("The committee")
    assert edited == merged
    assert plain == shown(rankone("generate", *words, "--model", pair[0]))


def test_evidence_is_measured_and_written(pair, tmp_path):
    out = tmp_path / "evidence.json"
    said = shown(rankone("evidence", pair[1], "--model", pair[0], "--steps", 2, "--out", out))
    found = json.loads(out.read_text("utf8"))
    assert found["adversary"]["ladder"] == [2]
    assert found["text"]["split"] == "test"
    assert [r["steps"] for r in found["rows"] if r["masking"] == "adversarial"] == [2] * 2
    assert "adversarial, 2 PGD steps" in said
    assert "Per layer" in said


def listing(folder):
    """Every file below a folder with its time of change."""
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


@pytest.fixture
def refused(tmp_path):
    """Run a command that must fail with one line that matches, and change nothing in `tmp_path`."""

    def check(message, *words):
        before = listing(tmp_path)
        outcome = rankone(*words)
        assert outcome.code == 2, outcome.out
        assert outcome.err.startswith("rankone: ")
        assert outcome.err.count("\n") == 1
        assert re.search(message, outcome.err), outcome.err
        assert listing(tmp_path) == before

    return check


def test_unknown_components_offer_the_nearest(pair, refused, tmp_path):
    for component, message in {
        "h.0.mlp.c_fc:99": r"unknown subcomponent 'h\.0\.mlp\.c_fc:99'.*Nearest: h\.0\.mlp\.c_fc:23",
        "h.0.mlp.cfc:3": r"unknown site in 'h\.0\.mlp\.cfc:3'.*Nearest: h\.0\.mlp\.c_fc",
        " , ": "scale: Field required",
    }.items():
        words = ["--decomposition", pair[1], "--scale", component, "--save", tmp_path / "edit"]
        refused(message, "tune", "--forget", "de", "--retain", "en", pair[0], *words)


def test_unknown_sites_offer_the_nearest(pair, refused):
    refused(
        r"no site matches 'h\.0\.mlp\.cfc' .*Nearest: h\.0\.mlp\.c_fc",
        "sites",
        pair[0],
        "--pattern",
        "h.0.mlp.cfc",
    )


@pytest.fixture
def recipe(tmp_path):
    """Write a decomposition recipe with changes."""

    def write(**changes):
        path = tmp_path / "recipe.yaml"
        path.write_text(
            yaml.safe_dump({**RECIPE, "compile": False, "rows": 2, "context": 16, **changes}), "utf8"
        )
        return path

    return write


def test_a_missing_model_is_named(pair, tuned, refused, recipe, tmp_path):
    none, out = tmp_path / "none", tmp_path / "out"
    message = "no model directory at '.*none'"
    refused(message, "sites", none)
    refused(message, "rank", "--of", "de", none, "--decomposition", pair[1])
    refused(
        message,
        "tune",
        "--forget",
        "de",
        "--retain",
        "en",
        none,
        "--decomposition",
        pair[1],
        "--scale",
        COMPONENTS,
        "--save",
        out,
    )
    refused(message, "generate", "Hello", "--model", none)
    refused(message, "evidence", pair[1], "--model", none, "--out", out)
    refused(message, "export", tuned[0], "--model", none, "--out", out)
    refused(message, "decompose", none, "--recipe", recipe(), "--text", "builtin", "--out", out)
    refused("no (decomposition|artefact) at '.*none'", "rank", "--of", "de", pair[0], "--decomposition", none)
    refused(
        "no (decomposition|artefact) at '.*none'", "generate", "Hello", "--model", pair[0], "--edit", none
    )
    refused("no recipe at '.*none", "decompose", pair[0], "--recipe", none, "--text", "builtin", "--out", out)


def test_an_existing_output_is_refused(pair, tuned, refused, recipe, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    message = "output '.*out' already exists"
    model, decomposition = pair
    refused(
        message,
        "tune",
        "--forget",
        "de",
        "--retain",
        "en",
        model,
        "--decomposition",
        decomposition,
        "--scale",
        COMPONENTS,
        "--save",
        out,
    )
    refused(message, "evidence", decomposition, "--model", model, "--out", out)
    refused(message, "export", tuned[0], "--model", model, "--out", out)
    refused(message, "export", tuned[0], "--model", model, "--out", out, "--as", "adapter")
    refused(message, "decompose", model, "--recipe", recipe(), "--text", "builtin", "--out", out)


def test_a_language_without_text_is_named(pair, refused, recipe, tmp_path):
    words = [pair[0], "--decomposition", pair[1]]
    message = "no text for 'dk' in corpus 'builtin'; it has de, en"
    refused(message, "rank", *words, "--of", "dk")
    refused(message, "rank", "--of", "de", *words, "--domains", "dk")
    refused(
        message,
        "tune",
        "--forget",
        "de",
        "--retain",
        "en",
        *words,
        "--scale",
        COMPONENTS,
        "--forget",
        "dk",
        "--save",
        tmp_path / "e",
    )
    refused(
        message,
        "tune",
        "--forget",
        "de",
        "--retain",
        "en",
        *words,
        "--scale",
        COMPONENTS,
        "--retain",
        "dk",
        "--save",
        tmp_path / "e",
    )
    unknown = recipe(mixture={"dk": {"weight": 1}})
    refused(message, "decompose", pair[0], "--recipe", unknown, "--text", "builtin", "--out", tmp_path / "d")


def test_too_little_text_says_how_much_is_needed(pair, refused, tmp_path):
    words = [
        "tune",
        "--forget",
        "de",
        "--retain",
        "en",
        pair[0],
        "--decomposition",
        pair[1],
        "--scale",
        COMPONENTS,
        "--save",
        tmp_path / "e",
    ]
    message = r"the training text of 'de' has \d+ tokens.*, but 10000000 are needed"
    refused(message, *words, "--budget", 10_000_000)
    refused("tune: budget: Input should be greater than 0", *words, "--budget", 0)


def test_a_vocabulary_mismatch_is_named(mismatched, refused, tmp_path):
    model, decomposition = mismatched
    message = "vocabulary mismatch: the tokenizer has 512 entries, the model 300"
    words = ["--decomposition", decomposition, "--scale", COMPONENTS, "--save", tmp_path / "e"]
    refused(message, "tune", "--forget", "de", "--retain", "en", model, *words)


def damage(source, copy, name):
    """A copy of an artefact with one byte of a file changed."""
    shutil.copytree(source, copy)
    content = bytearray((copy / name).read_bytes())
    content[-3] ^= 1
    (copy / name).write_bytes(content)
    return copy


def test_an_altered_artefact_is_refused(pair, tuned, exported, refused, tmp_path):
    message = r"was altered or truncated: .*Restore the artefact from its source"
    model, decomposition = pair
    bad = damage(decomposition, tmp_path / "decomposition", "tensors.safetensors")
    refused(message, "rank", "--of", "de", model, "--decomposition", bad)
    refused(
        message,
        "tune",
        "--forget",
        "de",
        "--retain",
        "en",
        model,
        "--decomposition",
        bad,
        "--scale",
        COMPONENTS,
        "--save",
        tmp_path / "e",
    )
    refused(message, "evidence", bad, "--model", model)
    bad = damage(tuned[0], tmp_path / "edit", "tensors.safetensors")
    refused(message, "generate", "Hello", "--model", model, "--edit", bad)
    refused(message, "export", bad, "--model", model, "--out", tmp_path / "o")
    bad = damage(exported[0], tmp_path / "model", "model.safetensors")
    refused(message, "generate", "Hello", "--model", bad)


def test_what_was_made_for_another_model_is_refused(pair, tuned, exported, refused, tmp_path):
    """The exported model has other weights than the one the decomposition and the edit were made from."""
    refused(
        "was made from other weights of 'h.0.", "rank", "--of", "de", exported[0], "--decomposition", pair[1]
    )
    refused(
        "the edit was made for another model", "generate", "Hello", "--model", exported[0], "--edit", tuned[0]
    )
    words = ["--model", exported[0], "--out", tmp_path / "o"]
    refused("the edit was made for another model", "export", tuned[0], *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--as", "zip"], "unknown as 'zip'; choose 'checkpoint', 'adapter' or 'stock'"),
        (["--dtype", "int8"], "unknown dtype 'int8'; choose 'float32' or 'bfloat16'"),
    ],
)
def test_unknown_choices_are_named(pair, tuned, refused, tmp_path, words, message):
    refused(message, "export", tuned[0], "--model", pair[0], "--out", tmp_path / "o", *words)


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
    refused("recipe.yaml: contxt: Extra inputs are not permitted", *words, "--preset", "tiny")


def test_nothing_to_compare_with_is_said(pair, refused):
    words = ["rank", "--of", "de", pair[0], "--decomposition", pair[1], "--tokens", 50, "--domains", "de"]
    refused("there is no domain but 'de': give another one to compare it with", *words)


def test_a_context_longer_than_the_models_is_said(pair, refused, recipe, tmp_path):
    words = ["--recipe", recipe(context=100_000), "--text", "builtin", "--out", tmp_path / "d"]
    refused("context 100000 is longer than the 64 positions", "decompose", pair[0], *words)


def test_text_that_cannot_be_opened_is_named(pair, refused, tmp_path):
    (tmp_path / "file.md").write_text("Hallo", "utf8")
    words = ["rank", "--of", "de", pair[0], "--decomposition", pair[1], "--text"]
    refused("is no text file", *words, tmp_path / "file.md")
    refused("is not there", *words, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    refused("holds no text", *words, tmp_path / "empty")


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
