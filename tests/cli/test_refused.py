"""What cannot be done is one clear line, and nothing is written."""

from __future__ import annotations

import shutil

import pytest
from tests.cli.commands import tuning


def test_unknown_components_offer_the_nearest(pair, refused, tmp_path):
    for component, message in {
        "h.0.mlp.c_fc:99": r"unknown subcomponent 'h\.0\.mlp\.c_fc:99'.*Nearest: h\.0\.mlp\.c_fc:23",
        "h.0.mlp.cfc:3": r"unknown site in 'h\.0\.mlp\.cfc:3'.*Nearest: h\.0\.mlp\.c_fc",
        " , ": "scale is given and empty",
    }.items():
        refused(message, *tuning(pair, "--out", tmp_path / "edit", scale=component))


def test_unknown_sites_offer_the_nearest(pair, refused):
    refused(
        r"no site matches 'h\.0\.mlp\.cfc'.*Nearest: h\.0\.mlp\.c_fc",
        "sites",
        pair[0],
        "--pattern",
        "h.0.mlp.cfc",
    )


def test_a_missing_model_is_named(pair, tuned, refused, recipe, tmp_path):
    none, out = tmp_path / "none", tmp_path / "out"
    message = "no model directory at '.*none'"
    refused(message, "sites", none)
    refused(message, "rank", "--of", "de", none, "--decomposition", pair[1])
    refused(message, *tuning((none, pair[1]), "--out", out))
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
    refused(message, *tuning(pair, "--out", out))
    refused(message, "evidence", decomposition, "--model", model, "--out", out)
    refused(message, "export", tuned[0], "--model", model, "--out", out)
    refused(message, "export", tuned[0], "--model", model, "--out", out, "--as", "adapter")
    refused(message, "decompose", model, "--recipe", recipe(), "--text", "builtin", "--out", out)


def test_a_language_without_text_is_named(pair, refused, recipe, tmp_path):
    words = [pair[0], "--decomposition", pair[1]]
    message = "no text for 'dk' in corpus 'builtin'; it has de, en"
    refused(message, "rank", *words, "--of", "dk")
    refused(message, "rank", "--of", "de", *words, "--domains", "dk")
    refused(message, *tuning(pair, "--forget", "dk", "--out", tmp_path / "e"))
    refused(message, *tuning(pair, "--retain", "dk", "--out", tmp_path / "e"))
    unknown = recipe(mixture={"dk": {"weight": 1}})
    refused(message, "decompose", pair[0], "--recipe", unknown, "--text", "builtin", "--out", tmp_path / "d")


def test_too_little_text_says_how_much_is_needed(pair, refused, tmp_path):
    words = tuning(pair, "--out", tmp_path / "e")
    message = r"the training text of 'de' has \d+ tokens.*, but 10000000 are needed"
    refused(message, *words, "--budget", 10_000_000)
    refused("tune: budget: must be greater than 0", *words, "--budget", 0)


def test_a_vocabulary_mismatch_is_named(mismatched, refused, tmp_path):
    message = "vocabulary mismatch: the tokenizer has 512 entries, the model 300"
    refused(message, *tuning(mismatched, "--out", tmp_path / "e"))


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
    refused(message, *tuning((model, bad), "--out", tmp_path / "e"))
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


def test_nothing_to_compare_with_is_said(pair, refused):
    words = ["rank", "--of", "de", pair[0], "--decomposition", pair[1], "--tokens", 50, "--domains", "de"]
    refused("there is no domain but 'de': give another one to compare it with", *words)


def test_text_that_cannot_be_opened_is_named(pair, refused, tmp_path):
    (tmp_path / "file.md").write_text("Hallo", "utf8")
    words = ["rank", "--of", "de", pair[0], "--decomposition", pair[1], "--text"]
    refused("is not a text file", *words, tmp_path / "file.md")
    refused("is not there", *words, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    refused("holds no text", *words, tmp_path / "empty")
