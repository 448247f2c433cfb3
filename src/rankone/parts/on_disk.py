"""Which parts artefacts and weights hold, read from their headers: a name that is not there is refused without PyTorch."""

from __future__ import annotations

from pathlib import Path

from rankone.core.artifact import read_json
from rankone.core.errors import RankOneError, nearest
from rankone.models.anatomy import in_attention
from rankone.models.sources.matrices import Shapes, inside_blocks
from rankone.parts.naming import located, numbers_key, require_written
from rankone.parts.origins import SavedParts, origin_in
from rankone.runtime.headers import read_header, read_numbers

_TENSORS = "tensors.safetensors"
# Sources whose parts are numbered by the coordinates inside a block; the others have as many as the rank at most.
_COORDINATES = ("neuron", "channel")

Numbers = dict[str, list[int]]
"""By site the numbers in its parts' names."""


def saved_numbers(folder: Path) -> dict[str, Numbers]:
    """Those of saved parts by origin; empty where files cannot be read, which is said better by what opens them."""
    try:
        sets = SavedParts.checked(read_json(folder / "config.json"), str(folder)).sets
    except RankOneError:
        return {}
    keys = {one.origin: {site: numbers_key(site, one.origin) for site in one.sites} for one in sets}
    return _read(folder / _TENSORS, keys)


def decomposed_numbers(folder: Path) -> dict[str, Numbers]:
    """Those of a decomposition's folder, by the one origin of its parts; empty as in `saved_numbers`."""
    try:
        config = read_json(folder / "config.json")
    except RankOneError:
        return {}
    sites, origin = config.get("sites"), config.get("origin") or ""
    if not isinstance(sites, list) or not isinstance(origin, str):
        return {}
    return _read(folder / _TENSORS, {origin: {str(site): numbers_key(str(site)) for site in sites}})


def require_held(name: str, origin: str, numbers: Numbers) -> None:
    """RankOneError for a part that a set of this origin does not have."""
    located(name, origin, list(numbers), numbers.__getitem__)


def require_in_weights(name: str, shapes: Shapes) -> None:
    """RankOneError for a part that cannot follow from weights of these shapes: another site, channels of an MLP or
    neurons of attention, a number too high.

    A number is compared with the longer side of a matrix, or for directions with the shorter.
    """
    site, number = require_written(name)
    if site not in shapes:
        raise RankOneError(f"no site matches '{site}'.{nearest(site, inside_blocks(shapes))}")
    coordinates = origin_in(name) in _COORDINATES
    if coordinates and (fits := "channel" if in_attention(site) else "neuron") != origin_in(name):
        raise RankOneError(
            f"'{site}' has no {origin_in(name)} parts, but {fits} parts: write {fits}/{site}:{number}."
        )
    size = max(shapes[site]) if coordinates else min(shapes[site])
    if number >= size:
        what = "coordinate" if coordinates else f"{origin_in(name)} part"
        raise RankOneError(f"'{site}' has no {what} {number}: it has {size}, from 0 to {size - 1}.")


def _read(file: Path, keys: dict[str, dict[str, str]]) -> dict[str, Numbers]:
    try:
        header = read_header(file)
        return {
            origin: {site: read_numbers(file, header[key]) for site, key in by_site.items()}
            for origin, by_site in keys.items()
        }
    except (RankOneError, OSError, KeyError):
        return {}
