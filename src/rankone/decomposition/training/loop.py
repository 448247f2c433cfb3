"""The loop of a decomposition run: steps from the last checkpoint on, with metrics and new checkpoints."""

from __future__ import annotations

import time
from pathlib import Path

from rankone.decomposition.training.state import put_state, state_of
from rankone.decomposition.training.trainer import Trainer
from rankone.runtime.checkpoint import load_checkpoint, save_checkpoint, trim_metrics
from rankone.runtime.progress import format_values, log, meter
from rankone.runtime.tracking.recording import Recorder


def train(
    trainer: Trainer,
    run: Path,
    config_hash: str,
    stop_after: int | None = None,
    log_every: int = 10,
    recorder: Recorder | None = None,
) -> bool:
    """Train to the end of the recipe (True) or to `stop_after` steps (False), from the run's last checkpoint.

    recorder: told every `log_every` steps; else the run's metrics.jsonl alone is.
    """
    config, first = trainer.config, trainer.ranks.first
    recorder = recorder or Recorder(run)
    run.mkdir(parents=True, exist_ok=True)
    last = config.steps if stop_after is None else min(config.steps, stop_after)
    with trainer.installed():
        start = _resume(trainer, run, config_hash)
        clock = time.perf_counter()
        with meter("decompose", config.steps) as bar:
            bar.advance(start)
            for step in range(start, last):
                metrics = trainer.step(step)
                metrics["it/s"] = (step + 1 - start) / (time.perf_counter() - clock)
                if first and (step % log_every == 0 or step + 1 == last):
                    recorder.log(step, metrics)
                bar.advance(1, format_values(metrics))
                if (step + 1) % config.checkpoint_every == 0 or step + 1 == last:
                    save_checkpoint(run, state_of(trainer, step + 1), config_hash)
    return last == config.steps


def _resume(trainer: Trainer, run: Path, config_hash: str) -> int:
    state = load_checkpoint(run, config_hash)
    step = -1 if state is None else state.step - 1
    if trainer.ranks.first:
        trim_metrics(run, step)
    if state is None:
        trainer.warm_up(trainer.config.warmup_steps)
        return 0
    put_state(trainer, state)
    log.info(f"resuming at step {state.step}")
    return state.step
