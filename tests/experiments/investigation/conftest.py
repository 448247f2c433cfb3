"""The one world that the tests of this folder share."""

from __future__ import annotations

import pytest
from tests.experiments.investigation.world import World, made


@pytest.fixture(scope="session")
def world(tokenizer, corpus, tmp_path_factory) -> World:
    return made(tokenizer, corpus, tmp_path_factory.mktemp("investigation"))
