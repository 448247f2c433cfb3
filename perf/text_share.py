"""A share of a text folder's training text, small enough to travel to a machine that has no more.

    python -m perf.text_share DIR OUT --recipe decompose-mini-6 --tokens 15e6

Pieces of DIR are drawn in the proportions of the recipe's mixture, equally from the sources that it names, by a generator
of seed 0: the same DIR gives the same folder. OUT holds one file a domain, and text of other splits is not in it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import yaml
import zstandard

from rankone.decomposition.config import DecomposeConfig
from rankone.recipes import recipe_file
from rankone.text.mixture import mixture_pieces
from rankone.text.sources.directory import DirectoryCorpus

LEVEL = 22
# Pieces of code hold blank lines.
BETWEEN = "\n\f\n"


def main() -> None:
    """Draw the pieces and write them, a file a domain."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipe", type=recipe_file, required=True)
    parser.add_argument("--tokens", type=float, required=True)
    asked = parser.parse_args()
    mixture = DecomposeConfig.model_validate(yaml.safe_load(asked.recipe.read_text("utf8"))).mixture
    pieces = mixture_pieces(
        DirectoryCorpus(asked.text), mixture, int(asked.tokens), np.random.default_rng(0), "train"
    )
    for domain, drawn in pieces.items():
        folder = asked.out / domain
        folder.mkdir(parents=True)
        packed = zstandard.compress(BETWEEN.join(drawn).encode(), LEVEL)
        (folder / "share.train.txt.zst").write_bytes(packed)
        print(f"{domain}: {len(drawn):,} pieces, {len(packed) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
