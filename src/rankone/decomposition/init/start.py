"""Where a run starts: C of every site, initial factors and importance function, or those of a run it goes on from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from rankone.core.artifact import MANIFEST, open_artifact
from rankone.core.errors import RankOneError, nearest
from rankone.decomposition.config import DecomposeConfig, TrainingConfig
from rankone.decomposition.importance.registry import build_importance, importance_class
from rankone.decomposition.init.initialisation import Factors, initial_factors
from rankone.decomposition.init.principal import principal_factors
from rankone.decomposition.model import KIND, Decomposition
from rankone.decomposition.site import site_weight
from rankone.decomposition.storage import restored
from rankone.decomposition.taps import tap_widths
from rankone.decomposition.targeted.batches import streams
from rankone.decomposition.targeted.config import Targeted
from rankone.models.listing import suggested_count
from rankone.models.sites import Site, find_sites
from rankone.models.sources.names import decomposition_folder
from rankone.runtime.checkpoint import last_tensors, pack_module, unpack_module
from rankone.runtime.seeding import seeded


def count_for(site: Site, config: TrainingConfig) -> int:
    """C of a site: the first matching pattern of the recipe, else one per neuron or channel."""
    from fnmatch import fnmatch

    for pattern, count in config.subcomponents.items():
        if fnmatch(site.name, pattern):
            if count < 1:
                raise RankOneError(f"subcomponents['{pattern}'] is {count}; C must be at least 1.")
            return count
    return suggested_count(site)


def new_decomposition(
    target: nn.Module, config: TrainingConfig, rows: np.ndarray | None = None
) -> Decomposition:
    """Initial factors and importance function for the sites the recipe names.

    `rows` are the run's token rows [n, T], which a principal start reads.
    """
    with seeded(config.seed):
        return _started(target, config, rows)


def _started(target: nn.Module, config: TrainingConfig, rows: np.ndarray | None) -> Decomposition:
    sites = find_sites(target, config.sites)
    _refuse_idle_patterns(config, [s.name for s in sites])
    factors = _factors(target, sites, config, rows)
    counts = [read.shape[1] for read, _ in factors.values()]
    widths = tap_widths(importance_class(config.importance).taps, target, sites, counts)
    importance = build_importance(config.importance, widths, counts)
    decomposition = Decomposition(factors, importance)
    if config.continue_from is not None:
        _continue(decomposition, config.continue_from)
    return decomposition


def _factors(
    target: nn.Module, sites: list[Site], config: TrainingConfig, rows: np.ndarray | None
) -> dict[str, Factors]:
    counts = [count_for(s, config) for s in sites]
    targeted = targeted_of(config)
    if config.initialisation == "principal" and targeted is not None and config.continue_from is None:
        assert rows is not None, "a principal start reads the rows of its run"
        narrow, broad = streams(rows, config.rows, targeted.narrow_rows(config.rows))
        return principal_factors(target, sites, counts, narrow, broad, targeted.contrast)
    # What a continued run would start from is replaced.
    kind = "random" if config.initialisation == "principal" else config.initialisation
    # On the CPU whatever device the target is on: so is the generator.
    generator = torch.Generator().manual_seed(config.seed)
    return {
        s.name: initial_factors(kind, s.name, site_weight(s).cpu(), count, generator)
        for s, count in zip(sites, counts, strict=True)
    }


def targeted_of(config: TrainingConfig) -> Targeted | None:
    """The targeted part of a recipe; a target without text has none."""
    return config.targeted if isinstance(config, DecomposeConfig) else None


def _learned(place: str) -> Mapping[str, Tensor]:
    """Factors and importance function of a run's last checkpoint, or of a finished decomposition."""
    path = decomposition_folder(place)
    if not (path / MANIFEST).is_file():
        return last_tensors(path)
    saved = open_artifact(path, KIND).tensors()
    tensors = restored({k: v for k, v in saved.items() if not k.startswith("indices.")})
    return {f"decomposition.{name}": value for name, value in tensors.items()}


def _continue(decomposition: Decomposition, run: str) -> None:
    """Take factors and importance function from what was learned before; sizes must be the same."""
    tensors = _learned(run)
    state = pack_module("decomposition", decomposition)
    different = [
        name for name, value in state.items() if name not in tensors or tensors[name].shape != value.shape
    ]
    if different:
        raise RankOneError(
            f"continue_from '{run}' has other sites, C or importance sizes: '{different[0]}' differs. Use its sizes."
        )
    unpack_module("decomposition", decomposition, tensors)


def _refuse_idle_patterns(config: TrainingConfig, names: list[str]) -> None:
    """A pattern of `subcomponents` that matches none of the decomposed sites is a slip, not a wish."""
    from fnmatch import fnmatch

    for pattern in config.subcomponents:
        if not any(fnmatch(name, pattern) for name in names):
            raise RankOneError(
                f"subcomponents['{pattern}'] matches none of the decomposed sites.{nearest(pattern, names)}"
            )
