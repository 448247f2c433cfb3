"""What becomes of each causal class: everything is right, it is refused by name, or no tiny one can be built.

`python -m tests.soundness.verdicts [TYPE…]` prints the table as JSON lines; `classes.jsonl` is what it printed for the
pinned transformers.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
from safetensors.torch import load_file
from tests.helpers import random_edit, snapshot, tokenizer
from tests.soundness.every_class import CLASSES, VOCAB, build

from rankone.core.errors import RankOneError
from rankone.edits import consumption
from rankone.edits.export import export_adapter, export_checkpoint
from rankone.edits.lowrank import LowRankEdit
from rankone.models.loading import load_model
from rankone.models.sites import find_sites
from rankone.models.soundness import require_causal

# Of the largest logit, or of one where that is less.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Verdict:
    """right, refused (with the reason), an adapter refused beside a right checkpoint, wrong, or not built."""

    kind: str
    reason: str = ""
    off: float = 0.0


class Reader:
    """The process of plain_reader.py, for the length of a `with`."""

    def __enter__(self) -> Reader:
        command = [
            sys.executable,
            "-I",
            str(Path(__file__).with_name("plain_reader.py")),
            str(consumption._SCRIPT),
        ]
        self._process = subprocess.Popen(
            [*command, json.dumps(consumption._package_paths())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, **asked: object) -> str | None:
        """None when it went well, else its last line of error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def exports(self):
        """Exports in this block are read by this process instead of one of their own."""
        return patch.object(
            consumption, "run_consumer", lambda instructions, _: self.ask(consume=str(instructions))
        )


def judged(model_type: str, folder: Path, reader: Reader) -> Verdict:
    """Try everything on a tiny model of the class."""
    try:
        model = build(model_type)
    except Exception as error:
        return Verdict("not built", f"{type(error).__name__}: {_first(error)}")
    try:
        require_causal(model)
        find_sites(model)
    except RankOneError as error:
        return Verdict("refused", _first(error))
    edit = random_edit(model, {"*": 2}).bind(model)
    try:
        _stays_whole(model, edit)
        return _exports(model, edit, folder, reader)
    except AssertionError as error:
        return Verdict("wrong", _first(error))


def _first(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _stays_whole(model, edit: LowRankEdit) -> None:
    """Every parameter and buffer is back to the bit after an edit, and the edit did something."""
    ids = _ids()
    before, logits = {**snapshot(model), **_buffers(model)}, _logits(model, ids)
    with edit.applied(model):
        assert not torch.equal(_logits(model, ids), logits), "the edit changes no logit"
    after = {**snapshot(model), **_buffers(model)}
    assert all(
        torch.equal(
            after[name],
            value,
        )
        or after[name].isnan().any()
        for name, value in before.items()
    )
    assert torch.equal(_logits(model, ids), logits), "logits differ after the edit was removed"


def _exports(model, edit: LowRankEdit, folder: Path, reader: Reader) -> Verdict:
    """Checkpoint and adapter, read by plain tools, against weights that were changed by hand."""
    model.save_pretrained(folder / "base")
    try:
        loaded = load_model(folder / "base")
    except RankOneError as error:
        return Verdict("refused", _first(error))
    assert torch.equal(_logits(loaded, _ids()), _logits(model, _ids())), (
        "the saved model loads to other logits"
    )
    wanted = _by_hand(model, edit)
    off = 0.0
    with reader.exports():
        try:
            export_checkpoint(model, tokenizer(), edit, folder / "checkpoint")
        except RankOneError as error:
            return Verdict("refused", _first(error))
        off = max(off, _off(reader, wanted, folder, folder / "checkpoint", None))
        try:
            export_adapter(model, edit, folder / "adapter", str(folder / "base"))
        except RankOneError as error:
            assert off <= TOLERANCE, f"off by {off:.2g}"
            return Verdict("checkpoint only", _first(error).replace(str(folder), ""), off)
        off = max(off, _off(reader, wanted, folder, folder / "base", folder / "adapter"))
    assert off <= TOLERANCE, f"off by {off:.2g}"
    return Verdict("right", "", off)


def _off(reader: Reader, wanted: torch.Tensor, folder: Path, base: Path, adapter: Path | None) -> float:
    out = folder / "out.safetensors"
    said = reader.ask(
        plain=str(base), adapter=None if adapter is None else str(adapter), ids=_ids().tolist(), out=str(out)
    )
    assert said is None, f"plain tools: {said}"
    scale = max(1.0, float(wanted.abs().max()))
    return max(float((read - wanted).abs().max()) for read in load_file(out).values()) / scale


def _by_hand(model, edit: LowRankEdit) -> torch.Tensor:
    """Logits with W + write read in the weights, put there without the edit's own code."""
    kept = {}
    with torch.no_grad():
        for site in find_sites(model):
            if site.name in edit.factors:
                weight, (write, read) = site.module.weight, edit.factors[site.name]
                kept[site.name] = weight.clone()
                change = (write.double() @ read.double()).float()
                weight += change.T if site.transposed else change
        logits = _logits(model, _ids())
        for site in find_sites(model):
            if site.name in kept:
                site.module.weight.copy_(kept[site.name])
    return logits


def _buffers(model) -> dict[str, torch.Tensor]:
    return {f"buffer {name}": value.detach().clone() for name, value in model.named_buffers()}


def _ids() -> torch.Tensor:
    return torch.randint(3, VOCAB, (3, 12), generator=torch.Generator().manual_seed(1))


def _logits(model, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits.float()


def main(types: list[str]) -> None:
    with Reader() as reader:
        for model_type in types or CLASSES:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    found = judged(model_type, Path(folder), reader)
                except Exception as error:
                    found = Verdict("wrong", f"{type(error).__name__}: {_first(error)}")
            sys.stdout.write(
                json.dumps([model_type, CLASSES[model_type], found.kind, found.reason, f"{found.off:.1g}"])
                + "\n"
            )
            sys.stdout.flush()
            gc.collect()


if __name__ == "__main__":
    main(sys.argv[1:])
