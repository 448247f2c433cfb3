"""Values that pydantic takes for what was not meant: true for the number 1, an empty path for the current folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from rankone.core.validation.complaints import Place


def misread(given: object, made: object, place: Place = ()) -> Iterator[ErrorDetails]:
    """Every value that was read as something else, as pydantic says its own errors; made: what `given` was read as."""
    if isinstance(made, int | float) and not isinstance(made, bool):
        if _is_truth(given):
            yield _error(place, "must be a number, not true or false: write 1 or 0", given)
    elif isinstance(made, Path):
        if given == "":
            yield _error(place, "is empty: name a path, or write . for the current folder", given)
    elif isinstance(given, Mapping):
        held = dict(made) if isinstance(made, BaseModel) else made
        if isinstance(held, Mapping):
            values = cast("Mapping[str, object]", held)
            for key, value in cast("Mapping[str, object]", given).items():
                if key in values:
                    yield from misread(value, values[key], (*place, key))
    elif isinstance(given, list | tuple) and isinstance(made, list | tuple):
        pairs = zip(cast("Sequence[object]", given), cast("Sequence[object]", made), strict=False)
        for number, (value, read) in enumerate(pairs):
            yield from misread(value, read, (*place, number))


def _is_truth(value: object) -> bool:
    """A bool, NumPy's and PyTorch's too."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")).removeprefix("torch.") == "bool"


def _error(place: Place, said: str, given: object) -> ErrorDetails:
    return {"type": "misread", "loc": place, "msg": said, "input": given}
