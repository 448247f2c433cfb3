"""Steps of `config.json`, in artefacts of kind 'components'.

Version 2: what a member costs is the clustering's `rank_penalty`; version 1 called it `alpha`, which is an edit's scale.
"""

from __future__ import annotations

from rankone.core.schemas.schema import Document, Schema


def _second(name: str, document: Document) -> Document:
    config = document.get("config")
    if name != "config.json" or not isinstance(config, dict):
        return document
    renamed = {("rank_penalty" if key == "alpha" else key): value for key, value in config.items()}
    return {**document, "config": renamed}


SCHEMAS = {"components": Schema(2, {1: _second})}
