"""Files in the layout of the published target and decomposition, with random weights at a small size, and a plain reading
of them: torch functions only, in float64, none of RankOne's code."""

from __future__ import annotations

import math
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
import yaml

MODEL_CONFIG = {
    "model_type": "LlamaSimpleMLP",
    "attn_bias": False,
    "block_size": 16,
    "flash_attention": False,
    "mlp_bias": False,
    "n_ctx": 16,
    "n_embd": 12,
    "n_head": 3,
    "n_intermediate": 20,
    "n_key_value_heads": 3,
    "n_layer": 2,
    "rms_norm_eps": 1.0e-06,
    "rotary_adjacent_pairs": False,
    "rotary_base": 10000,
    "rotary_dim": 128,
    "use_grouped_query_attention": True,
    "vocab_size": 50,
}
COUNTS = {"q_proj": 5, "k_proj": 4, "v_proj": 7, "o_proj": 6, "c_fc": 15, "down_proj": 13}
TRANSFORMER = {
    "d_model": 16,
    "n_blocks": 2,
    "mlp_hidden_dim": [24],
    "attn_config": {"n_heads": 4, "max_len": 16, "rope_base": 10000.0},
}
DECOMPOSITION_CONFIG = {
    "seed": 0,
    "n_mask_samples": 1,
    "ci_config": {
        "mode": "global",
        "fn_type": "global_shared_transformer",
        "hidden_dims": None,
        "simple_transformer_ci_cfg": TRANSFORMER,
    },
    "module_info": [
        {"module_pattern": f"h.*.{'mlp' if name in ('c_fc', 'down_proj') else 'attn'}.{name}", "C": count}
        for name, count in COUNTS.items()
    ],
    "sigmoid_type": "leaky_hard",
    "use_delta_component": True,
    "loss_metric_configs": [{"classname": "FaithfulnessLoss", "coeff": 1e7}],
    "pretrained_model_class": "spd.pretrain.models.LlamaSimpleMLP",
    "pretrained_model_name": "wandb:someone/spd/runs/t-12345678",
    "pretrained_model_output_attr": "idx_0",
    "tokenizer_name": "EleutherAI/gpt-neox-20b",
}


def site_shapes(config=MODEL_CONFIG):
    """(d_out, d_in) of every site by path."""
    d, hidden = config["n_embd"], config["n_intermediate"]
    shapes = {}
    for i in range(config["n_layer"]):
        shapes |= {f"h.{i}.attn.{p}_proj": (d, d) for p in "qkvo"}
        shapes |= {f"h.{i}.mlp.c_fc": (hidden, d), f"h.{i}.mlp.down_proj": (d, hidden)}
    return shapes


def target_state(config=MODEL_CONFIG, seed=0):
    """A target's state dict."""
    g = torch.Generator().manual_seed(seed)
    d = config["n_embd"]
    state = {"wte.weight": torch.randn(config["vocab_size"], d, generator=g)}
    state["lm_head.weight"] = state["wte.weight"]
    for name, shape in site_shapes(config).items():
        state[f"{name}.weight"] = torch.randn(shape, generator=g) / shape[1] ** 0.5
    for i in range(config["n_layer"]):
        for n in (1, 2):
            state[f"h.{i}.rms_{n}.weight"] = 1 + 0.3 * torch.randn(d, generator=g)
    state["ln_f.weight"] = 1 + 0.3 * torch.randn(d, generator=g)
    return state


def decomposition_state(config=MODEL_CONFIG, published=DECOMPOSITION_CONFIG, seed=1):
    """A decomposition's state dict under today's keys, its target included."""
    g = torch.Generator().manual_seed(seed)
    sizes = published["ci_config"]["simple_transformer_ci_cfg"]
    w, (h,), heads = sizes["d_model"], sizes["mlp_hidden_dim"], sizes["attn_config"]["n_heads"]

    def normal(*shape):
        return torch.randn(shape, generator=g) / shape[0] ** 0.5

    state = {f"target_model.{key}": value for key, value in target_state(config).items()}
    counts = site_counts(config, published)
    for name, (d_out, d_in) in site_shapes(config).items():
        state[f"_components.{name.replace('.', '-')}.V"] = normal(d_in, counts[name])
        state[f"_components.{name.replace('.', '-')}.U"] = normal(counts[name], d_out)
    gamma = {
        "_input_projector.W": normal(sum(d_in for _, d_in in site_shapes(config).values()), w),
        "_input_projector.b": normal(w),
        "_output_head.W": 2 * normal(w, sum(counts.values())),
        "_output_head.b": normal(sum(counts.values())),
    }
    for k in range(sizes["n_blocks"]):
        gamma |= {f"_blocks.{k}.attn.{p}_proj.weight": normal(w, w) for p in ("q", "k", "v", "out")}
        gamma[f"_blocks.{k}.attn.rope.inv_freq"] = 10000.0 ** -(torch.arange(0, w // heads, 2) / (w // heads))
        gamma |= {f"_blocks.{k}.mlp.0.W": normal(w, h), f"_blocks.{k}.mlp.0.b": normal(h)}
        gamma |= {f"_blocks.{k}.mlp.2.W": normal(h, w), f"_blocks.{k}.mlp.2.b": normal(w)}
    return state | {f"ci_fn._global_ci_fn.{key}": value for key, value in gamma.items()}


def site_counts(config=MODEL_CONFIG, published=DECOMPOSITION_CONFIG):
    """C of every site."""
    return {
        name: next(e["C"] for e in published["module_info"] if fnmatchcase(name, e["module_pattern"]))
        for name in site_shapes(config)
    }


def old_keys(state):
    """The same state dict as an early version named it."""
    old = {}
    for key, value in state.items():
        if key.startswith("_components."):
            _, site, factor = key.split(".")
            key = f"patched_model.{site.replace('-', '.')}.components.{factor}"
        elif key.startswith("target_model."):
            name = key.removeprefix("target_model.")
            if name.removesuffix(".weight") in site_shapes():
                name = name.removesuffix("weight") + "original.weight"
            key = f"patched_model._orig_mod.{name}"
        old[key] = value
    return old


def write_run(folder, state=None, published=DECOMPOSITION_CONFIG, config=MODEL_CONFIG, suffix="pth"):
    """A folder with a decomposition, the target's run in its sub-folder `target`."""
    folder.mkdir(parents=True)
    (folder / "final_config.yaml").write_text(yaml.safe_dump(published))
    save(
        decomposition_state(config, published) if state is None else state, folder / f"model_400000.{suffix}"
    )
    write_target(folder / "target", config)
    return folder


def write_target(folder, config=MODEL_CONFIG, state=None, suffix="pt"):
    """A folder with the target's run."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "final_config.yaml").write_text(yaml.safe_dump({"wandb_project": "spd"}))
    (folder / "model_config.yaml").write_text(yaml.safe_dump(config))
    state = target_state(config) if state is None else state
    save(
        {f"_orig_mod.{k}": v for k, v in state.items()}, folder / "checkpoints" / f"model_step_99999.{suffix}"
    )
    return folder


def save(state, path):
    """Write a state dict in the format its name asks for."""
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file({k: v.clone().contiguous() for k, v in state.items()}, path)
    else:
        torch.save(state, path)


def _norm(x, eps, weight=None):
    x = x / (x.square().mean(-1, keepdim=True) + eps).sqrt()
    return x if weight is None else x * weight


def _turn(x, base=10000.0):
    """Half-split rotary positions on x [B, heads, T, dim]."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2]).double()[:, None] * base ** (-torch.arange(half).double() / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)


def _attend(q, k, v, heads, causal):
    batch, length, width = q.shape
    q, k, v = (x.view(batch, length, heads, -1).transpose(1, 2) for x in (q, k, v))
    scores = _turn(q) @ _turn(k).transpose(-1, -2) / math.sqrt(width // heads)
    if causal:
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, width)


def plain_forward(state, ids, config=MODEL_CONFIG, linear=None):
    """(logits, site inputs by path) of the target in float64; `linear(path, x)` may stand in for x Wᵀ."""
    w = {k: v.double() for k, v in state.items()}
    inputs = {}

    def site(name, x):
        inputs[name] = x
        return x @ w[f"{name}.weight"].T if linear is None else linear(name, x)

    eps = config["rms_norm_eps"]
    x = w["wte.weight"][ids]
    for i in range(config["n_layer"]):
        y = _norm(x, eps, w[f"h.{i}.rms_1.weight"])
        q, k, v = (site(f"h.{i}.attn.{p}_proj", y) for p in "qkv")
        x = x + site(f"h.{i}.attn.o_proj", _attend(q, k, v, config["n_head"], causal=True))
        y = site(f"h.{i}.mlp.c_fc", _norm(x, eps, w[f"h.{i}.rms_2.weight"]))
        y = 0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
        x = x + site(f"h.{i}.mlp.down_proj", y)
    return _norm(x, eps, w["ln_f.weight"]) @ w["lm_head.weight"].T, inputs


def plain_masked(state, ids, masks, deltas, config=MODEL_CONFIG):
    """Logits with masks [B, T, C] and delta masks [B, T] by path: ((x V) ⊙ m) U + m_Δ · x (W − (V U)ᵀ)ᵀ."""
    w = {k: v.double() for k, v in state.items()}

    def linear(name, x):
        read, write = (w[f"_components.{name.replace('.', '-')}.{f}"] for f in ("V", "U"))
        delta = w[f"target_model.{name}.weight"] - (read @ write).T
        return ((x @ read) * masks[name]) @ write + deltas[name][..., None] * (x @ delta.T)

    target = {k.removeprefix("target_model."): v for k, v in state.items() if k.startswith("target_model.")}
    return plain_forward(target, ids, config, linear)[0]


def plain_logits_of_importance(state, inputs, published=DECOMPOSITION_CONFIG):
    """Importance logits [B, T, C] by path from the clean site inputs."""
    sizes = published["ci_config"]["simple_transformer_ci_cfg"]
    prefix = "ci_fn._global_ci_fn."
    w = {k.removeprefix(prefix): v.double() for k, v in state.items() if k.startswith(prefix)}
    eps = torch.finfo(torch.float32).eps
    x = torch.cat([_norm(inputs[name], eps) for name in sorted(inputs)], -1)
    x = x @ w["_input_projector.W"] + w["_input_projector.b"]
    for k in range(sizes["n_blocks"]):
        b = f"_blocks.{k}."
        y = _norm(x, eps)
        q, key, v = (y @ w[f"{b}attn.{p}_proj.weight"].T for p in "qkv")
        attended = _attend(q, key, v, sizes["attn_config"]["n_heads"], causal=False)
        x = x + attended @ w[f"{b}attn.out_proj.weight"].T
        y = F.gelu(_norm(x, eps) @ w[f"{b}mlp.0.W"] + w[f"{b}mlp.0.b"])
        x = x + y @ w[f"{b}mlp.2.W"] + w[f"{b}mlp.2.b"]
    out = x @ w["_output_head.W"] + w["_output_head.b"]
    names = sorted(inputs)
    counts = [state[f"_components.{n.replace('.', '-')}.U"].shape[0] for n in names]
    return dict(zip(names, out.split(counts, -1), strict=True))
