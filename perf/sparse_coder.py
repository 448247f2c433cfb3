"""Train a sparse autoencoder of what one site writes, on as much text as a decomposition reads, for bench's methods sae_*.

    python -m perf.sparse_coder DIR OUT --recipe decompose-mini-6 --site h.3.mlp.down_proj --tokens 3e6

DIR: a text folder. The mixture is the recipe's. OUT is `sparsify`'s own layout; name it as `sae:` of a benchmark's recipe.
Prints the share of variance that is not explained, on training text as it goes and on validation text at the end.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from rankone.decomposition.config import DecomposeConfig
from rankone.edits.methods.rivals.sparse_coder import new_coder, site_outputs, train_coder
from rankone.models.sites import site_named
from rankone.opening import Opening, OpenOptions
from rankone.recipes import recipe_file
from rankone.text.mixture import mixture_pieces, mixture_rows
from rankone.text.sources.directory import DirectoryCorpus

ROWS, CONTEXT, SHOWN = 16, 128, 100


def main() -> None:
    """Train, measure on validation text, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipe", type=recipe_file, required=True)
    parser.add_argument("--site", required=True)
    parser.add_argument("--tokens", type=float, required=True)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--latents", type=int, default=2048)
    parser.add_argument("--active", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    asked = parser.parse_args()
    opening = Opening(OpenOptions.checked({"model": asked.model}, "sparse_coder"))
    space = opening.bare
    site = site_named(space.model, asked.site)
    mixture = DecomposeConfig.model_validate(yaml.safe_load(asked.recipe.read_text("utf8"))).mixture

    def outputs(split: str, tokens: int) -> Iterator[Tensor]:
        draw = np.random.default_rng(0)
        pieces = mixture_pieces(DirectoryCorpus(asked.text), mixture, tokens, draw, split)
        rows = mixture_rows(space.tokenizer, pieces, mixture, tokens, CONTEXT, draw)
        for some in torch.from_numpy(rows).long().split(ROWS):
            yield site_outputs(space.model, site, some.to(space.model.device)).cpu()

    coder, clock, shares = new_coder(site.d_out, asked.latents, asked.active, 0), time.monotonic(), []
    for step, share in enumerate(train_coder(coder, outputs("train", int(asked.tokens)), asked.rate)):
        shares.append(share)
        if step % SHOWN == SHOWN - 1:
            print(f"{step + 1} steps: {sum(shares[-SHOWN:]) / SHOWN:.3f} of the variance not explained")
    held = torch.cat(list(outputs("validation", 20_000)))
    with torch.no_grad():
        left = float(coder(held).fvu)
    folder = asked.out / asked.site
    coder.save_to_disk(folder)
    said = {"tokens": asked.tokens, "validation_fvu": left, "seconds": time.monotonic() - clock}
    (asked.out / "about.json").write_text(json.dumps(said, indent=1), "utf8")
    print(f"{left:.3f} of the variance of validation text not explained; {said['seconds']:.0f} s; {folder}")


if __name__ == "__main__":
    main()
