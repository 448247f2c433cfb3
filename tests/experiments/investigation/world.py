"""A tiny model with a decomposition and a harvest of hostile text, made once for the tests of studies and checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from tests.harvest.counting.test_plan import Texts
from tests.tiny import RECIPE, tiny_model

from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.init.start import new_decomposition
from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting.combine import combine
from rankone.harvest.reading.store import HarvestStore
from rankone.harvest.run import harvest
from rankone.workspace import Workspace

HOSTILE = "<script>alert(1)</script> \x1b[31m[bold]x[/bold] ‮ </table> "
DOMAINS = ("de", "<b>en", "code")


@dataclass(frozen=True)
class World:
    """What a study needs."""

    model: Any
    tokenizer: Any
    decomposition: Any
    corpus: Any
    store: HarvestStore

    @property
    def workspace(self) -> Workspace:
        """The model with its decomposition and text."""
        return Workspace(self.model, self.tokenizer, self.corpus, self.decomposition)


def made(tokenizer, corpus, folder, seed=4) -> World:
    """A world whose importances vary; every domain has some hostile text."""
    torch.manual_seed(seed)
    model = tiny_model(len(tokenizer))
    decomposition = new_decomposition(model, DecomposeConfig.model_validate(RECIPE))
    decomposition = decomposition.eval().requires_grad_(False)
    decomposition.importance.head.bias.add_(torch.randn(decomposition.total) - 0.5)
    text = Texts(
        **{
            name: [first[:60] + HOSTILE, *others]
            for name, own in zip(DOMAINS, ("de", "en", "code"), strict=True)
            for first, *others in [corpus.documents(own, "train", 2000)]
        }
    )
    config = HarvestConfig(domains=DOMAINS, tokens=150, context=24, examples=50, window=4, top_tokens=5)
    harvest(Workspace(model, tokenizer, text, decomposition), config, folder / "run")
    combine([folder / "run"], folder / "out")
    return World(model, tokenizer, decomposition, text, HarvestStore.open(folder / "out", decomposition))
