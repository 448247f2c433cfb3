"""What is run on the stand-in GPU, or on a real one where there is one, in a process of its own: prints 'JOB: ok', or
'JOB: ' and the error."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from tests.decomposition.tiny import decomposed, recipe, target, token_rows
from tests.helpers import VOCAB, llama, simple_mlp
from tests.helpers import tokenizer as small_tokenizer
from tests.standin.tensors import install
from tests.standin.verbs import VERBS, World

from rankone.decomposition import run
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.training.trainer import Trainer
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.config import FitConfig
from rankone.edits.fitting.fit import fit_many
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.run import Run
from rankone.edits.fitting.size import size_edit
from rankone.edits.methods.lora import Lora
from rankone.edits.scales import Scales
from rankone.experiments.measure import edited_cross_entropies
from rankone.subject import Subject
from rankone.text.blocks import Blocks
from rankone.text.sources.builtin import BuiltinCorpus

SEPARATE = {"reconstruction__form": "separate"}
RECIPES = {
    "merged": {},
    "separate": {**SEPARATE, "reconstruction__hidden": 1.0, "adversary__scope": "bsc"},
    "pool": {"adversary__pool": 3, "adversary__lifetime": 2.0, "adversary__segments": 7},
    "corners": {
        "reconstruction__sources": "corners",
        "reconstruction__routing": "mixed",
        "adversary__scope": "c",
    },
    "fresh": {"adversary": {"kind": "fresh", "scope": "sc"}, **SEPARATE},
    "parts": {
        "machine__accumulation": 2,
        "machine__activation_checkpointing": True,
        "minimality__frequency": 0.1,
    },
    "L_p": {"minimality": {"kind": "lp", "sharpness": {"start": 0.7}, "half_life": 2.0, "frequency": 0.1}},
    "residual": {"importance": {"kind": "residual_transformer", "width": 8, "blocks": 1, "heads": 2}},
    **{kind: {"importance": {"kind": kind, "hidden": [5]}} for kind in ("mlp", "vector_mlp", "shared_mlp")},
}


def steps(model, **changes):
    """Warm-up and two steps of a recipe."""
    config = recipe(autocast=True, initialisation="random", **changes)
    model.to("cuda")
    trainer = Trainer(model, new_decomposition(model, config), token_rows(config), config)
    with trainer.installed():
        assert trainer.head is not None
        trainer.warm_up(1)
        told = [trainer.step(step) for step in range(2)]
    assert all(math.isfinite(value) for losses in told for value in losses.values())


def whole_run(folder):
    """Decompose, killed once; then the dead folded, the evidence and the artefact."""
    subject = Subject(target(vocab_size=VOCAB).to("cuda"), small_tokenizer(), BuiltinCorpus())
    given = recipe(steps=4, context=16), subject, folder / "run", folder / "out"
    with patch.object(run, "evidence_text", partial(run.evidence_text, tokens=40)):
        assert run.decompose(*given, ladder=(1, 2), stop_after=2) is None
        assert run.decompose(*given, ladder=(1, 2)) == folder / "out"


def rows(model, count=3, length=12):
    """Token rows on the CPU, where text comes from."""
    ids = torch.randint(
        1, model.config.vocab_size, (count, length), generator=torch.Generator().manual_seed(1)
    )
    return Blocks(ids, torch.arange(length).expand(count, length) > 0)


def fitted(_):
    """Scales and LoRA fitted together, sized, applied and measured."""
    model = target()
    own = decomposed(model).to("cuda")
    model.to("cuda")
    text, aim = rows(model), Aim(forget="de", retain=("en",), chance=math.log(model.config.vocab_size))
    retain = RetainText(model, {"en": text})
    runs = [Run(text, seed, 1.0, 0.1) for seed in range(2)]
    for method in (Scales(own, own.names()[:2]), Lora(model, ["*"])):
        fits = fit_many(model, method, runs, retain, FitConfig(steps=2, autocast=True))
        sized = size_edit(model, fits[1].edit, text, {"en": text}, aim)
        assert math.isfinite(sized.worst)
        assert math.isfinite(edited_cross_entropies(model, fits[1].edit, {"en": text})["en"])


def refusal(folder):
    """The device can say no."""
    for clash in (
        lambda x: x + torch.ones(3),
        lambda x: x @ torch.ones(3),
        lambda x: torch.stack([x, torch.ones(3)]),
    ):
        try:
            clash(torch.ones(3, device="cuda"))
        except RuntimeError:
            continue
        raise AssertionError("a tensor of the CPU went through")
    try:
        torch.ones(3, device="cuda").numpy()
    except TypeError:
        return
    raise AssertionError("values were read without being fetched")


def shapes(_):
    """What is changed in place, or sparse, has the shape and the values that it has on the CPU."""
    rows = torch.arange(6.0).view(2, 3)
    vector = torch.ones(2, device="cuda") @ rows.to("cuda")  # by a matrix, which is squeezed in place
    assert vector.shape == (3,)
    assert vector.tolist() == [3.0, 5.0, 7.0]
    column, places = (torch.arange(count, device="cuda") for count in (3, 2))
    entries = torch.sparse_csr_tensor(column, places, column[:2] * 0.0, (2, 3), check_invariants=False)
    sampled = torch.sparse.sampled_addmm(entries, rows.to("cuda")[:, :2], rows.to("cuda"), beta=0.0)
    assert sampled.values().tolist() == [3.0, 19.0]


JOBS = {
    "refusal": refusal,
    "shapes": shapes,
    **{name: lambda _, own=own: steps(target(), **own) for name, own in RECIPES.items()},
    "late": lambda _: steps(simple_mlp(vocab_size=30), sites=["h.1.*"]),
    "llama": lambda _: steps(llama()),
    "whole run": whole_run,
    "fit": fitted,
}


def main(folder: Path, wanted: Sequence[str] = ()) -> None:
    """Run all jobs, or those named, whatever becomes of each; then those of the verbs."""
    if not torch.cuda.is_available():
        install()
    world = World(folder / "world")
    of_verbs = {name: lambda _, job=job: job(world) for name, job in VERBS.items()}
    for name, job in {**JOBS, **of_verbs}.items():
        if wanted and name not in wanted:
            continue
        try:
            job(folder)
        except Exception as error:
            traceback.print_exc()
            sys.stdout.write(f"{name}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}\n")
        else:
            sys.stdout.write(f"{name}: ok\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
