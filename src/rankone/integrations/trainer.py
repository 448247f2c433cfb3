"""A callback of Hugging Face's Trainer: what training does to text that it is not trained on, after every epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import nn
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rankone.core.errors import RankOneError
from rankone.metrics.cross_entropy import PassageLosses, text_losses
from rankone.metrics.damage import damages
from rankone.metrics.damage_record import DomainDamage, interval_said
from rankone.render.tables import Table
from rankone.runtime.progress import log
from rankone.text.blocks import Blocks


class DamageCallback(TrainerCallback):
    """Cross-entropy of every domain of some text at the start of training and after each epoch.

    text: token blocks by domain (`Subject.text`), on the model's device. rows: epoch → damage per domain, with its 95 %
    interval; the rises also stand in the state's log_history (`damage/de`).
    """

    def __init__(self, text: Mapping[str, Blocks]) -> None:
        self.text = dict(text)
        self.rows: dict[float, tuple[DomainDamage, ...]] = {}
        self._base: dict[str, PassageLosses] = {}

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **_: object,
    ) -> None:
        """Measure the model as it is; of a run that goes on, the first start counts."""
        del args, state, control
        if not self._base:
            self._base = self._measured(model)

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **_: object,
    ) -> None:
        """Measure again, and keep the rises in the history of the run."""
        del args, control
        epoch = float(state.epoch or 0.0)
        try:
            made = damages(self._base, self._measured(model))
        except RankOneError as error:  # training that went wrong is not ours to end
            log.warning(f"epoch {epoch:g}: {error}")
            return
        self.rows[epoch] = tuple(DomainDamage.of(domain, damage) for domain, damage in made.items())
        rises = {f"damage/{domain}": damage.rise for domain, damage in made.items()}
        state.log_history.append({"epoch": epoch, "step": state.global_step, **rises})

    def table(self) -> Table:
        """One row per epoch and domain."""
        rows = [
            [epoch, d.domain, d.base, d.edited, d.shown] for epoch, made in self.rows.items() for d in made
        ]
        columns = ["epoch", "domain", "CE before", "CE now", "rise"]
        said = interval_said(d for made in self.rows.values() for d in made)
        return Table.of("What training did to other text", columns, rows, f"nats per token; rise: {said}")

    def _measured(self, model: nn.Module | None) -> dict[str, PassageLosses]:
        assert model is not None, "the Trainer gives its callbacks the model"
        training = model.training
        try:
            return dict(text_losses(cast("PreTrainedModel", model.eval()), self.text))
        finally:
            model.train(training)
