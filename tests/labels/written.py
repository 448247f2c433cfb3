"""Labels by hand, opened as if from an artefact."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from rankone.labels.label import STATISTICAL, Label
from rankone.labels.store import Labels


def written(**labels):
    """Keywords cannot hold colons: `a_0=("German words", 0.5)` labels `a:0`; a third part is the reasoning."""
    return labelled({key.replace("_", ":"): values for key, values in labels.items()})


def labelled(labels):
    """The same from a dictionary of names."""
    found = {
        name: [Label(name, text, confidence, STATISTICAL, " ".join(reason))]
        for name, (text, confidence, *reason) in labels.items()
    }
    return Labels(SimpleNamespace(path=Path("labels")), found)
