"""The built-in model in a stock architecture: the same logits, loaded by plain transformers without its code."""

from __future__ import annotations

import pytest
import torch
from tests.fresh import run
from transformers import GPT2Config, GPT2LMHeadModel

from rankone.core.errors import RankOneError
from rankone.models.loading import load_model, load_tokenizer
from rankone.models.sources.stock import stock_name, to_stock


@pytest.fixture(scope="module")
def mini():
    return load_model("mini")


def test_every_name_has_its_place():
    assert stock_name("h.3.mlp.c_fc.weight") == "model.layers.3.mlp.up_proj.weight"
    assert stock_name("h.0.attn.q_proj.weight") == "model.layers.0.self_attn.q_proj.weight"
    assert stock_name("h.1.rms_2.weight") == "model.layers.1.post_attention_layernorm.weight"
    assert stock_name("ln_f.weight") == "model.norm.weight"
    assert stock_name("wte.weight") == "model.embed_tokens.weight"
    assert stock_name("lm_head.weight") == "lm_head.weight"


def test_logits_are_the_same(mini):
    ids = torch.randint(0, 4096, (3, 100), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = mini(ids).logits, to_stock(mini)(ids).logits
    assert (ours - theirs).abs().max() <= 5e-5
    assert ours.std() > 1


def test_plain_transformers_read_it_and_say_the_same(mini, tmp_path):
    to_stock(mini).save_pretrained(tmp_path / "stock")
    tokenizer = load_tokenizer("mini")
    tokenizer.save_pretrained(tmp_path / "stock")
    ids = tokenizer("Der Ausschuss hat", return_tensors="pt").input_ids
    expected = mini.generate(ids, max_new_tokens=8, do_sample=False)[0].tolist()
    done = run(
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "m = AutoModelForCausalLM.from_pretrained('stock'); t = AutoTokenizer.from_pretrained('stock')\n"
        "i = t('Der Ausschuss hat', return_tensors='pt').input_ids\n"
        "print(m.generate(i, max_new_tokens=8, do_sample=False)[0].tolist())",
        ("rankone",),
        tmp_path,
    )
    assert done.stdout.strip().splitlines()[-1] == str(expected), done.stderr


def test_another_architecture_is_stock_already():
    with pytest.raises(RankOneError, match="is a stock architecture"):
        to_stock(GPT2LMHeadModel(GPT2Config(vocab_size=8, n_embd=8, n_layer=1, n_head=1)))
