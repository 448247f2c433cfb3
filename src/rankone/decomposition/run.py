"""A whole decomposition run: text → rows → training → folding the dead into delta → evidence → artefact."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.artifact import Artifact, new_artifact, open_artifact, refuse_existing
from rankone.core.config import Record
from rankone.core.errors import RankOneError
from rankone.decomposition.check import check_wrap
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.evidence.gather import gather_evidence, work
from rankone.decomposition.evidence.records import Evidence, SubcomponentRow, TextUsed
from rankone.decomposition.evidence.sparsity import ALIVE_MEAN_IMPORTANCE
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.model import DecomposedModel, Decomposition, save_decomposition
from rankone.decomposition.parallel.sharding import consolidated
from rankone.decomposition.parallel.share import check_layout
from rankone.decomposition.planning.memory import memory_advice
from rankone.decomposition.storage import Storage, restored, stored
from rankone.decomposition.targeted.batches import in_batches
from rankone.decomposition.targeted.config import narrow_rows
from rankone.decomposition.targeted.evidence import DeltaOn, broad_evidence
from rankone.decomposition.training.loop import train
from rankone.decomposition.training.trainer import Trainer
from rankone.models.context import require_context
from rankone.models.loading import model_hash
from rankone.models.sites import find_sites
from rankone.runtime.distributed import current
from rankone.runtime.places import holds
from rankone.runtime.progress import log, meter
from rankone.runtime.tracking.recording import Tracking, recording
from rankone.subject import Subject
from rankone.text.blocks import Blocks, passage_blocks
from rankone.text.corpus import Corpus, described
from rankone.text.mix import DomainMix, Mixture
from rankone.text.mixture import mixture_pieces, mixture_rows

LADDER = (10, 20, 40, 80)
# Steps of the adversary by how much evidence is wanted; none: nothing is measured.
LADDERS: dict[str, tuple[int, ...]] = {"none": (), "small": LADDER[:2], "full": LADDER}
EVIDENCE_TOKENS = 3072
# Of each domain, for the privileged basis.
DOMAIN_TOKENS = 4096
HARVEST_ROWS = 1024
# Batches whose prefix is held while masks change: those of the evidence's text at contexts from 48 on.
EVIDENCE_BATCHES = 8


@holds("out", "run")
def decompose(
    config: DecomposeConfig,
    subject: Subject,
    run: Path,
    out: Path,
    stop_after: int | None = None,
    fold: bool = True,
    storage: Storage = "bfloat16",
    ladder: tuple[int, ...] = LADDER,
    tracking: Tracking | None = None,
) -> Path | None:
    """Decompose a model and write the artefact to `out`; a run cut off goes on from its last checkpoint in `run`.

    It runs on the device that the model is on. Under torchrun every process calls this with the same arguments (`run` and
    `out` in a file system that all of them see); the first one writes the artefact when all have trained.

    With `fold`, subcomponents whose mean importance is at most 1e-6 are folded into delta. The evidence is measured
    on the values as `storage` rounds them, its adversary's steps by `ladder`; an empty one leaves the evidence out.
    tracking: who is told of the numbers beside the run's metrics.jsonl.
    """
    ranks, target = current(), subject.model
    ranks.on_first(lambda: refuse_existing(out))
    check_layout(config.rows, config.machine, ranks)
    require_context(target, config.context)
    check_wrap(target, find_sites(target, config.sites))
    # Without defaults, so that a field that a later version adds does not keep a run from resuming; and without the
    # layout, which may change on the way.
    recipe = config.model_dump(exclude_defaults=True, exclude={"machine"})
    key = [recipe, model_hash(target), subject.corpus.fingerprint()]
    config_hash = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    rows = training_rows(config, subject, run, config_hash)
    recorded = recording(run, tracking, config.model_dump(mode="json"))
    with recorded as recorder, memory_advice(config):
        decomposition = new_decomposition(target, config, rows)
        original = dict(zip(decomposition.sites, decomposition.counts, strict=True))
        trainer = Trainer(target, decomposition, rows, config)
        if not train(trainer, run, config_hash, stop_after, recorder=recorder):
            return None
        del trainer
        whole = consolidated(decomposition)

        def finish() -> None:
            evidence = _finish(config, subject, whole, rows, original, out, fold, storage, ladder)
            if evidence is not None:
                recorder.summary(_headline(evidence))

        ranks.on_first(finish)
    return out


def _finish(
    config: DecomposeConfig,
    subject: Subject,
    decomposition: Decomposition,
    rows: np.ndarray,
    original: dict[str, int],
    out: Path,
    fold: bool,
    storage: Storage,
    ladder: tuple[int, ...],
) -> Evidence | None:
    """From trained factors to the artefact: folding, rounding, evidence, if it was wanted."""
    decomposition.eval().requires_grad_(False).to(subject.device)
    if fold:
        decomposition = fold_dead(decomposition, mean_importance(subject.model, decomposition, rows))
        log.info(
            f"kept {decomposition.total:,} of {sum(original.values()):,} subcomponents; the rest is in delta"
        )
    decomposition.load_state_dict(restored(stored(decomposition.state_dict(), storage)))
    narrow, broad = evidence_mixtures(config)
    evidence = None
    if ladder:
        evidence, _ = account_on(subject, decomposition, narrow, original, ladder=ladder, broad=broad)
    provenance = {
        "recipe": config.model_dump(),
        "steps": config.steps,
        "text": described(subject.corpus),
        "original_subcomponents": original,
    }
    save_decomposition(decomposition, subject.model, out, provenance, evidence, storage)
    return evidence


def _headline(evidence: Evidence) -> dict[str, float]:
    """What trackers are told at the end: sparsity, and KL by masking with delta off, nats per token."""
    kl = {f"KL {row.title}": row.kl for row in evidence.rows if row.delta is False}
    return {
        "L0": evidence.l0_total,
        "alive": evidence.alive_total,
        "subcomponents": evidence.subcomponents,
        **kl,
    }


def training_rows(config: DecomposeConfig, subject: Subject, run: Path, config_hash: str) -> np.ndarray:
    """Shuffled token rows, made once per run and kept in it; of a targeted run batch by batch, narrow rows first."""
    folder = run / "rows"

    def make() -> None:
        """Draw the rows and keep them, unless an earlier start of the run did; refuse those of another run."""
        if not folder.exists():
            rows = _new_rows(config, subject)
            with new_artifact(folder, "tokens", {"config_hash": config_hash}) as staging:
                np.save(staging / "rows.npy", rows.astype(np.int32), allow_pickle=False)
        artifact = open_artifact(folder, "tokens")
        if artifact.provenance["config_hash"] != config_hash:
            raise RankOneError(
                f"'{run}' was started with another recipe, model or text. Use another run directory, or the same "
                "recipe."
            )

    current().on_first(make)
    return np.load(folder / "rows.npy", allow_pickle=False)


def _new_rows(config: DecomposeConfig, subject: Subject) -> np.ndarray:
    rng = np.random.default_rng(config.seed)

    def drawn(mixture: Mixture, count: int) -> np.ndarray:
        tokens = config.steps * count * config.context
        pieces = mixture_pieces(subject.corpus, mixture, tokens, rng)
        return mixture_rows(subject.tokenizer, pieces, mixture, tokens, config.context, rng)

    if config.targeted is None:
        return drawn(config.mixture, config.rows)
    count = config.targeted.narrow_rows(config.rows)
    narrow = drawn(config.targeted.mixture, count)
    broad = drawn(config.mixture, config.rows - count)
    return in_batches(narrow, broad, config.steps, config.rows, count)


def mean_importance(
    target: PreTrainedModel, decomposition: Decomposition, rows: np.ndarray, count: int = HARVEST_ROWS
) -> Float[Tensor, " subcomponents"]:
    """Mean importance of every subcomponent on the last `count` training rows."""
    total = torch.zeros(decomposition.total, device=target.device)
    chosen = torch.from_numpy(rows[-count:].astype(np.int64)).to(target.device)
    with DecomposedModel(target, decomposition) as model, meter("mean importance", len(chosen)) as bar:
        for ids in chosen.split(16):
            total += model.importance(ids).sum((0, 1))
            bar.advance(len(ids))
    return total / chosen.numel()


def fold_dead(
    decomposition: Decomposition,
    importance: Float[Tensor, " subcomponents"],
    threshold: float = ALIVE_MEAN_IMPORTANCE,
) -> Decomposition:
    """The decomposition without the subcomponents whose mean importance (`importance`) is at most `threshold`.

    What they held falls to delta, which is W minus the rest by definition. Their importance is taken as 0 from now on.
    """
    keep = importance > threshold
    factors, indices = {}, {}
    for site, kept in zip(decomposition.sites, keep.split(decomposition.counts), strict=True):
        read, write = decomposition.factors(site)
        factors[site] = (read[:, kept].detach().clone(), write[kept].detach().clone())
        indices[site] = decomposition.indices[site][kept.cpu()]
    function = decomposition.importance.kept(keep)
    return Decomposition(factors, function, indices).eval().requires_grad_(False)


def evidence_text(
    subject: Subject,
    mixture: Mixture,
    context: int,
    tokens: int = EVIDENCE_TOKENS,
    split: str = "validation",
) -> Blocks:
    """Held-out rows in the mixture's proportions, BOS first."""
    pieces = mixture_pieces(subject.corpus, mixture, 4 * tokens, np.random.default_rng(0), split)
    total = sum(mixture[d].weight for d in pieces)
    ids, valid = [], []
    for domain, passages in pieces.items():
        wanted = max(1, round(tokens * mixture[domain].weight / total / context))
        blocks = passage_blocks(subject.tokenizer, passages, context, what=f"the {split} text of '{domain}'")
        full = blocks.valid.sum(1).topk(min(wanted, len(blocks.ids))).indices.sort().values
        ids.append(blocks.ids[full])
        valid.append(blocks.valid[full])
    return Blocks(torch.cat(ids), torch.cat(valid))


def account_on(
    subject: Subject,
    decomposition: Decomposition,
    mixture: Mixture,
    original: dict[str, int] | None,
    ladder: tuple[int, ...] = LADDER,
    split: str = "validation",
    restarts: int = 1,
    broad: Mixture | None = None,
) -> tuple[Evidence, list[SubcomponentRow]]:
    """The evidence on held-out text, and a row for every subcomponent, highest mean importance first (spectrum.py).

    Of a targeted decomposition the evidence holds that on `broad` text too.
    """
    target, context = subject.model, subject.context
    about = TextUsed.checked({**described(subject.corpus), "split": split}, "the text")
    blocks = evidence_text(subject, mixture, context, split=split)
    domains = {
        domain: evidence_text(subject, {domain: mix}, context, tokens=DOMAIN_TOKENS, split=split)
        for domain, mix in mixture.items()
    }
    with (
        DecomposedModel(target, decomposition, EVIDENCE_BATCHES) as model,
        meter("evidence", work(decomposition.sites, ladder, restarts)) as bar,
    ):
        evidence, rows = gather_evidence(model, blocks, about, ladder, original, bar, restarts, domains)
    if broad is not None:
        blocks = evidence_text(subject, broad, context, split=split)
        with (
            DeltaOn(target, decomposition, EVIDENCE_BATCHES) as model,
            meter("adversary on broad text", max(ladder)) as bar,
        ):
            account = broad_evidence(model, blocks, evidence, ladder, original, bar)
        evidence = evidence.model_copy(update={"broad": account})
    return evidence, rows


class _Explained(Record, extra="ignore"):
    """What a recipe of any version says of its text. fraction: of a targeted one's rows."""

    mixture: Mixture
    targeted: _Explained | None = None
    steps: int = 0
    rows: int = 0
    context: int = 0
    fraction: float = 0.0

    def tokens_of(self, domain: str) -> int:
        """Training tokens of a domain, over all steps; of a run that goes on from another, its own alone."""
        narrow = narrow_rows(self.rows, self.targeted.fraction) if self.targeted else 0
        rows = (self.rows - narrow) * _share(self.mixture, domain)
        if self.targeted:
            rows += narrow * _share(self.targeted.mixture, domain)
        return round(self.steps * rows * self.context)


def _share(mixture: Mixture, domain: str) -> float:
    return mixture[domain].weight / sum(mix.weight for mix in mixture.values()) if domain in mixture else 0.0


class _Text(Record, extra="ignore"):
    fingerprint: str


class Made(Record, extra="ignore"):
    """What the manifest of a decomposition of any version says of its making, as far as later verbs ask for it.

    recipe and text: None of an imported one. original_subcomponents: by site, before dead ones were folded into delta.
    """

    original_subcomponents: dict[str, int] | None = None
    recipe: _Explained | None = None
    text: _Text | None = None


def made_of(artifact: Artifact) -> Made:
    """How the decomposition in an artefact was made."""
    return Made.checked(artifact.provenance, f"the manifest of '{artifact.path}'")


def mixture_of(artifact: Artifact, corpus: Corpus) -> Mixture:
    """The text a decomposition explains, as far as the corpus has its domains; of imported ones all domains alike."""
    recipe = made_of(artifact).recipe
    if recipe is None:
        return {domain: DomainMix(weight=1.0) for domain in corpus.domains()}
    return _known((recipe.targeted or recipe).mixture, corpus)


def broad_of(artifact: Artifact, corpus: Corpus) -> Mixture | None:
    """The broad text of a targeted decomposition, as far as the corpus has its domains; None of a full one."""
    recipe = made_of(artifact).recipe
    return _known(recipe.mixture, corpus) if recipe is not None and recipe.targeted is not None else None


def _known(mixture: Mixture, corpus: Corpus) -> Mixture:
    return {d: DomainMix(weight=mix.weight) for d, mix in mixture.items() if d in corpus.domains()}


def evidence_mixtures(config: DecomposeConfig) -> tuple[Mixture, Mixture | None]:
    """What the evidence of a run is measured on: its mixture and nothing else, or the narrow text and the broad."""
    return (config.mixture, None) if config.targeted is None else (config.targeted.mixture, config.mixture)
