"""The published target (LlamaSimpleMLP) as a model of the built-in architecture, which computes the same function.

Keys and shapes of the published state dict (V vocabulary, d width, h MLP width, per block i):
    wte.weight, lm_head.weight [V, d] (tied; the latter may be left out) · ln_f.weight [d] · h.{i}.rms_{1,2}.weight [d]
    h.{i}.attn.{q,k,v,o}_proj.weight [d, d] · h.{i}.mlp.c_fc.weight [h, d] · h.{i}.mlp.down_proj.weight [d, h]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.decomposition.importers.files import read_yaml
from rankone.decomposition.importers.keys import Shape, check_tensors
from rankone.models.loading import load_tokenizer
from rankone.models.simple_mlp import SimpleMLPConfig, SimpleMLPForCausalLM

EMBEDDING, HEAD = "wte.weight", "lm_head.weight"
# The token between documents, in the tokenizers that published targets used.
SEPARATORS = ("<|endoftext|>", "[EOS]")


class PublishedTarget(Config):
    """`model_config.yaml`: what RankOne's architecture can express; `flash_attention` and `rotary_dim` change nothing.

    (The published code rotates all dimensions of a head whatever `rotary_dim` says.)
    """

    model_type: Literal["LlamaSimpleMLP"] = "LlamaSimpleMLP"
    vocab_size: int = Field(gt=0)
    n_layer: int = Field(gt=0)
    n_head: int = Field(gt=0)
    n_embd: int = Field(gt=0)
    n_intermediate: int = Field(gt=0)
    n_key_value_heads: int
    n_ctx: int = Field(gt=0)
    block_size: int = Field(gt=0)
    rms_norm_eps: float = 1e-6
    rotary_base: float = 10000.0
    rotary_dim: int | None = None
    flash_attention: bool = True
    rotary_adjacent_pairs: Literal[False] = False
    mlp_bias: Literal[False] = False
    attn_bias: Literal[False] = False
    use_grouped_query_attention: Literal[True] = True

    @model_validator(mode="after")
    def _is_ours(self) -> PublishedTarget:
        if self.n_key_value_heads != self.n_head:
            raise ValueError(
                f"{self.n_key_value_heads} key-value heads for {self.n_head} heads: RankOne's architecture has one each"
            )
        if self.n_embd % (2 * self.n_head):
            raise ValueError(f"width {self.n_embd} does not split into {self.n_head} heads of even size")
        return self

    def ours(self) -> SimpleMLPConfig:
        """The same sizes in the built-in architecture's words."""
        return SimpleMLPConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.n_embd,
            num_hidden_layers=self.n_layer,
            num_attention_heads=self.n_head,
            intermediate_size=self.n_intermediate,
            max_position_embeddings=min(self.block_size, self.n_ctx),
            rope_theta=self.rotary_base,
            rms_norm_eps=self.rms_norm_eps,
        )

    def shapes(self) -> dict[str, Shape]:
        """Every key of the state dict with its shape."""
        d, hidden = self.n_embd, self.n_intermediate
        shapes: dict[str, Shape] = {EMBEDDING: (self.vocab_size, d), HEAD: (self.vocab_size, d)}
        for i in range(self.n_layer):
            shapes |= {f"h.{i}.rms_{n}.weight": (d,) for n in (1, 2)}
            shapes |= {f"h.{i}.attn.{p}_proj.weight": (d, d) for p in "qkvo"}
            shapes |= {f"h.{i}.mlp.c_fc.weight": (hidden, d), f"h.{i}.mlp.down_proj.weight": (d, hidden)}
        return shapes | {"ln_f.weight": (d,)}


def read_target_config(path: Path | None, where: Path) -> PublishedTarget:
    """`model_config.yaml`, checked; RankOneError where there is none: the number of heads stands nowhere else."""
    if path is None:
        raise RankOneError(
            f"'{where}' has no model_config.yaml, which says how many heads the target has. It is a file of the "
            "target's run: name that run with --target."
        )
    return PublishedTarget.checked(read_yaml(path), str(path))


def target_from(tensors: Mapping[str, Tensor], config: PublishedTarget, where: Path) -> SimpleMLPForCausalLM:
    """The target with these weights in fp32; RankOneError for any key or shape that is not the layout's."""
    check_tensors(tensors, config.shapes(), where, optional=(HEAD,))
    if HEAD in tensors and not torch.equal(tensors[HEAD], tensors[EMBEDDING]):
        raise RankOneError(
            f"'{where}' has an unembedding ({HEAD}) other than its embedding; this architecture ties them."
        )
    with torch.device("meta"):
        model = SimpleMLPForCausalLM(config.ours())
    state = {key: tensors[key].float() for key in config.shapes() if key != HEAD}
    model.load_state_dict(state | {HEAD: state[EMBEDDING]}, assign=True)
    model.tie_weights()
    return model.eval().requires_grad_(False)


def refuse_other_weights(one: Mapping[str, Tensor], other: Mapping[str, Tensor], where: Path) -> None:
    """The target inside a decomposition and the target's own checkpoint must be equal to the bit."""
    for key in sorted(one.keys() & other.keys()):
        if not torch.equal(one[key].float(), other[key].float()):
            raise RankOneError(
                f"'{where}' was made from another target: its {key} differs from the target's checkpoint. "
                "Name the target's own run with --target."
            )


def read_tokenizer(
    wanted: str | None, run_file: Path | None, context: int, vocabulary: int
) -> PreTrainedTokenizerBase | None:
    """The tokenizer `wanted` (a tokenizer.json, model directory or Hub name), else the run's own; None without either.

    RankOneError for one that has more entries than the model.
    """
    file = Path(wanted) if wanted is not None and wanted.endswith(".json") else run_file
    if wanted is not None and file is not None and file != run_file and not file.is_file():
        raise RankOneError(f"no tokenizer at '{wanted}'. Check the path.")
    if wanted is not None and not wanted.endswith(".json"):
        tokenizer = load_tokenizer(wanted)
    elif file is not None:
        tokenizer = _from_file(file, context)
    else:
        return None
    if len(tokenizer) > vocabulary:
        raise RankOneError(
            f"the tokenizer '{wanted or run_file}' has {len(tokenizer)} entries, the model {vocabulary}: "
            "it is another model's. Name the right one with --tokenizer."
        )
    return tokenizer


def _from_file(path: Path, context: int) -> PreTrainedTokenizerFast:
    try:
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path), model_max_length=context)
    except Exception as error:  # the Rust tokenizers raise bare Exceptions
        raise RankOneError(f"cannot read the tokenizer '{path}': {error}. Download it again.") from error
    known = tokenizer.get_vocab()
    separator = next((token for token in SEPARATORS if token in known), None)
    if separator is not None:
        tokenizer.bos_token = tokenizer.eos_token = tokenizer.pad_token = separator
    return tokenizer
