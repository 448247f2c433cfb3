"""Transcoders on disk: per layer a safetensors file with the names that circuit-tracer's loader reads, and what they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from rankone.circuits.transcoders.coder import Transcoder
from rankone.circuits.transcoders.config import CoderConfig, TranscodersConfig
from rankone.circuits.transcoders.places import Mlp
from rankone.circuits.transcoders.training import Trained
from rankone.core.artifact import new_artifact, open_artifact, write_json
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.provenance import environment
from rankone.core.reading import reading
from rankone.core.tensors import read_tensors, save_tensors
from rankone.parts.origins import SavedTarget
from rankone.parts.target import require_target, target_entry

KIND = "transcoders"


class SavedCoder(Config):
    """A transcoder of an artefact, in the folder of its name."""

    coder: CoderConfig
    unexplained_at_half: float = Field(ge=0)
    unexplained: float = Field(ge=0)
    dead: float = Field(ge=0, le=1)


class SavedTranscoders(Config):
    """`config.json` of an artefact of transcoders. text: tokens of the training text, before any was read again."""

    training: TranscodersConfig
    layers: int = Field(gt=0)
    width: int = Field(gt=0)
    text: int = Field(gt=0)
    domains: tuple[str, ...]
    coders: tuple[SavedCoder, ...]
    target: SavedTarget


def save_transcoders(
    trained: Sequence[Trained],
    mlps: Sequence[Mlp],
    target: PreTrainedModel,
    config: TranscodersConfig,
    domains: Sequence[str],
    path: Path,
) -> Path:
    """Write them as an artefact; RankOneError where something stands at `path`.

    A layer of `NAME/layer_I.safetensors` has W_enc, W_dec [latents, d], b_enc, b_dec and the threshold of its JumpReLU; of a
    cross-layer one W_dec is [layers written to, latents, d].
    """
    sites = [site for mlp in mlps for site in mlp.sites]
    about = SavedTranscoders(
        training=config,
        layers=len(mlps),
        width=trained[0].coder.width,
        text=trained[0].text,
        domains=tuple(domains),
        coders=tuple(
            SavedCoder(
                coder=one.coder.config,
                unexplained_at_half=one.unexplained[0],
                unexplained=one.unexplained[1],
                dead=one.dead,
            )
            for one in trained
        ),
        target=SavedTarget.checked(target_entry(target, sites), "target"),
    )
    with new_artifact(path, KIND, environment()) as staging:
        write_json(staging / "config.json", about.model_dump(mode="json"))
        for one in trained:
            (staging / one.coder.config.name).mkdir()
            for layer in range(len(mlps)):
                save_tensors(staging / _file(one.coder.config, layer), _tensors(one.coder, layer))
    return path


def load_transcoders(path: Path, target: PreTrainedModel) -> tuple[SavedTranscoders, list[Transcoder]]:
    """What is saved and the transcoders, on the target's device; RankOneError where it was altered or is another model's."""
    artifact = open_artifact(path, KIND)
    with reading(artifact.path):
        said = SavedTranscoders.checked(artifact.json(), str(artifact.path / "config.json"))
        require_target(target, said.target.name, said.target.weights, artifact.path)
        return said, [_read(artifact.path, one.coder, said).to(target.device) for one in said.coders]


def _file(config: CoderConfig, layer: int) -> str:
    return f"{config.name}/layer_{layer}.safetensors"


def _tensors(coder: Transcoder, layer: int) -> dict[str, Tensor]:
    decoder = coder.decoders[layer].detach()
    return {
        "W_enc": coder.encoder[layer].detach().contiguous(),
        "b_enc": coder.encoder_bias[layer].detach().contiguous(),
        "W_dec": (decoder if coder.config.reach == "cross-layer" else decoder[0]).contiguous(),
        "b_dec": coder.decoder_bias[layer].detach().contiguous(),
        "activation_function.threshold": coder.get_buffer("threshold")[layer]
        .expand(coder.config.latents)
        .contiguous(),
    }


@torch.no_grad()
def _read(folder: Path, config: CoderConfig, said: SavedTranscoders) -> Transcoder:
    coder = Transcoder(config, said.layers, said.width)
    for layer in range(said.layers):
        tensors = read_tensors(folder / _file(config, layer))
        decoder = tensors["W_dec"]
        wanted = {**{n: t.shape for n, t in _tensors(coder, layer).items()}}
        wrong = [n for n, shape in wanted.items() if n not in tensors or tensors[n].shape != shape]
        if wrong:
            raise RankOneError(
                f"'{folder / _file(config, layer)}' has no {wrong[0]} of shape {list(wanted[wrong[0]])}: train it anew."
            )
        coder.encoder[layer] = tensors["W_enc"]
        coder.encoder_bias[layer] = tensors["b_enc"]
        coder.decoders[layer].copy_(decoder if decoder.ndim == 3 else decoder.unsqueeze(0))
        coder.decoder_bias[layer] = tensors["b_dec"]
        coder.get_buffer("threshold")[layer] = tensors["activation_function.threshold"][0]
    return coder.requires_grad_(False).eval()
