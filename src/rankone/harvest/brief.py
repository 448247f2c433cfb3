"""A small harvest for the length of a task: on training text, in a temporary folder that goes with it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting.combine import combine
from rankone.harvest.reading.store import HarvestStore
from rankone.harvest.run import harvest
from rankone.runtime.scratch import Scratch
from rankone.workspace import Workspace

# Enough for a statistical label: the share of a kind among so many draws is known to a tenth.
EXAMPLES = 100


def brief_harvest(workspace: Workspace, domains: Sequence[str], tokens: int) -> HarvestStore:
    """Harvest `tokens` training tokens of each domain; the files are removed when the store is no longer used."""
    config = HarvestConfig(
        domains=tuple(domains), tokens=tokens, context=workspace.context, examples=EXAMPLES
    )
    folder = Scratch("harvest")
    run, out = folder.path / "run", folder.path / "harvest"
    harvest(workspace, config, run)
    store = HarvestStore.open(combine([run], out), workspace.decomposition)
    weakref.finalize(store, folder.close)
    return store
