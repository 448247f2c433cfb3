"""Configuration as frozen pydantic models read from YAML; an unknown key is an error that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from rankone.core.errors import RankOneError, nearest

# Of a value in a message; whole recipes may stand where a number should.
_SHOWN = 120


class Config(BaseModel):
    """Base of every configuration: immutable; unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def from_yaml(cls, path: Path | str, **overrides: object) -> Self:
        """Read a recipe; keyword overrides that are not None replace its top-level keys."""
        path = Path(path)
        try:
            values = yaml.safe_load(path.read_text("utf8")) or {}
        except FileNotFoundError:
            raise RankOneError(f"no recipe at '{path}'. Check the path.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise RankOneError(
                f"cannot read the recipe '{path}' ({error}). It must be YAML in UTF-8."
            ) from error
        except yaml.YAMLError as error:
            said = " ".join(str(error).split())
            raise RankOneError(f"recipe '{path}' is no valid YAML: {said}. Mend the file.") from error
        if not isinstance(values, dict):
            raise RankOneError(
                f"recipe '{path}' holds no `key: value` pairs at its top level. Check the file."
            )
        values.update({k: v for k, v in overrides.items() if v is not None})
        return cls.checked(values, str(path))

    @classmethod
    def checked(cls, values: dict[str, object], where: str) -> Self:
        """Validate `values`; errors name the field, the value and the place they came from."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            said = [_said(dict(e), list(cls.model_fields)) for e in error.errors()]
            raise RankOneError(f"{where}: " + "; ".join(said)) from error


def _said(error: dict[str, Any], fields: list[str]) -> str:
    """One problem: the field and its value; what is wrong between fields names them itself."""
    said, place = error["msg"].removeprefix("Value error, "), error["loc"]
    if not place:
        return said
    given = repr(error["input"])
    given = given if len(given) <= _SHOWN else given[:_SHOWN] + "…"
    unknown = error["type"] == "extra_forbidden" and len(place) == 1
    hint = nearest(str(place[0]), fields) if unknown else ""
    return f"{'.'.join(map(str, place))}: {said} (got {given}){'.' if hint else ''}{hint}"
