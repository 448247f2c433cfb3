"""Records: what was measured, as frozen models with a field for each figure."""

from __future__ import annotations

from pydantic import ConfigDict, JsonValue

from rankone.core.config import Config


class Record(Config):
    """Base of what is measured and saved; unlike a recipe it may hold infinities: a run that failed is told as it is."""

    model_config = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="constants")

    def plain(self) -> dict[str, JsonValue]:
        """Its values as JSON holds them."""
        return self.model_dump(mode="json")
