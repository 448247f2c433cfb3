"""Transcoders on disk: what they are, and a folder of each with the files that circuit-tracer's loader reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import Field
from transformers import PreTrainedModel

from rankone.circuits.transcoders.coder import Transcoder
from rankone.circuits.transcoders.config import CoderConfig, TranscodersConfig
from rankone.circuits.transcoders.files import THRESHOLD, read_layer, write_coder
from rankone.circuits.transcoders.places import Mlp, mlps_of
from rankone.circuits.transcoders.training import Trained
from rankone.core.artifact import new_artifact, open_artifact, write_json
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.provenance import environment
from rankone.core.reading import reading
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

    Files of a transcoder: files.py.
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
            write_coder(one.coder, about.target.name, staging / one.coder.config.name)
    return path


def load_transcoders(path: Path, target: PreTrainedModel) -> tuple[SavedTranscoders, list[Transcoder]]:
    """What is saved and the transcoders, on the target's device; RankOneError where it was altered or is another model's."""
    artifact = open_artifact(path, KIND)
    with reading(artifact.path):
        said = SavedTranscoders.checked(artifact.json(), str(artifact.path / "config.json"))
        require_target(target, said.target.name, said.target.weights, artifact.path)
        _require_places(said, len(mlps_of(target)), target, artifact.path)
        return said, [_read(artifact.path, one.coder, said).to(target.device) for one in said.coders]


def _require_places(said: SavedTranscoders, mlps: int, target: PreTrainedModel, path: Path) -> None:
    """RankOneError for another number of layers or width than the target has, and for a transcoder listed twice."""
    embeddings = target.get_input_embeddings()
    assert isinstance(embeddings, torch.nn.Embedding)
    width = embeddings.embedding_dim
    if (said.layers, said.width) != (mlps, width):
        raise RankOneError(
            f"'{path}' says that it has {said.layers} layers of width {said.width}, and its model has {mlps} of {width}. "
            "Restore it from its source, or train it anew."
        )
    names = [one.coder.name for one in said.coders]
    if len(set(names)) < len(names):
        raise RankOneError(f"'{path}' lists a transcoder twice. Restore it from its source.")


@torch.no_grad()
def _read(folder: Path, config: CoderConfig, said: SavedTranscoders) -> Transcoder:
    """All shapes are looked at before a transcoder of the sizes that are stated is made."""
    home = folder / config.name
    layers = [read_layer(home, config, said.layers, said.width, layer) for layer in range(said.layers)]
    coder = Transcoder(config, said.layers, said.width)
    for layer, tensors in enumerate(layers):
        coder.encoder[layer] = tensors["W_enc"]
        coder.encoder_bias[layer] = tensors["b_enc"]
        coder.decoders[layer].copy_(tensors["W_dec"])
        coder.decoder_bias[layer] = tensors["b_dec"]
        coder.get_buffer("threshold")[layer] = tensors[THRESHOLD][0]
    return coder.requires_grad_(False).eval()
