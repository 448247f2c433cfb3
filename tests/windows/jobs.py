"""Verbs under Windows' rules, in a process of its own: prints 'JOB: ok', or 'JOB: ' and what Windows would have refused."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import huggingface_hub.hf_file_system  # noqa: F401  its part for Unix finds what it needs
from tests.standin.verbs import PART, VERBS, World
from tests.tiny import RECIPE
from tests.windows.rules import Rules, below

from rankone.edits.lowrank import LowRankEdit


def _resumed(world: World) -> None:
    """A run that was cut off reads its checkpoint and removes it when the next one stands."""
    short = {**RECIPE, "compile": False, "rows": 2, "context": 16, "steps": 4}
    asked = {"recipe": world.recipe("long", short), "out": world.folder / "long", "evidence": "none"}
    assert world.opened().decompose(**asked, stop_after=2).state == "stopped"
    assert world.opened().decompose(**asked).state == "finished"


def _adapter(world: World) -> None:
    """An edit as PEFT's files; saved, read, and saved again where it was read."""
    opened, saved = world.opened(), world.folder / "saved"
    edit = opened.scale({PART: -4.0})
    edit.to_peft(world.folder / "peft")
    edit.save_pretrained(saved)
    LowRankEdit.from_pretrained(saved).save_pretrained(saved, replace=True)


def _merge(world: World) -> None:
    """A harvest in two shards, put together."""
    runs = [world.folder / f"part{i}" for i in range(2)]
    for i, run in enumerate(runs):
        asked = {"tokens": 60, "domains": ["de", "en"], "out": world.folder / "whole", "run": run}
        world.opened().harvest(**asked, shard=f"{i}/2")
    world.opened().merge_harvest(runs, out=world.folder / "whole")


def _distance(world: World) -> None:
    assert world.opened().cluster_distance(world.clusters, world.clusters)


def _graph_export(world: World) -> None:
    asked = {"viewer": world.folder / "viewer", "page": world.folder / "graph.html"}
    world.opened().graph_export(world.graph, **asked)


JOBS: dict[str, Callable[[World], object]] = {
    **VERBS,
    "resumed": _resumed,
    "adapter": _adapter,
    "merge-harvest": _merge,
    "cluster-distance": _distance,
    "graph-export": _graph_export,
    "sites": lambda world: world.opened().sites(),
    "label": lambda world: world.labels,
    "search": lambda world: world.opened(harvest=world.harvest, labels=world.labels).search("the"),
    "fetch": lambda world: world.opened().fetch("mini", out=world.folder / "fetched"),
}


def main(folder: Path, wanted: Sequence[str] = ()) -> None:
    """Run all jobs, or those named, whatever becomes of each."""
    if not wanted or "lm-eval" in wanted:
        import lm_eval.evaluator  # noqa: F401  likewise
    folder.mkdir(exist_ok=True)
    world, rules = World(folder / "world", device="cpu"), Rules(folder)
    rules.keep()
    for name in wanted or JOBS:
        rules.broken.clear()
        try:
            JOBS[name](world)
        except Exception as error:
            traceback.print_exc()
            rules.broken.append(f"{type(error).__name__}: {str(error).splitlines()[0]}")
        wrong = [*rules.broken, *below(folder)]
        sys.stdout.write(f"{name}: {wrong[0] if wrong else 'ok'}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
