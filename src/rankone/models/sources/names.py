"""What the name of a model or decomposition stands for: built in, a directory, or a name on the Hub. Nothing is loaded."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from rankone.core.errors import RankOneError, nearest
from rankone.core.manifest import is_no_model, what_it_is
from rankone.models.sources.known import BUILTIN_MODELS, FETCHABLE
from rankone.runtime import hub
from rankone.text.domains import NAMES

ASSETS = Path(__file__).resolve().parents[2] / "assets"
BUILTIN_DECOMPOSITION = "mini-decomposition"
_PICKLED = ("pytorch_model*.bin", "*.pt", "*.pth")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def resolve(name: str | Path) -> Path | str:
    """The model directory that `name` stands for, or `name` itself where it can only be a Hub name.

    The built-in name (`mini`) comes first; write `./mini` for a directory of that name.
    Raises RankOneError for a path that does not exist or holds no model.
    """
    if str(name) in BUILTIN_MODELS and not isinstance(name, Path):
        return _builtin(name)
    path = Path(name).expanduser()
    if path.is_dir():
        _require_configuration(path)
        return path
    if isinstance(name, str) and not path.exists() and _can_be_hub_name(name):
        return name
    offered = nearest(str(name), list(BUILTIN_MODELS))
    raise RankOneError(f"no model directory at '{name}'. Check the path.{offered}")


def decomposition_folder(name: str | Path) -> Path:
    """The folder that a decomposition's name stands for: that of the built-in one, else the path itself."""
    return ASSETS / name if str(name) == BUILTIN_DECOMPOSITION else Path(name)


def findable(name: str | Path) -> Path | str:
    """`resolve`; RankOneError for a model that is neither here nor to be had: a mistyped name, a Hub out of reach."""
    source = resolve(name)
    if isinstance(source, Path):
        _refuse_pickled(source)
        return source
    if hub.cached(source):
        return source
    if source == BUILTIN_DECOMPOSITION:
        raise RankOneError(f"'{name}' is a decomposition, and a model is needed here: its model is mini.")
    if source in FETCHABLE:
        raise RankOneError(
            f"'{name}' is not here yet: run `rankone fetch {name} --out runs/{name}`, then name that folder."
        )
    builtin = ", ".join(BUILTIN_MODELS)
    if not hub.reachable():
        raise RankOneError(
            f"'{name}' is neither a directory nor a built-in model ({builtin}), and the Hub cannot be reached. Check the "
            f"name or the network.{_slip(source) or _listed(source)}"
        )
    if _slip(source):
        raise RankOneError(
            f"'{name}' is not a built-in model ({builtin}).{_slip(source)} Models of the Hub are OWNER/NAME."
        )
    return source


def _require_configuration(path: Path) -> None:
    """Raise for a folder without a config.json; for one of a GGUF file, with what to do."""
    known = what_it_is(path)
    if (path / "config.json").is_file():
        if is_no_model(path):
            raise RankOneError(f"'{path}' is {known}, but a model is needed here. Check the path.")
        return
    gguf = sorted(file.name for file in path.glob("*.gguf"))
    if gguf:
        raise RankOneError(
            f"'{path}' holds a GGUF file ('{gguf[0]}'), whose matrices are quantised. Load the checkpoint it was made "
            f"from, or write its numbers as one: transformers' from_pretrained('{path}', "
            f"gguf_file='{gguf[0]}').save_pretrained(DIR)."
        )
    if known:
        raise RankOneError(f"'{path}' is {known}, but a model is needed here. Check the path.")
    raise RankOneError(f"'{path}' has no config.json: it is not a model directory. Check the path.")


def _refuse_pickled(path: Path) -> None:
    """Raise, with what to do, for a model directory whose only weights are a pickle."""
    pickled = sorted(file.name for pattern in _PICKLED for file in path.glob(pattern))
    if pickled and not any(path.glob("*.safetensors*")):
        raise RankOneError(
            f"'{path}' holds its weights as a pickle ('{pickled[0]}'), which may run code when it is read. Where you trust "
            f"it, write it as safetensors: transformers' from_pretrained('{path}').save_pretrained(DIR)."
        )


def _slip(name: str) -> str:
    """The built-in name that was meant, where one is near; a model of the Hub has an owner."""
    near = difflib.get_close_matches(name.lower(), BUILTIN_MODELS, n=1, cutoff=0.7) if "/" not in name else []
    return f" Nearest: {near[0]}." if near else ""


def _listed(name: str) -> str:
    """What to do where the name is a language's: a list was meant, and a space written for its comma."""
    return f" Where a list was meant, write commas and no spaces, as de,{name}." if name in NAMES else ""


def _builtin(name: str) -> Path:
    path = ASSETS / name
    if not path.is_dir():
        raise RankOneError(
            f"the built-in model '{name}' is missing from this installation (no '{path}'). "
            "Reinstall RankOne, or name a model directory."
        )
    return path


def _can_be_hub_name(name: str) -> bool:
    """`owner/model` or `model`, unless its first part is a local directory: then it is a mistyped path."""
    return _HUB_NAME.fullmatch(name) is not None and not ("/" in name and Path(name).parent.exists())
