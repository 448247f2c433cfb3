"""The built-in architecture against a plain re-implementation in float64, and as a Hugging Face model."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest
import torch
from tests.fresh import UNSEARCHED
from tests.helpers import probe, simple_mlp, snapshot, tokenizer
from transformers import AutoModelForCausalLM

from rankone.core.errors import RankOneError
from rankone.models.loading import load_model, load_tokenizer, model_hash
from rankone.models.simple_mlp import SimpleMLPForCausalLM


def plain_logits(weights: dict[str, torch.Tensor], config, ids: torch.Tensor) -> torch.Tensor:
    """The architecture written out position by position and head by head, in float64, without torch.nn."""
    w = {name: value.double() for name, value in weights.items()}
    length, heads = len(ids), config.num_attention_heads
    dim = config.hidden_size // heads

    def norm(x, name):
        return x / (x.pow(2).mean(-1, keepdim=True) + config.rms_norm_eps).sqrt() * w[name]

    def turned(vector, position):
        """Pair (j, j + dim/2) is turned by position · theta^(−2j/dim)."""
        out = vector.clone()
        for j in range(dim // 2):
            angle = position * config.rope_theta ** (-2 * j / dim)
            a, b = vector[j], vector[j + dim // 2]
            out[j] = a * math.cos(angle) - b * math.sin(angle)
            out[j + dim // 2] = a * math.sin(angle) + b * math.cos(angle)
        return out

    x = w["wte.weight"][ids]
    for i in range(config.num_hidden_layers):
        y = norm(x, f"h.{i}.rms_1.weight")
        q, k, v = (y @ w[f"h.{i}.attn.{p}_proj.weight"].T for p in "qkv")
        mixed = torch.zeros_like(x)
        for head in range(heads):
            part = slice(head * dim, (head + 1) * dim)
            for t in range(length):
                query = turned(q[t, part], t)
                scores = torch.stack([query @ turned(k[s, part], s) for s in range(t + 1)]) / math.sqrt(dim)
                weight = scores.exp() / scores.exp().sum()
                mixed[t, part] = weight @ v[: t + 1, part]
        x = x + mixed @ w[f"h.{i}.attn.o_proj.weight"].T
        z = norm(x, f"h.{i}.rms_2.weight") @ w[f"h.{i}.mlp.c_fc.weight"].T
        z = 0.5 * z * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
        x = x + z @ w[f"h.{i}.mlp.down_proj.weight"].T
    return norm(x, "ln_f.weight") @ w["wte.weight"].T


def test_forward_equals_plain_float64():
    model = simple_mlp()
    with torch.no_grad():
        for parameter in model.parameters():  # norm weights other than 1, so that each one matters
            if parameter.ndim == 1:
                parameter.copy_(torch.rand(parameter.shape) + 0.5)
    ids = probe(1, 10)
    expected = plain_logits(snapshot(model), model.config, ids[0])
    actual = model(ids).logits[0].double()
    assert expected.std() > 0.1
    assert torch.allclose(actual, expected, atol=2e-5, rtol=0)


def test_loss_is_mean_next_token_cross_entropy():
    model, ids = simple_mlp(), probe(2, 8)
    output = model(ids, labels=ids)
    log_p = output.logits.log_softmax(-1)
    by_hand = -torch.stack([log_p[b, t, ids[b, t + 1]] for b in range(2) for t in range(7)]).mean()
    assert torch.allclose(output.loss, by_hand, atol=1e-5)


def test_greedy_generation_is_the_same_with_and_without_cache():
    model, ids = simple_mlp(), probe(3, 6)
    options = {"max_new_tokens": 20, "do_sample": False, "eos_token_id": None}
    mask = torch.ones_like(ids)
    cached = model.generate(ids, attention_mask=mask, use_cache=True, **options)
    plain = model.generate(ids, attention_mask=mask, use_cache=False, **options)
    by_hand = ids
    for _ in range(20):
        by_hand = torch.cat((by_hand, model(by_hand).logits[:, -1:].argmax(-1)), dim=1)
    assert torch.equal(cached, plain)
    assert torch.equal(cached, by_hand)


def test_cached_forward_in_chunks_equals_one_forward():
    model, ids = simple_mlp(), probe(2, 12)
    first = model(ids[:, :5], use_cache=True)
    second = model(ids[:, 5:], past_key_values=first.past_key_values, use_cache=True)
    joined = torch.cat((first.logits, second.logits), dim=1)
    assert torch.allclose(joined, model(ids).logits, atol=1e-5)


def test_left_padded_batch_generates_like_single_rows():
    model = simple_mlp()
    rows = [probe(1, 9, seed=1)[0], probe(1, 4, seed=2)[0], probe(1, 1, seed=3)[0]]
    ids = torch.stack([torch.cat((torch.zeros(9 - len(r), dtype=torch.long), r)) for r in rows])
    mask = torch.stack([torch.cat((torch.zeros(9 - len(r)), torch.ones(len(r)))) for r in rows]).long()
    options = {"max_new_tokens": 16, "do_sample": False, "eos_token_id": None}
    batch = model.generate(ids, attention_mask=mask, **options)
    for row, out in zip(rows, batch, strict=True):
        single = model.generate(row[None], attention_mask=torch.ones_like(row[None]), **options)
        assert torch.equal(out[9:], single[0, len(row) :])


def test_right_padding_does_not_change_the_logits_before_it():
    model, ids = simple_mlp(), probe(1, 6)
    padded = torch.cat((ids, torch.zeros(1, 4, dtype=torch.long)), dim=1)
    mask = torch.tensor([[1] * 6 + [0] * 4])
    assert torch.allclose(model(padded, attention_mask=mask).logits[:, :6], model(ids).logits, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_round_trip_through_the_auto_class(tmp_path, dtype):
    model = simple_mlp().to(dtype)
    model.save_pretrained(tmp_path / "m")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=dtype)
    assert type(again) is SimpleMLPForCausalLM
    assert again.lm_head.weight is again.wte.weight
    assert torch.equal(again(probe()).logits, model(probe()).logits)
    assert model_hash(again) == model_hash(model)


STRANGER = """
import sys, torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=True, dtype=torch.float32)
assert not any(name.split(".")[0] == "rankone" for name in sys.modules), "rankone was imported"
assert model.lm_head.weight.data_ptr() == model.wte.weight.data_ptr(), "untied"
ids = torch.tensor([list(map(int, sys.argv[2].split(",")))])
sys.stdout.write(repr(float(model(ids).logits.double().pow(2).sum())))
"""


def test_a_saved_directory_loads_without_rankone(tmp_path):
    model, ids = simple_mlp(), probe(1, 8)
    model.save_pretrained(tmp_path / "m")
    command = [
        sys.executable,
        "-c",
        UNSEARCHED + STRANGER,
        str(tmp_path / "m"),
        ",".join(map(str, ids[0].tolist())),
    ]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(tmp_path / "modules")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=offline)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(float(model(ids).logits.double().pow(2).sum()), rel=1e-6)


def test_load_model_refuses_what_is_missing_altered_or_incomplete(tmp_path):
    from safetensors.torch import load_file, save_file

    from rankone.core.artifact import new_artifact

    with pytest.raises(RankOneError, match=r"no model directory at '.*nowhere'"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(RankOneError, match=r"has no config.json"):
        load_model(tmp_path)
    with new_artifact(tmp_path / "m", "model") as staging:
        simple_mlp().save_pretrained(staging)
    assert not load_model(tmp_path / "m").training
    with pytest.raises(RankOneError, match="cannot load the tokenizer"):
        load_tokenizer(tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    tensors = load_file(weights)
    tensors.pop("h.1.mlp.c_fc.weight")
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(RankOneError, match="altered or truncated"):
        load_model(tmp_path / "m")
    (tmp_path / "m" / "manifest.json").unlink()
    with pytest.raises(RankOneError, match=r"missing keys h\.1\.mlp\.c_fc\.weight"):
        load_model(tmp_path / "m")


def test_load_model_refuses_another_kind_of_artefact(tmp_path):
    from rankone.core.artifact import new_artifact

    with new_artifact(tmp_path / "m", "adapter") as staging:
        simple_mlp().save_pretrained(staging)
    with pytest.raises(RankOneError, match="is of kind 'adapter', but 'model' is needed"):
        load_model(tmp_path / "m")


def test_tokenizer_round_trip(tmp_path):
    simple_mlp().save_pretrained(tmp_path / "m")
    tokenizer().save_pretrained(tmp_path / "m")
    text = "the cat sat on the Straße"
    again = load_tokenizer(tmp_path / "m")
    assert again.decode(again(text)["input_ids"]) == text


def test_model_hash_sees_one_changed_entry():
    model = simple_mlp()
    before = model_hash(model)
    assert model_hash(simple_mlp()) == before
    with torch.no_grad():
        model.h[0].mlp.c_fc.weight[3, 5] += 1e-6
    assert model_hash(model) != before
