"""Shared fixtures: a fixed seed, and a small tokenizer trained on the built-in corpus."""

from __future__ import annotations

import atexit
import gc
import os
from typing import TYPE_CHECKING

from rankone.runtime.quiet import QUIET

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything imports huggingface_hub
os.environ.update({**QUIET, **os.environ})  # before transformers: the command line runs inside this process
# Beside other workers each has one core, and so do the processes it starts: threads that share one wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
    # The last step of a worker, whose exit status nobody reads: taking down a million objects one by one takes seconds.
    atexit.register(os._exit, 0)

import pytest
from hypothesis import settings

# PyTorch and transformers are imported by the fixtures: what starts the workers needs neither.
if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from rankone.text.sources.builtin import BuiltinCorpus

settings.register_profile("rankone", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("rankone")
THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))

# What is imported and collected stays: searching it for cycles would take half the time until the first test.
gc.disable()
atexit.register(gc.unfreeze)  # DuckDB reports at the end what a search would have found


# Files of one test that take as long as the twenty short ones which are handed out with them, last of all: these go first,
# so that no worker ends with both while the other one waits.
LONG = ("test_kill.py", "test_saved.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers get files with as many tests in the order in which they are collected."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """From here on what the tests make is searched, and that alone."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    import torch

    torch.default_generator.manual_seed(0)
    if (
        torch.cuda.is_initialized()
    ):  # else torch.manual_seed keeps a trace of its caller for each device there could be
        torch.cuda.manual_seed_all(0)
    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session")
def corpus() -> BuiltinCorpus:
    """The corpus inside the package."""
    from rankone.text.sources.builtin import BuiltinCorpus

    return BuiltinCorpus()


@pytest.fixture(scope="session")
def tokenizer(corpus: BuiltinCorpus) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 512 entries over English, German and code."""
    from rankone.models.tokenizer import train_tokenizer

    text = [d for domain in ("en", "de", "code") for d in corpus.documents(domain, "train")]
    return train_tokenizer(text, vocab_size=512, max_length=100_000)


@pytest.fixture
def here(monkeypatch):
    """Verify exports in this process: a fresh one costs seconds, and a few tests start one."""
    from tests.consuming import consume_here

    consume_here(monkeypatch)


@pytest.fixture(scope="session")
def serious():
    """What axe-core finds on a page (its source, whether dark), in one browser for all of them."""
    from tests.browser import Axe

    axe = Axe()
    yield axe.serious
    axe.close()
