"""What was named to be opened (a model, its parts, text, a harvest, labels), each opened once, when first asked for.

A path that is not there is refused when it is named, before anything is loaded.
"""

# PreTrainedModel.to of transformers has no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from rankone.core.config import Config
from rankone.core.errors import RankOneError, nearest
from rankone.harvest.config import HELD_PARTS
from rankone.models.sources.known import BUILTIN_MODELS
from rankone.models.sources.names import BUILTIN_DECOMPOSITION, decomposition_folder, findable

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rankone.clustering.components import Components
    from rankone.core.artifact import Artifact
    from rankone.decomposition.model import Decomposition
    from rankone.harvest.reading.store import HarvestStore
    from rankone.labels.store import Labels
    from rankone.parts.book import Book
    from rankone.text.corpus import Corpus
    from rankone.workspace import Workspace

# What is named by a folder, and the kind of artefact it must be.
# Training tokens of each domain that the sizes of activations are taken from.
SIZE_TOKENS = 2000
_KINDS = {"harvest": "harvest", "labels": "labels", "clusters": "components", "parts": "parts"}


class OpenOptions(Config):
    """Names of what is to be opened, and where it is computed with."""

    model: str = Field(default="mini", description="built-in name (mini), directory, or Hub name")
    decomposition: str | None = Field(
        default=None, description="decomposition of the model; mini has a built-in one, mini-decomposition"
    )
    text: str = Field(
        default="builtin", description="builtin, a directory with a folder per domain, or a Hub data set id"
    )
    parts: Path | None = Field(
        default=None, description="saved parts (from `rankone find --out`), to be used too"
    )
    harvest: Path | None = Field(
        default=None, description="a harvest of the decomposition, or of its components"
    )
    labels: Path | None = Field(default=None, description="labels of that harvest")
    clusters: Path | None = Field(default=None, description="components from `rankone cluster`")
    device: str | None = Field(
        default=None, description="cpu, cuda, cuda:N; default the GPU where there is one"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="numbers the model computes in"
    )

    @field_validator("model", "decomposition")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        """No empty name: as a folder it would be the current one."""
        if value is not None and not value.strip():
            raise ValueError("is empty: give a built-in name, a folder (. for the current one) or OWNER/NAME")
        return value

    def spelled(self, *names: str) -> str:
        """Those of these options that are not the default, as they are typed after a command."""
        given = {name: getattr(self, name) for name in names}
        words = ((f"--{n}", str(v)) for n, v in given.items() if v != type(self).model_fields[n].default)
        return shlex.join(word for pair in words for word in pair)


def _brought(options: OpenOptions) -> OpenOptions:
    """Artefacts that are named by a Hub id or address as the folders in the cache that hold them."""
    from rankone.sharing.fetching import local

    given = {name: kind for name, kind in _KINDS.items() if getattr(options, name) is not None}
    folders: dict[str, object] = {name: local(getattr(options, name), kind) for name, kind in given.items()}
    if options.decomposition not in (None, BUILTIN_DECOMPOSITION):
        folders["decomposition"] = str(local(options.decomposition, "decomposition"))
    return options.model_copy(update=folders)


class Opening:
    """The opened things of one session; attributes are opened when they are first read and then kept."""

    def __init__(self, options: OpenOptions | None = None) -> None:
        if not isinstance(options, OpenOptions | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RankOneError(f"a session is opened by rankone.open({options!r}), which takes names.")
        self.options = _brought(options or OpenOptions())
        for what in ("harvest", "labels", "clusters", "parts"):
            path: Path | None = getattr(self.options, what)
            if path is not None and not path.is_dir():
                raise RankOneError(f"no {what} at '{path}'. Check the path.")

    def preflight(self, opens: Sequence[str]) -> None:
        """RankOneError for a name among `opens` that cannot be opened, as far as can be seen without PyTorch."""
        from rankone.core.manifest import read_manifest
        from rankone.runtime.device import require_device

        options = self.options
        if "device" in opens and options.device is not None:
            require_device(options.device)
        if "model" in opens:
            findable(options.model)
        if "decomposition" in opens and options.decomposition is not None:
            require_decomposition(options.decomposition)
        for what, kind in _KINDS.items():
            path: Path | None = getattr(options, what)
            if what in opens and path is not None:
                read_manifest(path, kind)
        if "text" in opens:
            require_text(self.corpus)

    @property
    def decomposition_name(self) -> str | None:
        """The decomposition that was named, else that of the parts a harvest holds, else the built-in model's own."""
        if self.options.decomposition is not None:
            return self.options.decomposition
        if self.held_parts is not None:
            return str(self.held_parts)
        return BUILTIN_DECOMPOSITION if self.options.model == "mini" else None

    @property
    def decomposition_names(self) -> tuple[str, ...]:
        """Decompositions whose parts can be named: this opening's, and the built-in one beside a harvest's own parts."""
        name = self.decomposition_name
        beside = (
            self.held_parts is not None and self.options.model == "mini" and name != BUILTIN_DECOMPOSITION
        )
        return (*filter(None, (name,)), *((BUILTIN_DECOMPOSITION,) if beside else ()))

    @property
    def held_parts(self) -> Path | None:
        """The parts that the harvest holds itself, as a decomposition: those of a harvest of --only."""
        folder = None if self.options.harvest is None else self.options.harvest / HELD_PARTS
        return folder if folder is not None and folder.is_dir() else None

    @cached_property
    def device(self) -> torch.device:
        """Where everything is computed."""
        from rankone.runtime.device import chosen_device

        return chosen_device(self.options.device)

    @cached_property
    def corpus(self) -> Corpus:
        """The text."""
        from rankone.text.opening import open_corpus

        return open_corpus(self.options.text)

    @property
    def text_is_here(self) -> bool:
        """Whether the text lies on this machine; else it is streamed from the Hub."""
        return _is_here(self.corpus)

    @cached_property
    def model(self) -> PreTrainedModel:
        """The target model, on the device, in eval mode."""
        import torch

        from rankone.models.loading import load_model

        device = self.device  # one that is not there is refused before anything is loaded
        loaded = load_model(self.options.model, getattr(torch, self.options.dtype))
        loaded.to(device)  # pyright: ignore[reportArgumentType]
        return loaded

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        from rankone.models.loading import load_tokenizer

        return load_tokenizer(self.options.model)

    @cached_property
    def _loaded(self) -> tuple[Decomposition, Artifact]:
        from rankone.decomposition.model import load_decomposition

        name = self.decomposition_name
        if name is None:
            raise RankOneError(
                f"'{self.options.model}' has no built-in decomposition: give --decomposition DIR "
                "(made by `rankone decompose`)."
            )
        loaded, artifact = load_decomposition(decomposition_folder(name), self.model)
        loaded.to(self.device)
        return loaded, artifact

    @property
    def decomposition(self) -> Decomposition:
        """The decomposition, checked to be this model's, on its device."""
        return self._loaded[0]

    @property
    def decomposition_artifact(self) -> Artifact:
        """The decomposition as it lies on disk: provenance, evidence."""
        return self._loaded[1]

    @cached_property
    def book(self) -> Book:
        """Every part that can be named: the decomposition's, those of saved parts, and what follows from the weights."""
        from rankone.decomposition.model import load_decomposition
        from rankone.parts.book import Book
        from rankone.parts.parts import holds_all, load_parts

        saved = load_parts(self.options.parts, self.model) if self.options.parts is not None else []
        first, *more = self.decomposition_names or (None,)
        opened = [] if first is None else [self.decomposition]
        opened += [load_decomposition(decomposition_folder(name), self.model)[0] for name in more]
        for parts in saved:
            if opened and not parts.origin and not holds_all(opened[-1], parts):
                raise RankOneError(
                    f"'{self.options.parts}' holds subcomponents of another decomposition than "
                    f"{self.decomposition_names[-1]}. Give the one that they were found in (--decomposition)."
                )
        taken = {one.origin for one in opened}
        return Book([*opened, *(parts for parts in saved if parts.origin not in taken)], self.model)

    @cached_property
    def bare(self) -> Workspace:
        """Model, tokenizer and text, without parts."""
        from rankone.workspace import Workspace

        return Workspace(self.model, self.tokenizer, self.corpus)

    @cached_property
    def workspace(self) -> Workspace:
        """Model, tokenizer, parts and text as one; parts only where a decomposition is named or built in."""
        from rankone.workspace import Workspace

        corpus, parts = self.corpus, self.decomposition_name and self.decomposition
        return Workspace(self.model, self.tokenizer, corpus, parts or None)

    def with_only(self, names: Sequence[str], domains: Sequence[str]) -> Workspace:
        """Parts of one origin, by name or pattern, in place of the decomposition's; each fires with its activation's size.

        domains: whose training text says how large activations are. RankOneError as `Book.gathered`.
        """
        from rankone.decomposition.untrained import as_decomposition
        from rankone.workspace import Workspace

        text = self.bare.text(domains, "train", SIZE_TOKENS)
        parts = as_decomposition(self.model, self.book.gathered(names), list(text.values()))
        return Workspace(self.model, self.tokenizer, self.corpus, parts)

    @cached_property
    def harvest_store(self) -> HarvestStore | None:
        """The harvest that was named; with a decomposition named too, checked to be of it."""
        from rankone.harvest.reading.store import HarvestStore

        path = self.options.harvest
        if path is None:
            return None
        if self.options.decomposition is None:
            return HarvestStore.open(path)
        return HarvestStore.open(path, self.decomposition, self.model)

    @cached_property
    def labels(self) -> Labels | None:
        """The labels that were named; labels of another harvest are refused."""
        from rankone.labels.store import open_labels

        path, store = self.options.labels, self.harvest_store
        return (
            None if path is None else open_labels(path, None if store is None else store.artifact.fingerprint)
        )

    @cached_property
    def clusters(self) -> Components | None:
        """The components that were named."""
        from rankone.clustering.components import Components

        return None if self.options.clusters is None else Components.open(self.options.clusters)

    @property
    def counted_clusters(self) -> Components | None:
        """The components; a harvest that does not count them is refused."""
        if self.clusters is not None and self.harvest_store is not None:
            self.clusters.require_counted(self.harvest_store.clusters, self.harvest_store.artifact.path)
        return self.clusters

    @property
    def checked_clusters(self) -> Components | None:
        """The components, checked to be of this decomposition and model."""
        if self.clusters is not None:
            self.clusters.require_origin(self.decomposition, self.model)
        return self.clusters

    def require_harvest(self, what: str) -> HarvestStore:
        """The harvest; RankOneError that says what it is needed for."""
        if self.harvest_store is None:
            raise RankOneError(f"{what} needs a harvest: give --harvest DIR (made by `rankone harvest`).")
        return self.harvest_store

    def require_labels(self, what: str) -> Labels:
        """The labels; RankOneError that says what they are needed for."""
        if self.labels is None:
            raise RankOneError(f"{what} needs labels: give --labels DIR (made by `rankone label`).")
        return self.labels


def require_decomposition(name: str) -> None:
    """RankOneError for a name that stands for no decomposition; nothing of it but its manifest is read."""
    from rankone.core.manifest import read_manifest

    if name == BUILTIN_DECOMPOSITION:
        return
    if not Path(name).exists():
        near = nearest(name, [BUILTIN_DECOMPOSITION])
        if name in BUILTIN_MODELS:
            near = f" '{name}' is the model; its decomposition is {BUILTIN_DECOMPOSITION}."
        raise RankOneError(f"no decomposition at '{name}'. Check the path.{near}")
    read_manifest(Path(name), "decomposition")


def require_text(corpus: Corpus) -> None:
    """RankOneError for text that is neither here nor to be had."""
    from rankone.runtime import hub

    if not _is_here(corpus) and not hub.reachable():
        raise RankOneError(
            f"'{corpus.name}' is not a directory, and the Hub, where it would be a data set, cannot be reached. Check "
            f"the path or the network, or use --text builtin.{nearest(corpus.name, ['builtin'])}"
        )


def _is_here(corpus: Corpus) -> bool:
    from rankone.text.sources.hub import HubCorpus
    from rankone.text.sources.joined import JoinedCorpus
    from rankone.text.sources.lowered import LoweredCorpus

    if isinstance(corpus, LoweredCorpus):
        return _is_here(corpus.corpus)
    if isinstance(corpus, JoinedCorpus):
        return all(_is_here(one) for one in corpus.corpora)
    return not isinstance(corpus, HubCorpus) or corpus.is_local
