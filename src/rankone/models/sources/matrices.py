"""The matrices of a model's folder, read from the headers of its weights: nothing is loaded, and PyTorch is not needed."""

from __future__ import annotations

from pathlib import Path

from rankone.core.artifact import read_json
from rankone.core.errors import RankOneError
from rankone.models.anatomy import base_of, in_order, layer_number
from rankone.runtime.headers import read_header

Shapes = dict[str, tuple[int, int]]
"""Shape of a matrix, as it is stored, by the path of its module."""


def matrices_in(folder: Path) -> Shapes | None:
    """The matrices of a model's folder; None where headers do not give the paths of their modules for sure.

    They do where the architecture is known to store its weights under them.
    """
    try:
        base = base_of(str(read_json(folder / "config.json").get("model_type")))
        headers = [read_header(file) for file in sorted(folder.glob("*.safetensors"))]
    except RankOneError:
        return None  # what opens the model says it better
    if base is None:
        return None
    shapes: Shapes = {}
    for name, entry in ((name, entry) for header in headers for name, entry in header.items()):
        if name.endswith(".weight") and len(entry.shape) == 2:
            shapes[_module(name.removesuffix(".weight"), base)] = (entry.shape[0], entry.shape[1])
    return shapes or None


def inside_blocks(shapes: Shapes) -> list[str]:
    """Paths of the matrices inside numbered blocks, in the order of the blocks: what can be sites."""
    return sorted((path for path in shapes if _is_inside(path)), key=in_order)


def require_layer(layer: int, shapes: Shapes) -> None:
    """RankOneError for the number of a block that a model with these matrices does not have."""
    last = max((layer_number(path) for path in shapes), default=-1)
    if last >= 0 and layer > last:
        raise RankOneError(f"there is no attention in layer {layer}: the model has layers 0 to {last}.")


def _module(path: str, base: str) -> str:
    """The path with the base model before it, where a block's is stored without."""
    return f"{base}.{path}" if base and _is_inside(path) and not path.startswith(f"{base}.") else path


def _is_inside(path: str) -> bool:
    return any(word.isdecimal() for word in path.split("."))
