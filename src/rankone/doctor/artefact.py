"""The check-up of an artefact: its manifest and hashes, what its files hold, its reader, and the model it was made for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from os.path import isdir  # of any string; Path's raises where one is too long for a name
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from transformers import PreTrainedModel

from rankone.answers.collecting import read_collected
from rankone.circuits.storage import load_graph
from rankone.circuits.transcoders.storage import SavedTranscoders, load_transcoders
from rankone.clustering.components import Components
from rankone.core.artifact import Artifact, open_artifact
from rankone.core.errors import RankOneError
from rankone.core.files import read_json
from rankone.core.manifest import MANIFEST, Manifest, read_manifest
from rankone.core.reading import reading
from rankone.core.tensors import read_tensors
from rankone.decomposition.evidence.records import read_outline
from rankone.decomposition.model import DecompositionFile, load_decomposition
from rankone.doctor.finding import Finding, counted, note, ok, refused
from rankone.edits.adapter_reading import read_adapter
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.lowrank.factors import fitting_sites
from rankone.harvest.counting.chunks import progress_of
from rankone.harvest.reading.store import HarvestStore
from rankone.labels.store import open_labels
from rankone.models.loading import load_model
from rankone.models.sources.known import BUILTIN_MODELS
from rankone.parts.origins import SavedParts
from rankone.parts.parts import load_parts
from rankone.parts.target import require_target

# Lines about one that is as it should be.
CHECKS = 5
# Reads an artefact and says what is in it; refuses what its kind must not hold.
Reader = Callable[[Artifact], str]
# Raises RankOneError where the artefact was made for another model.
Belongs = Callable[[Path, PreTrainedModel], object]


def is_artefact(path: Path) -> bool:
    """Whether a folder carries a manifest of RankOne's; a model may have one too."""
    return (path / MANIFEST).is_file()


def check_artefact(path: Path, model: str | None = None) -> Iterator[Finding]:
    """One line per thing looked at. model: to check it beside; else the one that the artefact names, where that is here."""
    return counted(_looked_at(path, model), CHECKS)


def _looked_at(path: Path, model: str | None) -> Generator[Finding, None, None]:
    try:
        manifest = read_manifest(path)
    except RankOneError as error:
        yield refused("manifest", error)
        return
    yield ok("manifest", f"kind {manifest.kind}, schema version {manifest.schema_version}{_maker(manifest)}")
    try:
        artifact = open_artifact(path)
        yield ok("files", f"{len(manifest.files)}, all there and unaltered")
        _read_files(artifact)
        yield ok("values", "every table and tensor can be read; no NaN or infinity among the tensors")
        yield ok("content", _content(artifact))
    except RankOneError as error:
        yield refused("files", error)
        return
    yield from _model(artifact, model)


def _maker(manifest: Manifest) -> str:
    versions = manifest.provenance.get("versions")
    made = versions.get("rankone") if isinstance(versions, dict) else None
    return f", written by RankOne {made}" if made else ""


def _read_files(artifact: Artifact) -> None:
    """RankOneError for a file that its format's library does not read."""
    for name in artifact.manifest.files:
        path = artifact.path / name
        with reading(path):
            if path.suffix == ".safetensors":
                read_tensors(path)
            elif path.suffix == ".parquet":
                pq.read_table(path)
            elif path.suffix == ".npy":
                np.load(path, allow_pickle=False)
            elif path.suffix == ".json" and name != "tokenizer.json":
                read_json(path)


def _content(artifact: Artifact) -> str:
    read = _READERS.get(artifact.manifest.kind)
    if read is None:
        return f"a {artifact.manifest.kind}"
    with reading(artifact.path):
        return read(artifact)


def _decomposition(artifact: Artifact) -> str:
    config = DecompositionFile.checked(artifact.json(), str(artifact.path))
    evidence = (
        "with evidence" if "evidence.json" in artifact else "without evidence: `rankone evidence` measures it"
    )
    return f"a decomposition of {len(config.sites)} sites of '{config.target.name}', {evidence}"


def _edit(artifact: Artifact) -> str:
    read = LowRankEdit.from_pretrained(artifact.path)
    return f"{read.label}: {len(read.sites)} sites, rank {sum(map(read.rank, read.sites))} in all"


def _adapter(artifact: Artifact) -> str:
    return f"a LoRA adapter of {len(read_adapter(artifact.path))} modules"


def _harvest(artifact: Artifact) -> str:
    store = HarvestStore.open(artifact.path)
    return f"{len(store.names()):,} parts over {sum(store.tokens().values()):,} tokens"


def _labels(artifact: Artifact) -> str:
    return f"labels of {len(open_labels(artifact.path).names()):,} parts"


def _components(artifact: Artifact) -> str:
    return f"{len(Components.open(artifact.path).rows):,} components"


def _evidence(artifact: Artifact) -> str:
    outline = read_outline(artifact.json("evidence.json"), str(artifact.path))
    return f"evidence of a decomposition, faithfulness {outline.faithfulness:.3g}"


def _chunk(artifact: Artifact) -> str:
    progress_of(artifact)
    return "a piece of an unfinished harvest: the same command goes on from it"


def _graph(artifact: Artifact) -> str:
    saved = load_graph(artifact.path)
    graph, account = saved.graph, saved.verification
    checked = (
        "not verified" if account is None else "verified" if account.exact else "NOT exact where it should be"
    )
    return f"a graph of “{graph.record.prompt}” with {len(graph.nodes):,} nodes, {checked}"


def _parts(artifact: Artifact) -> str:
    sets = SavedParts.checked(artifact.json(), str(artifact.path)).sets
    origins = ", ".join(one.origin for one in sets)
    return f"parts of origin {origins} in {len({site for one in sets for site in one.sites})} sites"


def _transcoders(artifact: Artifact) -> str:
    said = SavedTranscoders.checked(artifact.json(), str(artifact.path))
    names = ", ".join(one.coder.name for one in said.coders)
    return f"transcoders of {said.layers} layers of '{said.target.name}': {names}"


def _answers(artifact: Artifact) -> str:
    habit, prompts = read_collected(artifact.path)
    return f"a model's answers with and without the habit '{habit.name}', {len(prompts)} of them for tests"


def _toy(artifact: Artifact) -> str:
    rows = artifact.json("scores.json")["rows"]
    return f"scores of a toy, {len(rows) if isinstance(rows, list) else 0} rows"


_READERS: dict[str, Reader] = {
    "decomposition": _decomposition,
    "edit": _edit,
    "adapter": _adapter,
    "harvest": _harvest,
    "labels": _labels,
    "components": _components,
    "evidence": _evidence,
    "harvest-chunk": _chunk,
    "graph": _graph,
    "parts": _parts,
    "transcoders": _transcoders,
    "toy": _toy,
    "sweep": lambda artifact: f"a sweep of {artifact.table('sweep').read().num_rows} coefficients",
    "answers": _answers,
    "checkpoint": lambda _: "where a run stands: the same command goes on from it",
    "tokens": lambda _: "training rows of a run",
    "results": lambda artifact: f"results of {'a benchmark' if 'bench.json' in artifact else 'a job'}",
}


def _fits_edit(path: Path, model: PreTrainedModel) -> None:
    LowRankEdit.from_pretrained(path).check_base(model)


def _fits_adapter(path: Path, model: PreTrainedModel) -> None:
    fitting_sites(model, read_adapter(path))


def _fits_graph(path: Path, model: PreTrainedModel) -> None:
    record = load_graph(path).graph.record
    require_target(model, record.model, record.weights, path)


# Kinds that belong to a model.
_BELONGS: dict[str, Belongs] = {
    "decomposition": load_decomposition,
    "parts": load_parts,
    "edit": _fits_edit,
    "adapter": _fits_adapter,
    "harvest": lambda path, model: HarvestStore.open(path, target=model),
    "components": lambda path, model: Components.open(path, target=model),
    "graph": _fits_graph,
    "transcoders": load_transcoders,
}


def _model(artifact: Artifact, given: str | None) -> Iterator[Finding]:
    """Whether it is this model's: the one given, or the one it names."""
    belongs = _BELONGS.get(artifact.manifest.kind)
    if belongs is None:
        return
    named = _named(artifact)
    name = given or (named if named in BUILTIN_MODELS or (named and isdir(named)) else None)
    if name is None:
        said = (
            f"made for {named!r}, which is not here" if named else "the model it was made for is not recorded"
        )
        yield note("model", f"{said}: not checked", "Check it beside its model: --model NAME.")
        return
    try:
        belongs(artifact.path, load_model(name))
    except RankOneError as error:
        yield refused("model", error)
    else:
        yield ok("model", f"'{name}' is the one it was made for")


def _named(artifact: Artifact) -> str | None:
    """The model that an artefact names, as it was called then."""
    if artifact.manifest.kind == "adapter":
        base = artifact.json("adapter_config.json").get("base_model_name_or_path")
        return str(base) if base else None
    if artifact.manifest.kind == "edit":
        return None
    if artifact.manifest.kind == "graph":
        return str(artifact.json("graph.json").get("model") or "") or None
    document = artifact.json()
    entry = document.get("target") or document.get("model")
    name = entry.get("name") if isinstance(entry, dict) else None
    return str(name) if name else None
