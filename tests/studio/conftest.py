"""One studio on the built-in model for all tests of the room that do not change what others see."""

from __future__ import annotations

import pytest
from tests.studio.serving import Served, studio


@pytest.fixture(scope="session")
def served(tmp_path_factory) -> Served:
    """A running studio with an empty workspace."""
    with studio(tmp_path_factory.mktemp("workspace")) as running:
        yield running
