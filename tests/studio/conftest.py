"""One studio on the built-in model for all tests of the room that do not change what others see."""

from __future__ import annotations

import pytest
from tests.studio.serving import Served, studio
from tests.tiny import rankone, write_pair


@pytest.fixture(scope="session")
def served(tmp_path_factory) -> Served:
    """A running studio with an empty workspace."""
    with studio(tmp_path_factory.mktemp("workspace")) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium."""
    from tests.studio.browsing import chromium  # needs Playwright, which other tests do not

    with chromium() as made:
        yield made


@pytest.fixture
def page(browser, served: Served):
    """A page on the studio; at its end nothing has been said on the console and nothing has left this machine."""
    from tests.studio.browsing import watched

    yield from watched(browser, served)


@pytest.fixture(scope="session")
def pair(tmp_path_factory, tokenizer):
    """A tiny model and an untrained decomposition of all its sites."""
    return write_pair(tmp_path_factory.mktemp("pair"), tokenizer, len(tokenizer))


@pytest.fixture(scope="session")
def harvest(pair, tmp_path_factory):
    """A harvest of the tiny decomposition on a little text."""
    path = tmp_path_factory.mktemp("harvest") / "h"
    done = rankone(
        "harvest", pair[1], "--model", pair[0], "--domains", "de,en", "--tokens", 60, "--out", path
    )
    assert done.code == 0, done.err
    return path
