"""The built-in target architecture: a small pre-norm transformer with a plain GELU MLP and no biases.

RMSNorm with weight, half-split RoPE, tanh-GELU MLP named `c_fc`/`down_proj`, tied embedding. Module
names (`h.{i}.attn.{q,k,v,o}_proj`, `h.{i}.mlp.{c_fc,down_proj}`) are those of the published 67M target
(LlamaSimpleMLP), so its weights fit this class at the right sizes.

This file imports nothing of RankOne: `save_pretrained` copies it beside the weights, so a checkpoint
also loads with `trust_remote_code=True` where RankOne is not installed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Cache,
    DynamicCache,
    GenerationMixin,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import CausalLMOutputWithPast


class SimpleMLPConfig(PretrainedConfig):
    """Sizes of a `SimpleMLPForCausalLM`; every field changes the model."""

    model_type = "rankone_simple_mlp"

    def __init__(
        self,
        vocab_size: int = 4096,
        hidden_size: int = 192,
        num_hidden_layers: int = 4,
        num_attention_heads: int = 6,
        intermediate_size: int = 768,
        max_position_embeddings: int = 512,
        rope_theta: float = 10000.0,
        rms_norm_eps: float = 1e-6,
        initializer_range: float = 0.02,
        tie_word_embeddings: bool = True,
        use_cache: bool = True,
        **kwargs: object,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.max_position_embeddings = max_position_embeddings
        self.rope_theta = rope_theta
        self.rms_norm_eps = rms_norm_eps
        self.initializer_range = initializer_range
        self.use_cache = use_cache
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)  # pyright: ignore[reportArgumentType, reportCallIssue]


class RMSNorm(nn.Module):
    """x / rms(x) · weight, computed in fp32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension of x."""
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (normed * self.weight.float()).to(x.dtype)


def rotary_tables(position_ids: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines [B, 1, T, head_dim] of half-split RoPE at the given positions [B, T]."""
    exponent = torch.arange(0, head_dim, 2, device=position_ids.device, dtype=torch.float32) / head_dim
    angles = position_ids.float().unsqueeze(-1) * theta**-exponent
    angles = torch.cat((angles, angles), dim=-1).unsqueeze(1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply half-split RoPE to x [B, heads, T, head_dim]."""
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


class Attention(nn.Module):
    """Causal multi-head attention without biases."""

    def __init__(self, config: SimpleMLPConfig, layer_idx: int) -> None:
        super().__init__()
        d = config.hidden_size
        self.heads, self.layer_idx = config.num_attention_heads, layer_idx
        self.q_proj = nn.Linear(d, d, bias=False)
        self.k_proj = nn.Linear(d, d, bias=False)
        self.v_proj = nn.Linear(d, d, bias=False)
        self.o_proj = nn.Linear(d, d, bias=False)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None, cache: Cache | None
    ) -> Tensor:
        """Attend over x [B, T, d]; `mask` is additive or boolean [B, 1, T, keys], None means causal."""
        batch, length, width = x.shape
        q, k, v = (
            proj(x).view(batch, length, self.heads, -1).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, *rotary), rotate(k, *rotary)
        if cache is not None:
            k, v = cache.update(k, v, self.layer_idx)
        causal = mask is None and length == k.shape[-2] and length > 1
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.o_proj(out.transpose(1, 2).reshape(batch, length, width))


class MLP(nn.Module):
    """down_proj(gelu_tanh(c_fc(x)))."""

    def __init__(self, config: SimpleMLPConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., d] to [..., d]."""
        return self.down_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, config: SimpleMLPConfig, layer_idx: int) -> None:
        super().__init__()
        self.rms_1 = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.attn = Attention(config, layer_idx)
        self.rms_2 = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None, cache: Cache | None
    ) -> Tensor:
        """Add attention, then the MLP, to the residual stream x [B, T, d]."""
        x = x + self.attn(self.rms_1(x), rotary, mask, cache)
        return x + self.mlp(self.rms_2(x))


class SimpleMLPForCausalLM(PreTrainedModel, GenerationMixin):
    """The built-in causal language model as an ordinary Hugging Face model."""

    config_class = SimpleMLPConfig
    base_model_prefix = ""
    _tied_weights_keys = {"lm_head.weight": "wte.weight"}  # noqa: RUF012
    _supports_sdpa = True
    _no_split_modules = ["Block"]  # noqa: RUF012

    def __init__(self, config: SimpleMLPConfig) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.hidden_size)
        self.h = nn.ModuleList(Block(config, i) for i in range(config.num_hidden_layers))
        self.ln_f = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        std = self.config.initializer_range
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, RMSNorm):
            nn.init.ones_(module.weight)

    def get_input_embeddings(self) -> nn.Module:
        """Return the token embedding."""
        return self.wte

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embedding."""
        self.wte = value

    def get_output_embeddings(self) -> nn.Module:
        """Return the unembedding."""
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the unembedding."""
        self.lm_head = new_embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: object,  # noqa: ARG002
    ) -> CausalLMOutputWithPast:
        """Run the model on input_ids [B, T]; with `labels` also the mean next-token cross-entropy."""
        x = self.wte(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        if position_ids is None:
            seen = past_key_values.get_seq_length() if past_key_values is not None else 0
            position_ids = torch.arange(seen, seen + x.shape[1], device=x.device).unsqueeze(0)
        mask = None
        if attention_mask is not None or past_key_values is not None:
            mask = create_causal_mask(
                config=self.config,
                inputs_embeds=x,
                attention_mask=attention_mask,
                past_key_values=past_key_values,
                position_ids=position_ids,
            )
        head_dim = self.config.hidden_size // self.config.num_attention_heads
        rotary = rotary_tables(position_ids, head_dim, self.config.rope_theta)
        for block in self.h:
            x = block(x, rotary, mask, past_key_values)
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(self.ln_f(x)[:, keep])
        loss = None
        if labels is not None:
            flat = logits[:, :-1].flatten(0, 1).float()
            loss = F.cross_entropy(flat, labels[:, 1:].flatten())
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=past_key_values if use_cache else None
        )  # pyright: ignore[reportArgumentType, reportCallIssue]


AutoConfig.register("rankone_simple_mlp", SimpleMLPConfig, exist_ok=True)
AutoModelForCausalLM.register(SimpleMLPConfig, SimpleMLPForCausalLM, exist_ok=True)
SimpleMLPConfig.register_for_auto_class()
SimpleMLPForCausalLM.register_for_auto_class("AutoModelForCausalLM")
