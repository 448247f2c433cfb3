"""Files of transcoders as circuit-tracer's loader reads them: by a reading of it, and (slow) by its own code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.circuits.circuit_tracer import circuit_tracer

from rankone.circuits.transcoders.coder import Transcoder
from rankone.circuits.transcoders.config import CoderConfig
from rankone.circuits.transcoders.files import read_layer, write_coder
from rankone.core.errors import RankOneError

LAYERS, WIDTH, LATENTS, TOKENS = 3, 5, 7, 11


@pytest.fixture(params=["per-layer", "cross-layer"])
def coder(request):
    """Nothing in it is zero or as it starts."""
    torch.manual_seed(0)
    made = Transcoder(CoderConfig(reach=request.param, latents=LATENTS, k=2), LAYERS, WIDTH)
    for parameter in made.parameters():
        parameter.data.normal_()
    made.get_buffer("threshold").copy_(torch.tensor([0.3, 0.5, 0.7]))
    return made.requires_grad_(False)


@pytest.fixture
def read():
    return torch.randn(LAYERS, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))


def written(coder: Transcoder, read: torch.Tensor) -> torch.Tensor:
    """[layer, token, d] in place of the MLPs."""
    codes = [coder.codes(layer, x, "threshold") for layer, x in enumerate(read)]
    return torch.stack([coder.output(layer, codes) for layer in range(LAYERS)])


def by_the_loaders_rules(folder: Path, read: torch.Tensor) -> torch.Tensor:
    """What circuit-tracer makes of the files: names, shapes and sums of its single_ and cross_layer_transcoder.py."""
    kind = json.loads((folder / "config.yaml").read_text("utf8"))["model_kind"]
    if kind == "transcoder_set":
        layers = [load_file(folder / f"layer_{i}.safetensors") for i in range(len(read))]
        kept = [
            (pre := x @ one["W_enc"].T + one["b_enc"]) * (pre > one["activation_function.threshold"])
            for x, one in zip(read, layers, strict=True)
        ]
        return torch.stack([z @ one["W_dec"] + one["b_dec"] for z, one in zip(kept, layers, strict=True)])
    assert kind == "cross_layer_transcoder"
    assert len(list(folder.glob("W_enc_*.safetensors"))) == len(read)
    out = torch.zeros_like(read)
    for i, x in enumerate(read):
        one = load_file(folder / f"W_enc_{i}.safetensors")
        pre = x @ one[f"W_enc_{i}"].T + one[f"b_enc_{i}"]
        z = pre * (pre > one[f"threshold_{i}"])
        write = load_file(folder / f"W_dec_{i}.safetensors")[f"W_dec_{i}"]
        assert write.shape == (LATENTS, len(read) - i, WIDTH)
        for j in range(i, len(read)):
            out[j] += z @ write[:, j - i]
        out[i] += one[f"b_dec_{i}"]
    return out


def test_the_files_say_what_the_transcoder_does(coder, read, tmp_path):
    write_coder(coder, "mini", tmp_path / "c")
    torch.testing.assert_close(by_the_loaders_rules(tmp_path / "c", read), written(coder, read))


def test_what_was_written_is_read_again(coder, tmp_path):
    write_coder(coder, "mini", tmp_path / "c")
    for layer in range(LAYERS):
        tensors = read_layer(tmp_path / "c", coder.config, LAYERS, WIDTH, layer)
        assert torch.equal(tensors["W_dec"], coder.decoders[layer])
        assert torch.equal(tensors["W_enc"], coder.encoder[layer])
    wider = coder.config.model_copy(update={"latents": LATENTS + 1})
    with pytest.raises(RankOneError, match=r"has no W_enc(_0)? of shape \[8, 5\]: train it anew"):
        read_layer(tmp_path / "c", wider, LAYERS, WIDTH, 0)


@pytest.mark.slow
@pytest.mark.parametrize("lazy", [False, True])
def test_circuit_tracer_reads_them(coder, read, lazy, tmp_path, monkeypatch):
    """Its own loader, by the `config.yaml` that lies beside the files, as after a download."""
    monkeypatch.syspath_prepend(circuit_tracer(tmp_path / "tracer"))
    import huggingface_hub.constants

    # Gone from newer huggingface_hub; asked at import alone.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_ENABLE_HF_TRANSFER", False, raising=False)
    from circuit_tracer.utils import hf_utils  # pyright: ignore[reportMissingImports]

    folder = tmp_path / "c"
    write_coder(coder, "mini", folder)
    monkeypatch.setattr(hf_utils, "hf_hub_download", lambda **asked: str(folder / asked["filename"]))
    monkeypatch.setattr(hf_utils, "snapshot_download", lambda *_, **__: str(folder))
    loaded, about = hf_utils.load_transcoder_from_hub(
        "somebody/transcoders", lazy_encoder=lazy, lazy_decoder=lazy, use_cache=False
    )
    assert about["feature_input_hook"] == "mlp.hook_in"
    features = loaded.encode(read)
    torch.testing.assert_close(loaded.decode(features, read), written(coder, read))
    codes = [coder.codes(layer, x, "threshold") for layer, x in enumerate(read)]
    fired = [[bool((f[:, n] != 0).any()) for n in range(LATENTS)] for f in features]
    assert fired == [one.fired().tolist() for one in codes]
