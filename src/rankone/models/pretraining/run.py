"""Pretraining of the built-in architecture from a recipe: text mixture → tokenizer → token stream → model."""

from __future__ import annotations

import hashlib
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rankone.core.artifact import new_artifact, open_artifact, refuse_existing, write_json
from rankone.core.errors import RankOneError
from rankone.metrics.cross_entropy import cross_entropy, next_token_losses
from rankone.models.loading import load_tokenizer
from rankone.models.pretraining.config import Preset, PretrainConfig
from rankone.models.simple_mlp import SimpleMLPConfig, SimpleMLPForCausalLM
from rankone.models.tokenizer import train_tokenizer
from rankone.runtime.checkpoint import (
    State,
    load_checkpoint,
    pack_module,
    pack_optimizer,
    save_checkpoint,
    trim_metrics,
    unpack_module,
    unpack_optimizer,
)
from rankone.runtime.device import chosen_device
from rankone.runtime.places import holds
from rankone.runtime.progress import format_values, log, meter
from rankone.runtime.seeding import seeded
from rankone.runtime.tracking.recording import Recorder, Tracking, recording
from rankone.text.blocks import chunk_documents, packed_stream, passage_blocks
from rankone.text.corpus import CHARS_PER_TOKEN, Corpus, described, enough_chars
from rankone.text.mixture import CHUNK_CHARS, mixture_pieces, mixture_rows

KIND = "model"
VALIDATION_TOKENS = 8000
LOG_EVERY = 20


@holds("out", "run")
def pretrain(
    config: PretrainConfig,
    preset: str,
    corpus: Corpus,
    run: Path,
    out: Path,
    device: torch.device | None = None,
    tracking: Tracking | None = None,
) -> Path:
    """Train a model and write it to `out`; a run cut off goes on from its last checkpoint in `run`.

    device: None takes a GPU where there is one. tracking: who is told of the numbers beside the run's metrics.jsonl.
    """
    size = config.require_preset(preset)
    refuse_existing(out)
    _require_test_text(config, corpus)
    config_hash = hashlib.sha256(
        json.dumps([config.model_dump(exclude_defaults=True), preset, corpus.fingerprint()]).encode()
    ).hexdigest()
    with recording(run, tracking, config.model_dump(mode="json")) as recorder:
        tokenizer, tokens = prepare_tokens(config, size, corpus, run, config_hash)
        model = build_model(config, size, tokenizer)
        model.to(device or chosen_device())  # pyright: ignore[reportArgumentType]
        _train(model, config, size, tokens, run, config_hash, recorder)
        table = _finish(model, tokenizer, config, preset, corpus, out)
        recorder.summary({f"test CE {domain}": row["ce"] for domain, row in table.items()})
    return out


def _require_test_text(config: PretrainConfig, corpus: Corpus) -> None:
    """Refuse a corpus on which the finished model could not be measured, before training it."""
    for domain in config.mixture:
        if not any(corpus.documents(domain, "test", 1)):
            raise RankOneError(f"corpus '{corpus.name}' has no test text for '{domain}'. Add some.")


def build_model(
    config: PretrainConfig, size: Preset, tokenizer: PreTrainedTokenizerBase
) -> SimpleMLPForCausalLM:
    """A freshly initialised model; the seed decides its weights."""
    shape = SimpleMLPConfig(
        vocab_size=config.vocab_size,
        hidden_size=size.hidden_size,
        num_hidden_layers=size.num_hidden_layers,
        num_attention_heads=size.num_attention_heads,
        intermediate_size=size.intermediate_size,
        max_position_embeddings=config.context,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with seeded(config.seed):
        return SimpleMLPForCausalLM(shape)


def prepare_tokens(
    config: PretrainConfig, size: Preset, corpus: Corpus, run: Path, config_hash: str
) -> tuple[PreTrainedTokenizerBase, np.ndarray]:
    """Tokenizer and shuffled rows [rows, context] of the mixture, made once per run and kept in it."""
    folder = run / "tokens"
    if not folder.exists():
        log.info("reading text and training the tokenizer")
        rng = np.random.default_rng(config.seed)
        pieces = mixture_pieces(corpus, config.mixture, size.tokens, rng, without=tuple(config.without))
        tokenizer = _tokenizer(config, corpus, pieces, size)
        rows = mixture_rows(tokenizer, pieces, config.mixture, size.tokens, config.context, rng)
        with new_artifact(folder, "tokens", {"config_hash": config_hash}) as staging:
            tokenizer.save_pretrained(staging / "tokenizer")
            narrow = np.uint16 if config.vocab_size <= 1 << 16 else np.int32
            np.save(staging / "rows.npy", rows.astype(narrow), allow_pickle=False)
    artifact = open_artifact(folder, "tokens")
    if artifact.provenance["config_hash"] != config_hash:
        raise RankOneError(f"'{run}' was started with another recipe or text. Use another run directory.")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    return tokenizer, np.load(folder / "rows.npy", allow_pickle=False)


def _tokenizer(
    config: PretrainConfig, corpus: Corpus, pieces: dict[str, list[str]], size: Preset
) -> PreTrainedTokenizerBase:
    """Reuse a tokenizer, or train one on the same mixture the model will read."""
    if config.tokenizer_from is not None:
        tokenizer = load_tokenizer(config.tokenizer_from)
        if len(tokenizer) > config.vocab_size:
            raise RankOneError(
                f"vocabulary mismatch: the tokenizer of '{config.tokenizer_from}' has {len(tokenizer)} entries, "
                f"vocab_size is {config.vocab_size}. Raise vocab_size, or take another tokenizer."
            )
        return tokenizer
    if config.without:
        raise RankOneError(
            f"a reference without {config.without} needs the tokenizer of the full model: set tokenizer_from "
            f"(corpus '{corpus.name}')."
        )
    total = size.tokens * CHARS_PER_TOKEN
    fraction = min(1.0, config.tokenizer_chars / total)
    sample = [
        piece
        for documents in pieces.values()
        for piece in documents[: max(1, int(len(documents) * fraction))]
    ]
    return train_tokenizer(sample, config.vocab_size, config.context)


def _learning_rate(step: int, steps: int, config: PretrainConfig, peak: float) -> float:
    """Linear warm-up, then cosine to the final fraction."""
    if step < config.warmup_steps:
        return peak * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    low = config.final_lr_fraction
    return peak * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress)))


def _optimizer(model: SimpleMLPForCausalLM, config: PretrainConfig, lr: float) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), fused=True)


def next_token_loss(model: SimpleMLPForCausalLM, ids: Int[Tensor, "rows length"]) -> Float[Tensor, ""]:
    """Mean next-token cross-entropy in nats, under bf16 autocast."""
    with torch.autocast(ids.device.type, torch.bfloat16):
        logits = model(ids).logits
    return next_token_losses(logits, ids)[:, 1:].mean()


def _train(
    model: SimpleMLPForCausalLM,
    config: PretrainConfig,
    size: Preset,
    rows: np.ndarray,
    run: Path,
    config_hash: str,
    recorder: Recorder,
) -> None:
    """One pass over the rows."""
    device = model.device
    model.train()
    optimizer = _optimizer(model, config, size.learning_rate)
    steps = len(rows) // size.batch_rows
    if steps == 0:
        raise RankOneError(f"{len(rows)} rows of text are fewer than one batch of {size.batch_rows}.")
    start = _resume(model, optimizer, run, config_hash)
    clock = time.perf_counter()
    with meter("pretrain", steps) as bar:
        bar.advance(start)
        for step in range(start, steps):
            batch = rows[step * size.batch_rows : (step + 1) * size.batch_rows].astype(np.int64)
            for group in optimizer.param_groups:
                group["lr"] = _learning_rate(step, steps, config, size.learning_rate)
            loss = next_token_loss(model, torch.from_numpy(batch).to(device))
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            optimizer.zero_grad()
            due = (step + 1) % config.checkpoint_every == 0 or step + 1 == steps
            if due or step % LOG_EVERY == 0:
                _refuse_divergence(loss, norm, step, run)
            if step % LOG_EVERY == 0 or step + 1 == steps:
                value = loss.item()
                rate = (step + 1 - start) * batch.size / (time.perf_counter() - clock)
                recorder.log(step, {"loss": value, "tokens_per_second": rate})
                bar.advance(0, format_values({"loss": value, "tok/s": rate}))
            bar.advance(1)
            if due:
                tensors = pack_module("model", model) | pack_optimizer("optimizer", optimizer)
                save_checkpoint(run, State(step + 1, tensors, {}), config_hash)


def _refuse_divergence(loss: Tensor, norm: Tensor, step: int, run: Path) -> None:
    """Stop before a checkpoint with NaN in it replaces the last good one."""
    for what, value in (("loss", loss.item()), ("gradient norm", norm.item())):
        if not math.isfinite(value):
            raise RankOneError(f"the {what} is {value} at step {step}: lower learning_rate. '{run}' is kept.")


def _resume(
    model: SimpleMLPForCausalLM, optimizer: torch.optim.Optimizer, run: Path, config_hash: str
) -> int:
    state = load_checkpoint(run, config_hash)
    if state is None:
        trim_metrics(run, -1)
        return 0
    unpack_module("model", model, state.tensors)
    unpack_optimizer("optimizer", optimizer, state.tensors)
    trim_metrics(run, state.step - 1)
    log.info(f"resuming at step {state.step}")
    return state.step


def _finish(
    model: SimpleMLPForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    config: PretrainConfig,
    preset: str,
    corpus: Corpus,
    out: Path,
) -> dict[str, dict[str, float]]:
    """Round to bf16 once, so that what is shipped is what everything later decomposes, and write it; its test figures."""
    model.cpu().eval().bfloat16()
    table = evaluate_domains(model, tokenizer, config, corpus)
    provenance = {
        "recipe": config.model_dump(),
        "preset": preset,
        "text": described(corpus),
    }
    with new_artifact(out, KIND, provenance) as staging:
        model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        write_json(staging / "pretraining.json", table)
    return table


def evaluate_domains(
    model: SimpleMLPForCausalLM, tokenizer: PreTrainedTokenizerBase, config: PretrainConfig, corpus: Corpus
) -> dict[str, dict[str, float]]:
    """Per domain of the mixture: test cross-entropy of the model, of a unigram model, and ln V, in nats per token."""
    table = {}
    wide = model.float()
    for domain in config.mixture:
        documents = chunk_documents(
            corpus.documents(domain, "test", enough_chars(VALIDATION_TOKENS)), CHUNK_CHARS
        )
        blocks = passage_blocks(tokenizer, documents, config.context).take(VALIDATION_TOKENS)
        targets = blocks.ids[blocks.valid]
        train = chunk_documents(corpus.documents(domain, "train", 2_000_000), CHUNK_CHARS)
        counts = np.bincount(packed_stream(tokenizer, train, 500_000), minlength=config.vocab_size) + 1.0
        unigram = -np.log(counts / counts.sum())[targets.numpy()].mean()
        table[domain] = {
            "ce": cross_entropy(wide, blocks),
            "unigram": float(unigram),
            "chance": math.log(config.vocab_size),
            "tokens": float(blocks.tokens),
        }
    model.bfloat16()
    return table
