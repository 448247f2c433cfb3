"""A transcoder's files, with the names and shapes that circuit-tracer's loader reads.

Per layer `layer_I.safetensors`; across layers `W_enc_I.safetensors` and `W_dec_I.safetensors`, whose write vectors have
the layers written to as their second dimension; and `config.yaml`, which says what they are and where in a model they go.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from rankone.circuits.transcoders.coder import Transcoder
from rankone.circuits.transcoders.config import CoderConfig
from rankone.core.errors import RankOneError
from rankone.core.files import write_json
from rankone.core.tensors import read_tensors, save_tensors

KINDS = {"per-layer": "transcoder_set", "cross-layer": "cross_layer_transcoder"}
# What an MLP reads and writes, in the words of circuit-tracer.
READS, WRITES = "mlp.hook_in", "mlp.hook_out"
THRESHOLD = "activation_function.threshold"
NAMES = ("W_enc", "b_enc", "W_dec", "b_dec", THRESHOLD)


def write_coder(coder: Transcoder, model: str, folder: Path) -> None:
    """Write all files of a transcoder into a new folder; `model` is the name of what it stands in."""
    config = coder.config
    folder.mkdir()
    about = {
        "model_kind": KINDS[config.reach],
        "model_name": model,
        "feature_input_hook": READS,
        "feature_output_hook": WRITES,
        "scan": config.name,
    }
    # JSON is YAML.
    write_json(folder / "config.yaml", about)
    for layer in range(coder.layers):
        tensors = _tensors(coder, layer)
        for file, names in _stored(config, layer).items():
            save_tensors(
                folder / file, {stored: tensors[name].contiguous() for name, stored in names.items()}
            )


def read_layer(folder: Path, config: CoderConfig, layers: int, width: int, layer: int) -> dict[str, Tensor]:
    """Tensors of a layer by NAMES, W_dec [layers written to, latents, d].

    RankOneError for one that is not there, of another shape or no real numbers.
    """
    before = folder / f"layer_{layer}.safetensors"
    if config.reach == "cross-layer" and before.exists():
        # As transcoders across layers were stored at first: circuit-tracer had no use for them.
        shapes = _shapes(config, layers, width, layer, (0, 1, 2))
        return _checked(before, {name: name for name in NAMES}, shapes)
    shapes, read = _shapes(config, layers, width, layer, (1, 0, 2)), {}
    for file, names in _stored(config, layer).items():
        read |= _checked(folder / file, names, shapes)
    decoder = read["W_dec"]
    return {**read, "W_dec": decoder.unsqueeze(0) if decoder.ndim == 2 else decoder.transpose(0, 1)}


def _tensors(coder: Transcoder, layer: int) -> dict[str, Tensor]:
    decoder = coder.decoders[layer].detach()
    return {
        "W_enc": coder.encoder[layer].detach(),
        "b_enc": coder.encoder_bias[layer].detach(),
        "W_dec": decoder.transpose(0, 1) if coder.config.reach == "cross-layer" else decoder[0],
        "b_dec": coder.decoder_bias[layer].detach(),
        THRESHOLD: coder.get_buffer("threshold")[layer].expand(coder.config.latents),
    }


def _stored(config: CoderConfig, layer: int) -> dict[str, dict[str, str]]:
    """File → the names of what it holds, and what they are called in it."""
    if config.reach == "per-layer":
        return {f"layer_{layer}.safetensors": {name: name for name in NAMES}}
    called = {name: f"{'threshold' if name == THRESHOLD else name}_{layer}" for name in NAMES}
    writes = {"W_dec": called.pop("W_dec")}
    return {f"W_enc_{layer}.safetensors": called, f"W_dec_{layer}.safetensors": writes}


def _shapes(
    config: CoderConfig, layers: int, width: int, layer: int, order: tuple[int, int, int]
) -> dict[str, tuple[int, ...]]:
    """order: of what W_dec across layers has in its dimensions, layers written to, latents, d."""
    latents = config.latents
    across = (layers - layer, latents, width)
    return {
        "W_enc": (latents, width),
        "b_enc": (latents,),
        "W_dec": tuple(across[i] for i in order) if config.reach == "cross-layer" else (latents, width),
        "b_dec": (width,),
        THRESHOLD: (latents,),
    }


def _checked(path: Path, names: dict[str, str], shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    tensors, read = read_tensors(path), {}
    for name, stored in names.items():
        tensor = tensors.get(stored)
        if tensor is None or tuple(tensor.shape) != shapes[name] or not tensor.is_floating_point():
            raise RankOneError(f"'{path}' has no {stored} of shape {list(shapes[name])}: train it anew.")
        read[name] = tensor
    return read
