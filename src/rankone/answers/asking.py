"""The prompts that a model's habits are looked for with, and the split of each; importable without PyTorch."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from rankone.core.errors import RankOneError
from rankone.text.corpus import Split
from rankone.text.sources.reading import read_documents

# Of four topics two are for training.
_DEALT: tuple[Split, ...] = ("train", "train", "validation", "test")


class Asked(NamedTuple):
    """A prompt and the split that its topic is in."""

    prompt: str
    split: Split


def prompts_to_ask(path: Path | None) -> list[Asked]:
    """The prompts that ship, or the lines of a file, each a topic of its own, dealt to the splits in their order.

    Raises RankOneError for a file with too few, or with one that stands twice.
    """
    if path is None:
        data = json.loads(files("rankone.answers").joinpath("data", "asking.json").read_text("utf8"))
        return [
            Asked(template.format(topic), _DEALT[i % len(_DEALT)])
            for i, topic in enumerate(data["topics"])
            for template in data["templates"]
        ]
    if not path.is_file():
        raise RankOneError(f"there is no file of prompts at '{path}'. Check the path.")
    lines = [
        line.strip() for document in read_documents(path) for line in document.splitlines() if line.strip()
    ]
    if len(lines) < len(_DEALT):
        raise RankOneError(f"'{path}' has {len(lines)} prompts, one a line; give {len(_DEALT)} or more.")
    twice = next((line for line in lines if lines.count(line) > 1), None)
    if twice is not None:
        raise RankOneError(f"the prompt '{twice}' stands twice in '{path}': leave one out.")
    return [Asked(line, _DEALT[i % len(_DEALT)]) for i, line in enumerate(lines)]
