"""What can be seen to be wrong before a model is opened: names, paths and domains, within a fraction of a second.

Nothing here needs PyTorch. What is marked on the fields of a request (`Reads`, `Domains`, `Folder`) is looked up, and so is
what the verb opens; the verb itself checks again what it uses. Recipes are read by the verb (Verb.recipe).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

from rankone.core.artifact import read_manifest, refuse_existing
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.fields import (
    Counted,
    DecompositionName,
    Domains,
    Folder,
    LabelWords,
    Layer,
    ModelName,
    PartNames,
    Published,
    Reads,
    SitePatterns,
    Template,
    TextName,
    Trackers,
    option,
)
from rankone.decomposition.importers.source import require_source
from rankone.edits.finding.tolerances import Tolerances
from rankone.harvest.reading.listed import require_counted
from rankone.models.sources.matrices import require_layer
from rankone.models.sources.names import decomposition_folder, findable, resolve
from rankone.opening import Opening, OpenOptions, require_decomposition, require_text
from rankone.runtime.tracking.registry import require_trackers
from rankone.sharing.adapters import local_adapter
from rankone.sharing.fetching import local
from rankone.text.corpus import Corpus, require_domain
from rankone.text.opening import open_corpus
from rankone.text.template import NO_TEMPLATE, lacks_template
from rankone.verbs.part_names import require_parts, require_patterns, require_words, shapes_of

M = TypeVar("M")
R = TypeVar("R", bound=Config)
# What makes the artefact that a verb cannot do without.
_MAKERS = {"harvest": "rankone harvest", "labels": "rankone label"}


def check(
    opening: Opening,
    request: R,
    verb: str,
    opens: Sequence[str],
    needs: Sequence[str],
    writes: Sequence[str],
    recipe: Callable[[R], object] | None = None,
) -> None:
    """RankOneError, with the mend, for the first thing that cannot be right; the lists and `recipe` are verb.Verb's.

    A request that `goes_on` may write where something lies: it replaces it, or is a run to be resumed.
    """
    for name in writes:
        path: Path | None = getattr(request, name)
        if path is None:
            continue
        if not getattr(request, "goes_on", False):
            refuse_existing(path)
        elif path.is_file():
            raise RankOneError(f"output '{path}' is a file, and a folder is made here. Choose another name.")
    _require_apart({name: path for name in writes if (path := getattr(request, name)) is not None})
    for name in needs:
        if getattr(opening.options, name) is None:
            raise RankOneError(f"{verb} needs {_needed(name)}.")
    if opening.options.labels is None and any(_marked(request, LabelWords)):
        raise RankOneError(f"{verb} by labels needs {_needed('labels')}.")
    for given, mark in _marked(request, Folder):
        for folder in (given,) if isinstance(given, Path) else given:
            _require_folder(folder, mark)
    if recipe is not None:
        recipe(request)
    for given, mark in _marked(request, Reads):
        here = given if Path(given).exists() else decomposition_folder(given)
        read_manifest(Path(here), mark.kind)
    for name, _ in _marked(request, DecompositionName):
        require_decomposition(name)
    for name, mark in _marked(request, ModelName):
        if name not in mark.also:
            findable(name)
    for text, _ in _marked(request, TextName):
        require_text(open_corpus(text))
    for source, _ in _marked(request, Published):
        require_source(source)
    for trackers, _ in _marked(request, Trackers):
        require_trackers(trackers)
    opening.preflight(opens)
    for names, mark in _marked(request, PartNames):
        require_parts(opening, [names] if isinstance(names, str) else list(names), mark.patterns, opens)
    _require_in_tables(opening, request)
    _require_in_model(opening, request)
    if "text" in opens and opening.text_is_here and opening.options.harvest is None:
        _require_domains(opening.corpus, request)


def _require_apart(outputs: Mapping[str, Path]) -> None:
    """No output is another's place, nor inside it: of the two one would be refused once the other is made."""
    places = {name: Path(os.path.abspath(path)) for name, path in outputs.items()}
    for (first, one), (second, other) in combinations(places.items(), 2):
        if one.is_relative_to(other) or other.is_relative_to(one):
            raise RankOneError(
                f"{option(first)} and {option(second)} write to one place, '{outputs[first]}' and '{outputs[second]}': "
                "choose places beside each other."
            )


def _require_in_tables(opening: Opening, request: Config) -> None:
    """Names and words that the tables of opened artefacts hold."""
    harvest, labels = opening.options.harvest, opening.options.labels
    for name, _ in _marked(request, Counted):
        if harvest is not None:
            require_counted(harvest, name)
    for words, _ in _marked(request, LabelWords):
        if labels is not None:
            require_words(labels, words)


def _require_in_model(opening: Opening, request: Config) -> None:
    """What is asked of the opened model and its folder tells without being loaded: layers, a chat template."""
    for patterns, _ in _marked(request, SitePatterns):
        require_patterns(opening, patterns)
    for layer, _ in _marked(request, Layer):
        if shapes := shapes_of(opening):
            require_layer(layer, shapes)
    for wanted, _ in _marked(request, Template):
        folder = resolve(opening.options.model) if wanted else None
        if isinstance(folder, Path) and lacks_template(folder):
            raise RankOneError(NO_TEMPLATE)


def require_job(named: Mapping[str, str | None], domains: Sequence[str]) -> None:
    """RankOneError for what a job's recipe names to be opened, fields of OpenOptions, and that cannot be."""
    opening = Opening(OpenOptions.checked(dict(named), "recipe"))
    opening.preflight(tuple(named))
    if opening.text_is_here:
        for domain in domains:
            require_domain(opening.corpus, domain)


def brought(request: R) -> R:
    """The request with artefacts that it names by a Hub id or address as the folders in the cache that hold them."""
    folders = {
        name: local_adapter(value) if mark.kind == "adapter" else local(value, mark.kind)
        for name, field in type(request).model_fields.items()
        if isinstance(value := getattr(request, name, None), Path)
        for mark in field.metadata
        if isinstance(mark, Reads | Folder) and mark.kind is not None
    }
    return request.model_copy(update=folders) if folders else request


def _require_folder(path: Path, mark: Folder) -> None:
    if path.is_file():
        raise RankOneError(f"'{path}' is a file, but a folder is needed here: {mark.what}.")
    if not path.is_dir():
        raise RankOneError(f"no folder at '{path}': {mark.what}. Check the path.")
    if mark.holds and not any(path.glob(mark.holds)):
        raise RankOneError(f"'{path}' has no {mark.holds}: it is not {mark.what}. Check the path.")


def _needed(name: str) -> str:
    article = "labels" if name == "labels" else f"a {name}"
    maker = f" (made by `{_MAKERS[name]}`)" if name in _MAKERS else ""
    return f"{article}: give --{name} DIR{maker}"


def _marked(request: Config, kind: type[M]) -> Iterator[tuple[Any, M]]:
    """Values of the fields that carry a mark, and the mark; what is not given is left out."""
    for name, field in type(request).model_fields.items():
        value = getattr(request, name)
        if value is not None:
            yield from ((value, mark) for mark in field.metadata if isinstance(mark, kind))


def _require_domains(corpus: Corpus, request: Config) -> None:
    """Every domain named is one of the text, but for the model's own (`self:de`)."""
    for value, _ in _marked(request, Domains):
        named = value.named if isinstance(value, Tolerances) else value
        for domain in (named,) if isinstance(named, str) else named:
            if not domain.startswith("self:"):
                require_domain(corpus, domain)
