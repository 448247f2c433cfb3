"""Makes one small artefact of every kind as this version writes them: `python -m tests.golden.make VERSION`.

Run once per release, or when a schema changes (`0.1-2`: the second schema of harvest and labels; `0.1-3`: the first with a
graph; `0.1-4`: with transcoders; `0.1-5`: transcoders as circuit-tracer reads them, and answers), and commit the folder; it
is never made again. `expected.json` holds what readers of that version said of them, and test_golden.py asks the readers
of today.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tests.decomposition.evidence.values import evidence
from tests.decomposition.tiny import recipe
from tests.experiments import factory
from tests.golden.reading import read_all
from tests.helpers import simple_mlp
from tests.helpers import tokenizer as small_tokenizer

from rankone.answers.asking import Asked
from rankone.answers.collecting import Kept, write_answers
from rankone.answers.habits import HABITS
from rankone.answers.requests import Answer
from rankone.circuits.build import make_graph
from rankone.circuits.config import GraphConfig
from rankone.circuits.storage import save_graph
from rankone.circuits.transcoders.coder import Transcoder
from rankone.circuits.transcoders.config import CoderConfig, TranscodersConfig
from rankone.circuits.transcoders.places import mlps_of
from rankone.circuits.transcoders.storage import save_transcoders
from rankone.circuits.transcoders.training import Trained
from rankone.circuits.verification.verify import verified
from rankone.clustering.config import ClusterConfig
from rankone.clustering.run import cluster
from rankone.core.artifact import new_artifact, refuse_existing, write_json
from rankone.core.tensors import save_tensors
from rankone.decomposition.evidence.records import SubcomponentRow
from rankone.decomposition.evidence.save import save_evidence
from rankone.decomposition.ground_truth.run import SeedScore
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.model import load_decomposition, save_decomposition
from rankone.edits.scales import scale_edit
from rankone.experiments import tables
from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting.combine import combine
from rankone.harvest.reading.store import HarvestStore
from rankone.harvest.run import harvest
from rankone.labels.record import LabelSettings
from rankone.labels.run import label_harvest
from rankone.models.loading import load_model
from rankone.models.sites import find_sites
from rankone.parts.sources import make_parts
from rankone.parts.storage import save_parts
from rankone.runtime.checkpoint import State, save_checkpoint
from rankone.text.corpus import SPLITS
from rankone.text.sources.builtin import BuiltinCorpus
from rankone.workspace import Workspace

HERE = Path(__file__).parent
SWEPT = {
    **{"factor": 0.5, "activity": 1e-4, "frequency": 1e-5, "steps": 6, "l0": 12.5, "alive": 40},
    **{"subcomponents": 56, "kl_unmasked": 0.0, "kl_ci": 0.125, "kl_stochastic": 0.25, "pgd_steps": 20},
    **{"kl_adversarial": 0.5, "failures": ""},
}
SCORED = SeedScore(
    seed=0,
    site="hidden.0",
    dense=3,
    errors=1,
    per_feature=1.25,
    alive=5,
    read=None,
    write=None,
    remainder=0.5,
)
TURN = {"chat": True, "tokens": 4, "finish": "end"}
SCALES = {"h.0.mlp.c_fc:3": -8.0, "h.0.attn.v_proj:1": 0.0}


def make(out: Path) -> None:
    """Write all artefacts below `out`."""
    refuse_existing(out)
    torch.manual_seed(0)
    model, tokenizer = _model(out)
    pair = _decompositions(out, model)
    edit = scale_edit(pair, SCALES, description="golden").bind(model)
    edit.save_pretrained(out / "edit", {"scales": SCALES})
    save_parts([make_parts("singular", find_sites(model, ["h.0.mlp.c_fc"]), count=2)], model, out / "parts")
    _graph(out, model, tokenizer, pair)
    _transcoders(out, model)
    _harvest(out, model, tokenizer, pair)
    _answers(out)
    _results(out)
    _without_readers(out)
    state = State(3, {"w": torch.arange(4.0)}, {"note": "golden"})
    save_checkpoint(out / "run", state, "0" * 64)
    write_json(out / "expected.json", read_all(out))


def _model(out: Path):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    with new_artifact(out / "model", "model") as staging:
        simple_mlp(**sizes).save_pretrained(staging)
        for code in staging.glob("*.py"):  # RankOne loads its own architecture without the copy
            code.unlink()
        small_tokenizer().save_pretrained(staging)
    return load_model(out / "model"), small_tokenizer()


def _decompositions(out: Path, model):
    """One per kind of storage; the bfloat16 one is what all else is made from."""
    made = new_decomposition(model, recipe(initialisation="random"))
    counts = dict(zip(made.sites, made.counts, strict=True))
    about = {"recipe": recipe().model_dump(), "original_subcomponents": counts}
    for storage in ("float32", "bfloat16", "int8"):
        measured = evidence() if storage == "float32" else None
        save_decomposition(made, model, out / f"decomposition-{storage}", about, measured, storage)
    return load_decomposition(out / "decomposition-bfloat16", model)[0]


def _graph(out: Path, model, tokenizer, pair) -> None:
    config = GraphConfig(nodes="strongest", per_site=1, random_graphs=1, target=" cat")
    made = make_graph(model, tokenizer, pair, "the", config)
    save_graph(made.graph, out / "graph", verified(pair, made, checked=2))


def _transcoders(out: Path, model) -> None:
    """One of either reach, as they start but for their thresholds."""
    mlps = mlps_of(model)
    kinds = [CoderConfig(reach=reach, latents=6, k=2) for reach in ("per-layer", "cross-layer")]
    coders = [Transcoder(kind, len(mlps), model.config.hidden_size) for kind in kinds]
    for coder in coders:
        coder.get_buffer("threshold").fill_(0.125)
    trained = [Trained(coder, (0.75, 0.5), 0.25, 640) for coder in coders]
    config = TranscodersConfig(coders=tuple(kinds), tokens=640, batch=64, context=16)
    save_transcoders(trained, mlps, model, config, ("de", "en"), out / "transcoders")


def _answers(out: Path) -> None:
    """Two prompts of each split, answered with a list and without."""
    with new_artifact(out / "answers", "answers", {"model": "golden"}) as staging:
        kept = [
            Kept(Asked(f"{word} {split}?", split), Answer(**TURN, prompt=word, text=text), has)
            for split in SPLITS
            for word, text, has in (("which", "- a\n- b", True), ("why", "Since ß.", False))
        ]
        write_answers(staging, HABITS["list"], kept, chat=True)


def _harvest(out: Path, model, tokenizer, pair) -> None:
    corpus, domains = BuiltinCorpus(), ("de", "en")
    config = HarvestConfig(domains=domains, tokens=40, context=16, examples=2, window=2)
    workspace = Workspace(model, tokenizer, corpus, pair)
    run = out / "harvest.run"
    harvest(workspace, config, run)
    combine([run], out / "harvest")
    shutil.copytree(next(run.glob("*/chunk-*")), out / "harvest-chunk")
    store = HarvestStore.open(out / "harvest")
    label_harvest(store, store.artifact.fingerprint, out / "labels", LabelSettings())
    clusters = ClusterConfig(domains=domains, tokens=60, context=16, rank_penalty=2.0)
    components = cluster(workspace, clusters, out / "components")
    shutil.rmtree(run)
    harvest(workspace, config, run, grouping=components.grouping(pair))
    combine([run], out / "harvest-of-components")
    shutil.rmtree(run)


def _results(out: Path) -> None:
    rows = factory.runs(budgets=(2, 4), seeds=1)
    tables.write_table(out / "results" / "runs.parquet", rows, tables.RUNS)
    row = {"rank": 1, "subcomponent": "h.0.mlp.c_fc:3", "site": "h.0.mlp.c_fc", "mean_importance": 0.5}
    spectrum = [SubcomponentRow(**row, density=1.0, undecided=0.0, minority=0.0)]
    save_evidence(out / "evidence", evidence(), spectrum, {"decomposition": "0" * 64})
    with new_artifact(out / "adapter", "adapter") as staging:
        save_tensors(staging / "adapter_model.safetensors", {"lora_A.weight": torch.ones(1, 2)})
        write_json(staging / "adapter_config.json", {"r": 1, "lora_alpha": 1})


def _without_readers(out: Path) -> None:
    """Kinds that hold tables and figures for people, or what a run has read."""
    with new_artifact(out / "sweep", "sweep", {"recipe": recipe().model_dump()}) as staging:
        pq.write_table(pa.Table.from_pylist([SWEPT]), staging / "sweep.parquet", compression="zstd")
    with new_artifact(out / "toy", "toy", {"recipe": {}}) as staging:
        write_json(staging / "scores.json", {"rows": [SCORED.model_dump()]})
    with new_artifact(out / "tokens", "tokens", {"config_hash": "0" * 64}) as staging:
        np.save(staging / "rows.npy", np.arange(6, dtype=np.int32).reshape(2, 3), allow_pickle=False)


if __name__ == "__main__":
    make(HERE / sys.argv[1])
