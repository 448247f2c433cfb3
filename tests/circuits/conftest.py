"""A graph of a tiny model, made and verified once for all tests of the room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.decomposition.tiny import decomposed
from tests.helpers import simple_mlp, tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.circuits.build import Made, make_graph
from rankone.circuits.config import GraphConfig
from rankone.circuits.records import Verification
from rankone.circuits.storage import save_graph
from rankone.circuits.verification.verify import verified
from rankone.decomposition.model import Decomposition


@dataclass(frozen=True)
class Case:
    """A model, its parts, a graph of “the cat”, its verification, and where it is saved."""

    model: PreTrainedModel
    words: PreTrainedTokenizerBase
    parts: Decomposition
    made: Made
    account: Verification
    path: Path


@pytest.fixture(scope="session")
def case(tmp_path_factory) -> Case:
    """Three parts of each site at each position."""
    model, words = simple_mlp(), tokenizer()
    parts = decomposed(model)
    config = GraphConfig(nodes="strongest", per_site=3, random_graphs=3)
    made = make_graph(model, words, parts, "the cat", config)
    account = verified(parts, made, checked=6)
    path = save_graph(made.graph, tmp_path_factory.mktemp("graph") / "g", account)
    return Case(model, words, parts, made, account, path)
