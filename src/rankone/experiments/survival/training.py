"""Attacks that train: a model goes on learning on a few tokens, edited or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from transformers import PreTrainedModel

from rankone.edits.adapters import Method
from rankone.edits.fitting.config import FitConfig
from rankone.edits.fitting.fit import fit_many
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.run import Run
from rankone.edits.fitting.text.forget_text import budget_text
from rankone.edits.methods.full import Full
from rankone.edits.methods.lora import Lora
from rankone.experiments.survival.config import Attack, SurviveRequest
from rankone.experiments.survival.left import Losses
from rankone.metrics.cross_entropy import text_losses
from rankone.text.blocks import Blocks
from rankone.workspace import Workspace

# Attacks begin elsewhere in the text than fits of the same seed; a large budget may still reach what a fit has seen.
FIRST_SEED = 5000


def after_training(
    workspace: Workspace,
    model: PreTrainedModel,
    config: SurviveRequest,
    attack: Attack,
    budget: int,
    text: Mapping[str, Blocks],
    method: Method | None = None,
) -> Iterator[Losses]:
    """Losses by domain of a model after training on so many tokens, by seed; it stays as it was.

    method: what is trained, in place of the LoRA or the weights that the attack names.
    """
    domain = config.benign if attack.startswith("benign") else config.forget
    seeds = range(FIRST_SEED + config.seed, FIRST_SEED + config.seed + config.seeds)
    rate = config.knob_rate
    if method is None:
        lora = attack.endswith("lora")
        method = Lora(model, ["*"], name="lora_r1") if lora else Full(model, ["*"], "full")
        rate = config.lora_rate if lora else config.full_rate
    # One token has nothing that follows it: two are the fewest that can be learned from.
    texts = [budget_text(workspace, domain, max(2, budget), seed) for seed in seeds]
    runs = [Run(chosen_text, seed, 0.0, rate) for chosen_text, seed in zip(texts, seeds, strict=True)]
    fit = FitConfig(steps=config.steps, patience=config.steps, target="sampled", objective="learn")
    # The engine wants retained text; at a weight of 0 a single row does.
    nothing = RetainText(model, texts[0].rows(0, 1))
    for one in fit_many(model, method, runs, nothing, fit):
        with one.edit.applied(model):
            yield text_losses(model, text)
