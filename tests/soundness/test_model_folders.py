"""Model folders with something wrong in them, of the kinds of cases 6, 7, 19, 20 and 31: refused by name, never measured."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.helpers import llama, tokenizer

from rankone.core.errors import RankOneError
from rankone.models.loading import load_model, load_tokenizer
from rankone.models.soundness import require_fitting

WEIGHTS, CONFIG = "model.safetensors", "config.json"
UP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "model"
    llama().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def config(**changes):
    """The folder's configuration with other values; None takes a key away."""

    def change(folder):
        values = json.loads((folder / CONFIG).read_text("utf8"))
        values.update(changes)
        values.pop("layer_types", None)
        kept = {k: v for k, v in values.items() if v is not None or k not in changes}
        (folder / CONFIG).write_text(json.dumps(kept), "utf8")

    return change


def weights(change):
    """The folder's tensors, changed."""

    def work(folder):
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / WEIGHTS, {"format": "pt"})

    return work


def other(name, value):
    return weights(lambda tensors: tensors.__setitem__(name, value(tensors[name])))


def written(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def split(change):
    """Two shards with an index, changed."""

    def work(folder):
        tensors = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        names = sorted(tensors)
        parts = {"a.safetensors": names[:9], "b.safetensors": names[9:]}
        for file, held in parts.items():
            save_file({name: tensors[name] for name in held}, folder / file, {"format": "pt"})
        where = {name: file for file, held in parts.items() for name in held}
        change(folder, where)
        index = {"metadata": {"total_size": 1}, "weight_map": where}
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index), "utf8")

    return work


def again(folder):
    """A tensor of the first shard in the second too, with other values."""
    first, second = (load_file(folder / f"{name}.safetensors") for name in "ab")
    second["lm_head.weight"] = 9 * first["lm_head.weight"]
    save_file(second, folder / "b.safetensors", {"format": "pt"})


def moved(folder, where):
    (folder / "b.safetensors").rename(folder.parent / "b.safetensors")
    where.update({name: "../b.safetensors" for name, file in where.items() if file == "b.safetensors"})


def doubled(file, key, value):
    """A JSON file with a key twice."""

    def change(folder):
        path = folder / file
        values = json.loads(path.read_text("utf8")) if path.exists() else {}
        values.setdefault(key, 1)
        rest = json.dumps(values)[1:]
        path.write_text(f'{{"{key}": {value}, {rest}', "utf8")

    return change


SOUND = {
    "as it is": lambda folder: None,
    "another library's manifest": written("manifest.json", b'{"name": "something else"}'),
    "in two shards": split(lambda folder, where: None),
    "a table that models compute": weights(
        lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(3)})
    ),
}
REFUSED = {
    # index and shards of different minds
    "an index that leaves one out": (
        split(lambda folder, where: where.pop(UP)),
        f"names no shard for '{UP}', which lies in 'b.safetensors'",
    ),
    "an index to the wrong shard": (
        split(lambda folder, where: where.update({UP: "a.safetensors"})),
        f"names 'a.safetensors' for '{UP}', which lies in 'b.safetensors'",
    ),
    "a tensor in two shards": (
        split(lambda folder, where: again(folder)),
        "leaves open which 'lm_head.weight' counts, in 'a.safetensors' or 'b.safetensors'",
    ),
    "an index to a tensor that is nowhere": (
        split(lambda folder, where: where.update({"none": "a.safetensors"})),
        "names 'a.safetensors' for 'none', which lies in no shard",
    ),
    "an index that leads out": (
        split(lambda folder, where: moved(folder, where)),
        "leads out of the folder, to '../b.safetensors'",
    ),
    "no shard": (
        split(lambda folder, where: (folder / "b.safetensors").unlink()),
        "names the shard 'b.safetensors', which is not there",
    ),
    # which of two values counts depends on the reader
    "a key twice in its config": (
        doubled("config.json", "num_hidden_layers", 3),
        "config.json' the key 'num_hidden_layers' stands there twice",
    ),
    "a key twice in how it generates": (
        doubled("generation_config.json", "eos_token_id", 3),
        "generation_config.json' the key 'eos_token_id' stands there twice",
    ),
    "an unembedding of its own, and tied": (
        config(tie_word_embeddings=True),
        "differs from its embedding, but its config.json says tie_word_embeddings",
    ),
    # what the configuration says is not what the weights are
    "more layers than weights": (config(num_hidden_layers=3), "missing keys model.layers.2"),
    "fewer layers than weights": (config(num_hidden_layers=1), "no place for: model.layers.1"),
    "another width": (config(hidden_size=32), "mismatched keys .*by config.json"),
    "another MLP width": (config(intermediate_size=48), "mismatched keys .*mlp"),
    "another vocabulary": (config(vocab_size=320), "mismatched keys"),
    "more key heads": (config(num_key_value_heads=4), "mismatched keys .*k_proj"),
    "biases that are not there": (config(attention_bias=True), "missing keys .*bias"),
    "heads that do not divide": (config(num_attention_heads=5), "cannot load the model"),
    "a width of nothing": (config(hidden_size=0), "cannot load the model|mismatched"),
    "a negative vocabulary": (config(vocab_size=-1), "cannot load the model"),
    "layers as a word": (config(num_hidden_layers="two"), "cannot load the model"),
    "a vocabulary of 10^15": (config(vocab_size=10**15), "cannot load the model|mismatched"),
    "no such type": (config(model_type="no-such-thing", architectures=None), "cannot load the model"),
    "no type": (config(model_type=None), "cannot load the model"),
    "another family": (
        config(model_type="gpt2", architectures=["GPT2LMHeadModel"]),
        "missing keys|no place for",
    ),
    "code of its own": (
        config(model_type="own", auto_map={"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}),
        "cannot load the model.*(custom code|trust_remote_code|own)",
    ),
    "quantised by its config": (
        config(quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True}),
        r"is quantised \(bitsandbytes\)",
    ),
    "quantised by fp8": (config(quantization_config={"quant_method": "fp8"}), r"is quantised \(fp8\)"),
    "quantised by torchao": (
        config(quantization_config={"quant_method": "torchao", "quant_type": "int8_weight_only"}),
        r"is quantised \(torchao\)",
    ),
    # the weights themselves
    "NaN in a norm": (
        other("model.norm.weight", lambda w: w * float("nan")),
        "'model.norm.weight' of .* holds NaN",
    ),
    "infinity in the head": (
        other("lm_head.weight", lambda w: w.index_fill(0, torch.tensor(3), float("inf"))),
        "'lm_head.weight' of .* holds NaN or infinity",
    ),
    "a weight of whole numbers": (
        other(UP, lambda w: (w * 100).to(torch.int8)),
        f"'{UP}' in .* is not a matrix of real numbers but I8: the model is quantised",
    ),
    "a weight of eight bits": (
        other(UP, lambda w: w.to(torch.float8_e4m3fn)),
        "numbers but F8_E4M3: the model is quant",
    ),
    "a weight transposed": (
        other(UP, lambda w: w.T),
        r"up_proj.weight \(\[24, 40\] in the file, \[40, 24\] by config",
    ),
    "a weight removed": (weights(lambda t: t.pop(UP)), "missing keys .*up_proj"),
    "a weight renamed": (weights(lambda t: t.update({f"{UP}_": t.pop(UP)})), "missing keys|no place for"),
    "a stranger's weight": (
        weights(lambda t: t.update({"extra.weight": torch.ones(2)})),
        "no place for: extra.weight",
    ),
    "scales of a quantisation": (
        weights(lambda t: t.update({UP.replace("weight", "weight_scale"): torch.ones(1)})),
        "no place for: .*weight_scale",
    ),
    "a weight of rank three": (other(UP, lambda w: w[None]), "mismatched keys .*up_proj"),
    "an empty weight": (other(UP, lambda w: w[:0]), "mismatched keys .*up_proj"),
    "weights cut": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-100]),
        "cannot load the model",
    ),
    "weights of zero bytes": (written(WEIGHTS, b""), "cannot load the model"),
    "weights of garbage": (written(WEIGHTS, b"\xff" * 999), "cannot load the model"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "cannot load the model"),
    # files beside them
    "an adapter beside": (written("adapter_config.json", b"{}"), "holds an adapter beside the model"),
    "a configuration cut": (written(CONFIG, b'{"model_type": "lla'), "cannot load the model"),
    "a configuration of a list": (written(CONFIG, b"[1]"), "cannot load the model"),
    "a configuration too deep": (written(CONFIG, b"[" * 9000), "cannot load the model"),
    "a configuration of bytes": (written(CONFIG, b"\xff\xfe\x00"), "cannot load the model"),
}


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


@pytest.mark.parametrize("case", SOUND)
def test_sound_folders_load_to_the_same_logits(case, folder):
    SOUND[case](folder)
    ids = torch.arange(1, 9)[None]
    with torch.no_grad():
        assert torch.equal(load_model(folder)(ids).logits, llama()(ids).logits)


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_folders_are_refused_by_name(case, folder):
    change, said = REFUSED[case]
    change(folder)
    with pytest.raises(RankOneError, match=said) as refused:
        load_model(folder)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


TOKENIZERS = {
    "cut": (b'{"version"', "cannot load the tokenizer"),
    "empty": (b"", "cannot load the tokenizer"),
    "no tokenizer": (b"{}", "cannot load the tokenizer"),
    "a list": (b"[]", "cannot load the tokenizer"),
    "too deep": (b"[" * 9000, "cannot load the tokenizer"),
}


@pytest.mark.parametrize("case", TOKENIZERS)
def test_wrong_tokenizers_are_refused_by_name(case, folder):
    content, said = TOKENIZERS[case]
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(RankOneError, match=said):
        load_tokenizer(folder)


def test_tokens_added_past_the_embedding_are_refused(folder):
    words = load_tokenizer(folder)
    words.add_tokens([f"<{i}>" for i in range(300)])
    words.save_pretrained(folder)
    with pytest.raises(RankOneError, match=r"vocabulary mismatch.*<299>"):
        require_fitting(load_tokenizer(folder), load_model(folder))
