"""The consumer of an export: plain transformers and PEFT in a process of their own, which cannot import RankOne.

export.py starts this file by its path, isolated from the current folder (`python -I`), before an export may appear under its
name. It reads one JSON file of instructions and writes logits and what read them:

kind: 'checkpoint' or 'adapter'. path: the export. base: the base model's folder (adapter). tensors: safetensors
with `ids` [rows, length]. out: safetensors to write, `logits` [rows, length, vocab] in fp32 (of an adapter also
`merged`, after PEFT's merge_and_unload). said: JSON to write. trust_code: whether the folder's model code,
written there by RankOne, may run. paths: where packages lie. blocked: packages that cannot be imported.
"""

from __future__ import annotations

import atexit
import gc
import json
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any


class _Blocked(MetaPathFinder):
    """Makes some packages impossible to import, wherever they lie."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Refuse a blocked package; leave all others to the usual finders."""
        del path, target
        if fullname.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"'{fullname}' is not to be imported here", name=fullname)


def _logits(model: Any, ids: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits.float().contiguous()


def _model(folder: str, trust_code: bool) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        output_loading_info=True,
        trust_remote_code=trust_code,
        use_safetensors=True,
        local_files_only=True,
    )
    model, info = loaded
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if info.get(kind):
            raise ValueError(f"{kind.replace('_', ' ')}: {sorted(map(str, info[kind]))[:3]}")
    return model.eval()


def _checkpoint(asked: dict[str, Any], ids: Any) -> dict[str, Any]:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(asked["path"], trust_remote_code=asked["trust_code"], local_files_only=True)
    return {"logits": _logits(_model(asked["path"], asked["trust_code"]), ids)}


def _adapter(asked: dict[str, Any], ids: Any) -> dict[str, Any]:
    from peft import PeftModel

    model = PeftModel.from_pretrained(_model(asked["base"], asked["trust_code"]), asked["path"]).eval()
    logits = _logits(model, ids)
    return {"logits": logits, "merged": _logits(model.merge_and_unload(), ids)}


def _peft_installed() -> bool:
    try:
        import peft  # noqa: F401
    except ImportError:
        return False
    return True


def main(instructions: Path) -> None:
    """Load the export as its user will, and write its logits."""
    asked = json.loads(instructions.read_text("utf8"))
    sys.path.extend(path for path in asked["paths"] if path not in sys.path)
    sys.meta_path.insert(0, _Blocked(asked["blocked"]))
    from safetensors.torch import load_file, save_file

    said = {"engine": "transformers"}
    if asked["kind"] == "adapter":
        said["engine"] = "peft" if _peft_installed() else "none"
    if said["engine"] != "none":
        ids = load_file(asked["tensors"])["ids"]
        read = _adapter if asked["kind"] == "adapter" else _checkpoint
        save_file(read(asked, ids), asked["out"])
    Path(asked["said"]).write_text(json.dumps(said), "utf8")


def _spare_imported() -> None:
    """As rankone/runtime/memory.py, which cannot be imported here: garbage collection skips the libraries."""
    known = len(sys.modules)

    def set_aside(event: str, _: tuple[object, ...]) -> None:
        nonlocal known
        if event == "import" and len(sys.modules) >= known + 100:
            known = len(sys.modules)
            gc.freeze()

    sys.addaudithook(set_aside)
    atexit.register(gc.freeze)


if __name__ == "__main__":
    _spare_imported()
    main(Path(sys.argv[1]))
