"""Replies of a model kept on disk, one small file each, so that no question is paid for twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from rankone.core.artifact import write_json


class Replies:
    """A folder of replies by the hash of what was asked: model, messages, schema, cap of the reply.

    The address of the server is no part of the key, so that a run goes on when the same model is served elsewhere.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    @staticmethod
    def key(question: Mapping[str, JsonValue]) -> str:
        """SHA-256 of the question, in hex."""
        return hashlib.sha256(json.dumps(dict(question), sort_keys=True).encode()).hexdigest()

    def get(self, key: str) -> JsonValue:
        """The reply stored under a key; None if there is none or its file is damaged."""
        try:
            return json.loads(self._path(key).read_text("utf8"))["reply"]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, key: str, reply: JsonValue, usage: tuple[int, int]) -> None:
        """Store a reply that passed its checks, with the tokens in and out that it took."""
        write_json(self._path(key), {"reply": reply, "tokens_in": usage[0], "tokens_out": usage[1]})

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
