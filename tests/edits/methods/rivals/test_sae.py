"""Edits by a sparse coder: trained by the library, latents by hand, what each edit changes by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import probe, simple_mlp

from rankone.core.errors import RankOneError
from rankone.edits.adapters import adapted
from rankone.edits.methods.kind import Target
from rankone.edits.methods.registry import kind_named
from rankone.edits.methods.rivals.sae import Latent, language_latents
from rankone.edits.methods.rivals.sparse_coder import (
    mean_activations,
    new_coder,
    read_coder,
    site_outputs,
    train_coder,
)
from rankone.models.sites import weight_of
from rankone.text.blocks import Blocks

sparse_coder = pytest.importorskip("sparsify.sparse_coder")
SITE = "h.1.mlp.down_proj"


@pytest.fixture(scope="module")
def model():
    return simple_mlp()


@pytest.fixture(scope="module")
def texts():
    ids = {"de": probe(2, 9), "en": probe(3, 8, seed=1)}
    return {domain: Blocks(rows, torch.ones_like(rows, dtype=torch.bool)) for domain, rows in ids.items()}


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("sae")
    width = weight_of_site(model).shape[0]
    new_coder(width, 24, 4, 0).save_to_disk(out / SITE)
    return out


def weight_of_site(model):
    return model.get_submodule(SITE).weight


@pytest.fixture(scope="module")
def target(model, texts, folder):
    parts = decomposed(model, "random")
    return Target(model, parts, f"{SITE}:3", texts=lambda: texts, sae=str(folder))


def test_training_explains_more_and_touches_no_global_seed():
    generator = torch.Generator().manual_seed(0)
    atoms = torch.randn(6, 8, generator=generator)
    draws = torch.rand(120, 64, 6, generator=generator) * (torch.rand(120, 64, 6, generator=generator) < 0.3)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    coder = new_coder(8, 16, 3, seed=1)
    assert torch.equal(torch.rand(1), expected)
    shares = list(train_coder(coder, [d @ atoms for d in draws], 0.01))
    assert len(shares) == 120
    assert sum(shares[-10:]) < 0.5 * sum(shares[:10])
    torch.testing.assert_close(coder.W_dec.norm(dim=1), torch.ones(16), rtol=1e-4, atol=1e-4)


def test_on_a_processor_training_does_without_kernels_of_a_gpu(monkeypatch):
    def fails(*_):
        raise RuntimeError("0 active drivers ([]). There should only be one.")

    monkeypatch.setattr(sparse_coder, "decoder_impl", fails)
    assert len(list(train_coder(new_coder(8, 16, 3, seed=1), [torch.randn(64, 8)], 0.01))) == 1


def test_the_latents_of_one_language_by_hand():
    means = torch.tensor([[0.5, 0.9, 0.4], [0.0, 0.9, 0.2], [0.2, 0.8, 0.0]])
    assert language_latents(means, 3) == [0, 2, 1]  # ν: .4, .05, .3


def test_means_are_over_real_positions(model, texts, folder):
    coder = read_coder(folder, model)
    valid = texts["de"].valid.clone()
    valid[1, 4:] = False
    found = mean_activations(model, coder, {"de": Blocks(texts["de"].ids, valid)})[0]
    output = site_outputs(model, coder.site, texts["de"].ids).unflatten(0, texts["de"].ids.shape)
    kept = torch.cat([output[0], output[1, :4]])
    top = coder.coder.encode(kept)
    dense = torch.zeros(len(kept), 24).scatter(1, top.top_indices, top.top_acts)
    torch.testing.assert_close(found, dense.mean(0), rtol=1e-4, atol=1e-6)


def test_switching_a_latent_off_takes_its_decoded_share(model, texts, folder):
    coder = read_coder(folder, model)
    output = site_outputs(model, coder.site, texts["de"].ids)
    top = coder.coder.encode(output)
    latent = int(top.top_indices.flatten().mode().values)
    method = Latent(coder, latent, 0.0)
    seen = []
    handle = coder.site.module.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        model(texts["de"].ids)
    handle.remove()
    x = seen[0].flatten(0, 1).unsqueeze(0)
    change = method.change(SITE, {"alpha": torch.tensor([[0.0]])}, x)[0]
    active = (top.top_acts * (top.top_indices == latent)).sum(-1)
    assert (active > 0).any()
    assert (active == 0).any()
    torch.testing.assert_close(change, -active.unsqueeze(1) * coder.coder.W_dec[latent], rtol=1e-4, atol=1e-5)
    with torch.no_grad(), adapted(model, method, {"alpha": torch.tensor([[0.0]])}, 1):
        model(texts["de"].ids)
    with pytest.raises(RankOneError, match="'sae_baked' is one"):
        method.edit({"alpha": torch.tensor([[0.0]])}, 0)


def test_ablated_directions_are_not_written_any_more(model, target, folder):
    (method,) = kind_named("sae_ablated").starts(target)
    edit = method.edit({k: p.detach() for k, p in method.start(1, [0]).items()}, 0)
    (factors,) = edit.factors.values()
    left = weight_of_site(model) + factors.write @ factors.read
    coder = read_coder(folder, model)
    means = mean_activations(model, coder, target.texts())
    for latent in language_latents(means, 2):
        direction = coder.coder.W_dec[latent]
        torch.testing.assert_close(direction @ left, torch.zeros(left.shape[1]), rtol=0, atol=1e-4)


def test_a_baked_latent_reads_its_encoder_and_writes_its_decoder(model, target, folder):
    method = kind_named("sae_baked").starts(target)[0]
    coder = read_coder(folder, model)
    (latent,) = language_latents(mean_activations(model, coder, target.texts()), 1)
    (factors,) = method.edit({"alpha": torch.tensor([[0.0]])}, 0).factors.values()
    read = coder.coder.encoder.weight[latent] @ weight_of(coder.site)
    torch.testing.assert_close(
        factors.write @ factors.read, -torch.outer(coder.coder.W_dec[latent], read), rtol=1e-4, atol=1e-5
    )


def test_without_a_coder_the_methods_say_what_they_need(target, tmp_path, model):
    with pytest.raises(RankOneError, match="'sae_baked' needs a sparse coder: name its folder as `sae`"):
        kind_named("sae_baked").starts(replace(target, sae=None))
    with pytest.raises(RankOneError, match="holds 0 sparse coders"):
        read_coder(tmp_path, model)
    new_coder(8, 16, 3, 0).save_to_disk(tmp_path / "h.9.mlp.down_proj")
    with pytest.raises(RankOneError, match=r"is of 'h.9.mlp.down_proj', which is not a site of this model"):
        read_coder(tmp_path, model)
