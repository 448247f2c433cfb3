"""Names of parts and sites, looked up before a model is opened: as they are written, in the headers of what is named, and,
for components and words of labels, in its tables."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from rankone.clustering.listed import require_component
from rankone.core.errors import RankOneError, nearest
from rankone.harvest.reading.names import COMPONENT, QUERY, by_label, of_clustering
from rankone.models.sources.matrices import Shapes, inside_blocks, matrices_in
from rankone.models.sources.names import decomposition_folder, resolve
from rankone.opening import Opening
from rankone.parts.naming import require_written
from rankone.parts.on_disk import Numbers, decomposed_numbers, require_held, require_in_weights, saved_numbers
from rankone.parts.origins import FROM_WEIGHTS, is_pattern, not_open, origin_in, saved_origins


def require_parts(
    opening: Opening, names: Sequence[str], patterns: bool = False, opens: Sequence[str] = ()
) -> None:
    """Every name is that of a part that is there; or of what else the verb opens: a component, words of labels. Of A+B each.

    patterns: whether a name may stand for many (`neuron/h.3.mlp.down_proj:*`).
    RankOneError for the first that is not. Where headers do not say, what opens the model looks.
    """
    each = [one for name in names for one in name.split("+")]
    parts = [name for name in each if not _is_group(opening, name, opens)]
    if not parts:
        return
    held = _held(opening)
    for name in parts:
        origin = origin_in(name)
        if origin not in (*held, *FROM_WEIGHTS):
            raise RankOneError(not_open(name, list(held)))
        whole, sets, alpha = name.rpartition("=")
        if sets and ":" in whole:
            raise RankOneError(f"'{name}' sets a scale, and none is set here: leave out '={alpha}'.")
        if is_pattern(name):
            _require_fit(opening, name, patterns, held.get(origin, {}))
            continue
        require_written(name)
        if origin not in FROM_WEIGHTS:
            if held[origin]:
                require_held(name, origin, held[origin])
        elif not _is_in(name, held.get(origin, {})) and (shapes := shapes_of(opening)):
            require_in_weights(name, shapes)


def require_patterns(opening: Opening, patterns: Sequence[str]) -> None:
    """RankOneError for a pattern of module paths that no matrix of the model has, as far as its headers say."""
    shapes = shapes_of(opening) if patterns else None
    if shapes is None:
        return
    paths = inside_blocks(shapes)
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in (*paths, *shapes)):
            raise RankOneError(f"no site matches '{pattern}'.{nearest(pattern, paths)}")


def _require_fit(opening: Opening, pattern: str, allowed: bool, numbers: Numbers) -> None:
    """RankOneError for a pattern where one part is named, and for one that fits nothing, as far as headers say."""
    if not allowed:
        raise RankOneError(f"'{pattern}' stands for many parts, and each is named here: write SITE:NUMBER.")
    origin = origin_in(pattern)
    prefix = f"{origin}/" * bool(origin)
    if origin in FROM_WEIGHTS and not numbers:
        place, colon, number = pattern.removeprefix(prefix).rpartition(":")
        require_patterns(opening, [place if colon else number])
        return
    names = [f"{prefix}{site}:{number}" for site, held in numbers.items() for number in held]
    if names and not any(fnmatchcase(name, pattern) for name in names):
        raise RankOneError(f"no part fits '{pattern}'.{nearest(pattern, names)}")


def _is_group(opening: Opening, name: str, opens: Sequence[str]) -> bool:
    """Whether a name is that of a component or of all parts with a label; RankOneError for one that stands for nothing."""
    clusters, labels = opening.options.clusters, opening.options.labels
    wanted = "labels" if name.startswith(QUERY) else "clusters"
    if wanted not in opens and (wanted == "labels" or COMPONENT.fullmatch(name)):
        raise RankOneError(
            f"'{name}' stands for several parts, and single ones are named here: write SITE:NUMBER."
        )
    if wanted == "labels":
        if opening.options.harvest is None or labels is None:
            raise RankOneError(by_label(name))
        require_words(labels, name.removeprefix(QUERY), whole=True)
        return True
    if "clusters" in opens and clusters is not None and ":" not in name:
        require_component(clusters, name)
        return True
    if COMPONENT.fullmatch(name):
        raise RankOneError(of_clustering(name))
    return False


def require_words(labels: Path, words: str, whole: bool = False) -> None:
    """RankOneError for words that no label has; whole: not as the beginnings of its words either."""
    from rankone.labels.by_words import labelled, matches
    from rankone.labels.store import open_labels

    (labelled if whole else matches)(open_labels(labels), words)


def _held(opening: Opening) -> dict[str, Numbers]:
    """By origin the numbers of what is open; without any where headers do not say."""
    held: dict[str, Numbers] = {}
    for name in opening.decomposition_names:
        held |= decomposed_numbers(decomposition_folder(name)) or {"": {}}
    saved = opening.options.parts
    if saved is not None:
        known = saved_numbers(saved)
        for origin in saved_origins(saved):
            # A decomposition's own numbers are looked up where both hold some.
            held[origin] = held.get(origin) or known.get(origin, {})
    return held


def _is_in(name: str, numbers: Numbers) -> bool:
    site, number = require_written(name)
    return number in numbers.get(site, ())


def shapes_of(opening: Opening) -> Shapes | None:
    """The matrices of the opened model, as far as headers say."""
    folder = resolve(opening.options.model)
    return matrices_in(folder) if isinstance(folder, Path) else None
