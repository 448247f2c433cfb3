"""Transcoders trained side by side on one model: the same tokens in one order, its activations computed once per batch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rankone.circuits.transcoders.coder import Transcoder, smallest_kept
from rankone.circuits.transcoders.codes import Codes
from rankone.circuits.transcoders.config import CoderConfig, TranscodersConfig
from rankone.circuits.transcoders.losses import local_losses, prediction_loss
from rankone.circuits.transcoders.places import Mlp, mlps_of, watched
from rankone.circuits.transcoders.rows import packed_rows
from rankone.core.errors import RankOneError
from rankone.core.tensors import tensor_hash
from rankone.models.sites import site_named
from rankone.runtime.checkpoint import (
    State,
    append_metrics,
    load_checkpoint,
    pack_module,
    pack_optimizer,
    save_checkpoint,
    trim_metrics,
    unpack_module,
    unpack_optimizer,
)
from rankone.runtime.progress import Meter, format_values, log, meter
from rankone.subject import Subject

BETAS, CLIP = (0.9, 0.99), 1.0
# Batches of training text that thresholds are fitted on.
THRESHOLD_BATCHES = 16
LOG_EVERY = 25


@dataclass
class _Trainee:
    """A transcoder in training. silent: [L, n], steps since each latent fired."""

    coder: Transcoder
    optimizer: torch.optim.Adam
    silent: Int[Tensor, "layers n"]
    dead_after: int

    @property
    def dead(self) -> Bool[Tensor, "layers n"]:
        """Latents that have not fired for long."""
        return self.silent >= self.dead_after

    def step(self, loss: Float[Tensor, ""]) -> None:
        """One step of Adam that keeps what latents write at norm 1."""
        loss.backward()
        self.coder.project_gradients()
        torch.nn.utils.clip_grad_norm_(self.coder.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.coder.normalise()

    def fired(self, codes: Sequence[Codes]) -> None:
        """Count which latents fired in a batch."""
        alive = torch.stack([code.fired() for code in codes])
        self.silent = torch.where(alive, 0, self.silent + 1)


@dataclass(frozen=True)
class Trained:
    """A finished transcoder.

    unexplained: share of each MLP's output that it leaves, at half of training and at the end, mean over layers and the last
    steps before. dead: share of its latents. text: tokens of the text, before any was read again.
    """

    coder: Transcoder
    unexplained: tuple[float, float]
    dead: float
    text: int


def train(
    subject: Subject, domains: Sequence[str], config: TranscodersConfig, run: Path
) -> tuple[list[Mlp], list[Trained]]:
    """Train every transcoder of the configuration; a run cut off goes on from its last checkpoint in `run`.

    RankOneError for a model without MLPs that can be replaced, for too little text, and for a loss that is not finite.
    """
    mlps = mlps_of(subject.model)
    rows = packed_rows(subject, domains, "train", config.tokens, config.context, config.batch, config.seed)
    model = subject.model.requires_grad_(False).eval()
    width = site_named(model, mlps[0].last).d_out
    trainees = [_trainee(one, len(mlps), width, config, subject.device) for one in config.coders]
    key = _key(subject, domains, config)
    start = _resume(trainees, run, key)
    with meter("transcoders", config.steps) as bar:
        bar.advance(start)
        _go_on(subject, mlps, trainees, config, rows, run, key, start, bar)
    _fit_thresholds(subject, mlps, [t.coder for t in trainees], rows, config)
    curves = _curves(run, config)
    return mlps, [
        Trained(
            t.coder.requires_grad_(False).eval(),
            curves[t.coder.config.name],
            float(t.dead.float().mean()),
            rows.size,
        )
        for t in trainees
    ]


def _trainee(
    one: CoderConfig, layers: int, width: int, config: TranscodersConfig, device: torch.device
) -> _Trainee:
    coder = Transcoder(one, layers, width).to(device)
    optimizer = torch.optim.Adam(coder.parameters(), lr=config.rate, betas=BETAS)
    silent = torch.zeros(layers, one.latents, dtype=torch.long, device=device)
    return _Trainee(coder, optimizer, silent, config.dead_after)


def _key(subject: Subject, domains: Sequence[str], config: TranscodersConfig) -> str:
    """What a checkpoint must have been made with to be gone on from."""
    weights = {name: tensor_hash(p.detach().float()) for name, p in subject.model.named_parameters()}
    said = [config.model_dump(mode="json"), list(domains), subject.corpus.fingerprint(), weights]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _batches(rows: np.ndarray, config: TranscodersConfig, start: int) -> Iterator[Int[Tensor, "rows length"]]:
    """Batches from step `start` on; each reading of the text in an order of its own."""
    per_batch = config.batch // config.context
    whole = len(rows) // per_batch
    for step in range(start, config.steps):
        turn, at = divmod(step, whole)
        order = np.random.default_rng([config.seed, turn]).permutation(len(rows))
        yield torch.from_numpy(rows[order[at * per_batch : (at + 1) * per_batch]].astype(np.int64))


def _go_on(
    subject: Subject,
    mlps: Sequence[Mlp],
    trainees: Sequence[_Trainee],
    config: TranscodersConfig,
    rows: np.ndarray,
    run: Path,
    key: str,
    start: int,
    bar: Meter,
) -> None:
    for step, ids in enumerate(_batches(rows, config, start), start):
        losses = _one_step(subject, mlps, trainees, config, ids.to(subject.device))
        due = (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps
        if due or step % LOG_EVERY == 0:
            _refuse_divergence(losses, step, run)
            append_metrics(run, {"step": step, **losses})
        bar.advance(1, format_values({"unexplained": float(np.mean(list(losses.values())))}))
        if due:
            save_checkpoint(run, State(step + 1, _packed(trainees), {}), key)


def _one_step(
    subject: Subject,
    mlps: Sequence[Mlp],
    trainees: Sequence[_Trainee],
    config: TranscodersConfig,
    ids: Int[Tensor, "rows length"],
) -> dict[str, float]:
    """A step of every transcoder; share of the MLPs' outputs left unexplained, mean over layers, by name."""
    model = subject.model
    with watched(model, mlps) as (inputs, outputs), torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits
    xs = [inputs[mlp.path].flatten(0, -2).float() for mlp in mlps]
    ys = [outputs[mlp.path].flatten(0, -2).float() for mlp in mlps]
    shares: dict[str, float] = {}
    for trainee in trainees:
        wanted, revived, codes = local_losses(trainee.coder, xs, ys, trainee.dead)
        loss = wanted.mean() + config.auxiliary * revived.mean()
        if trainee.coder.config.objective == "kl":
            loss = prediction_loss(model, mlps, trainee.coder, ids, logits)
            loss = loss + config.auxiliary * revived.mean()
        trainee.step(loss)
        trainee.fired(codes)
        shares[trainee.coder.config.name] = float(wanted.detach().mean())
    return shares


def _refuse_divergence(losses: dict[str, float], step: int, run: Path) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            raise RankOneError(f"'{name}' is {value} at step {step}: lower `rate`. '{run}' is kept.")


def _packed(trainees: Sequence[_Trainee]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for i, one in enumerate(trainees):
        tensors |= pack_module(f"coder-{i}", one.coder) | pack_optimizer(f"optimizer-{i}", one.optimizer)
        tensors[f"silent-{i}"] = one.silent
    return tensors


def _resume(trainees: Sequence[_Trainee], run: Path, key: str) -> int:
    """The step to go on from."""
    state = load_checkpoint(run, key)
    run.mkdir(parents=True, exist_ok=True)
    trim_metrics(run, -1 if state is None else state.step - 1)
    if state is None:
        return 0
    for i, one in enumerate(trainees):
        unpack_module(f"coder-{i}", one.coder, state.tensors)
        unpack_optimizer(f"optimizer-{i}", one.optimizer, state.tensors)
        one.silent = state.tensors[f"silent-{i}"].to(one.silent.device)
    log.info(f"resuming at step {state.step}")
    return state.step


@torch.no_grad()
def _fit_thresholds(
    subject: Subject,
    mlps: Sequence[Mlp],
    coders: Sequence[Transcoder],
    rows: np.ndarray,
    config: TranscodersConfig,
) -> None:
    """The mean over batches of training text of the smallest latent that batch top-k keeps."""
    limits = [torch.zeros_like(coder.get_buffer("threshold")) for coder in coders]
    batches = config.model_copy(update={"tokens": THRESHOLD_BATCHES * config.batch})
    for ids in _batches(rows, batches, 0):
        with watched(subject.model, mlps) as (inputs, _):
            subject.model(input_ids=ids.to(subject.device), use_cache=False)
        for coder, limit in zip(coders, limits, strict=True):
            for layer, mlp in enumerate(mlps):
                read = coder.read(layer, inputs[mlp.path].flatten(0, -2).float())
                limit[layer] += smallest_kept(read, coder.config.k) / THRESHOLD_BATCHES
    for coder, limit in zip(coders, limits, strict=True):
        coder.get_buffer("threshold").copy_(limit)


def _curves(run: Path, config: TranscodersConfig) -> dict[str, tuple[float, float]]:
    """Unexplained share at half and at the end of training: means over the last fifth of the steps logged before each."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf8").splitlines()]
    said: dict[str, tuple[float, float]] = {}
    for coder in config.coders:
        values = [float(line[coder.name]) for line in lines]
        half, last = max(1, len(values) // 2), max(1, len(values) // 5)
        said[coder.name] = (float(np.mean(values[:half][-last:])), float(np.mean(values[-last:])))
    return said
