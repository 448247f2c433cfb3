"""What a server understands of a request: OpenAI-compatible servers differ, and say so when they refuse."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import JsonValue


@dataclass(frozen=True)
class Dialect:
    """The optional parts of a request; what a server refuses by name is left out from then on."""

    response_format: str = "json_schema"
    cap: str = "max_tokens"
    temperature: bool = True

    def after(self, complaint: str) -> Dialect | None:
        """The dialect to try after a 400 that says `complaint`; None if it is about something else."""
        words = complaint.lower()
        if self.cap == "max_tokens" and "max_completion_tokens" in words:
            return replace(self, cap="max_completion_tokens")
        if self.temperature and "temperature" in words:
            return replace(self, temperature=False)
        if any(w in words for w in ("response_format", "json_schema", "json_object", "schema", "grammar")):
            following = {"json_schema": "json_object", "json_object": "none"}.get(self.response_format)
            return replace(self, response_format=following) if following else None
        return None

    def fields(self, name: str, schema: JsonValue, reply_tokens: int) -> dict[str, JsonValue]:
        """The fields of a request that depend on the dialect; the schema is of the reply's JSON, under `name`."""
        fields: dict[str, JsonValue] = {self.cap: reply_tokens}
        if self.temperature:
            fields["temperature"] = 0
        if self.response_format == "json_schema":
            described: JsonValue = {"name": name, "strict": True, "schema": schema}
            fields["response_format"] = {"type": "json_schema", "json_schema": described}
        elif self.response_format == "json_object":
            fields["response_format"] = {"type": "json_object"}
        return fields
