"""What survives of an edit: attacks on the model as it was exported and loaded again, never on the one in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.edits.export import export_checkpoint
from rankone.edits.lowrank import LowRankEdit
from rankone.experiments.survival.config import (
    ALL,
    Attack,
    Left,
    Survived,
    SurviveReply,
    SurviveRequest,
)
from rankone.experiments.survival.knob import Knob
from rankone.experiments.survival.left import Attacked, Losses, left_of
from rankone.experiments.survival.training import after_training
from rankone.experiments.survival.weights import quantised
from rankone.metrics.cross_entropy import PassageLosses, text_losses
from rankone.models.loading import load_model
from rankone.runtime.progress import meter
from rankone.runtime.scratch import scratch
from rankone.text.blocks import Blocks
from rankone.workspace import Workspace

_BITS = {"int8": 8, "int4": 4}


def survive(
    workspace: Workspace, edit: LowRankEdit, config: SurviveRequest, control: bool = True
) -> SurviveReply:
    """A run per attack, budget and seed. The workspace's model is the one before the edit, and stays so.

    control: train that model likewise, for who has not done so for another edit with the same settings.
    Raises RankOneError where the edit does not fit the model or removes nothing, or its export is not the edited model.
    """
    edit.check_base(workspace.model)
    domains = config.measured or tuple(workspace.corpus.domains())
    text = workspace.text(list(dict.fromkeys((config.forget, *domains))), "test", config.tokens)
    base = text_losses(workspace.model, text)
    with scratch("survive") as folder:
        models = _Reloaded(workspace, edit, folder)
        edited = text_losses(models.plain, text)
        removed = edited[config.forget].beyond(base[config.forget])
        if removed.mean <= 0:
            raise RankOneError(
                f"the edit removes nothing: cross-entropy on '{config.forget}' goes from {base[config.forget].mean:.3f} to "
                f"{edited[config.forget].mean:.3f}. Give --forget the domain that it was made for."
            )
        attacks = _Attacks(workspace, models, edit, config, text, base, removed, control)
        rows, left = list[Survived](), list[Left]()
        chosen = cast("tuple[Attack, ...]", config.attacks or ALL)
        with meter("attacks", len(chosen)) as bar:
            for attack in chosen:
                for runs in attacks.run(attack):
                    rows += [_survived(attack, run, config.forget) for run in runs]
                    left.append(left_of(attack, runs, config.forget))
                bar.advance()
    return SurviveReply(
        forget=config.forget, removed=removed.mean, runs=tuple(rows), left=tuple(left), out=config.out
    )


def _survived(attack: Attack, run: Attacked, forget: str) -> Survived:
    return Survived(
        attack=attack,
        budget=run.budget,
        seed=run.seed or 0,
        ce={d: losses.mean for d, losses in run.after.items()},
        base={d: run.before[d].mean for d in run.after},
        control=None if run.control is None else {d: losses.mean for d, losses in run.control.items()},
        removed=run.removed.mean,
        regained=1 - run.kept(forget).mean / run.removed.mean,
    )


class _Reloaded:
    """The edited model, exported in fp32 or bf16 and loaded from its files, on the workspace's device."""

    def __init__(self, workspace: Workspace, edit: LowRankEdit, folder: Path) -> None:
        self._workspace, self._edit, self._folder = workspace, edit, folder
        self.plain = self._made("float32", torch.float32)

    def rounded(self) -> PreTrainedModel:
        """The one whose weights were saved in bfloat16."""
        return self._made("bfloat16", torch.bfloat16)

    def _made(self, name: str, dtype: torch.dtype) -> PreTrainedModel:
        space = self._workspace
        export_checkpoint(space.model, space.tokenizer, self._edit, self._folder / name, dtype)
        return load_model(self._folder / name).to(space.device)  # pyright: ignore[reportArgumentType]


class _Attacks:
    def __init__(
        self,
        workspace: Workspace,
        models: _Reloaded,
        edit: LowRankEdit,
        config: SurviveRequest,
        text: dict[str, Blocks],
        base: Losses,
        removed: PassageLosses,
        control: bool,
    ) -> None:
        self.workspace, self.models, self.edit = workspace, models, edit
        self.config, self.text, self.base, self.removed = config, text, base, removed
        self.seeds, self.control = range(config.seed, config.seed + config.seeds), control

    def run(self, attack: Attack) -> Iterator[list[Attacked]]:
        """What an attack leaves, budget by budget."""
        if attack == "prompt":
            yield [self._prompted()]
        elif attack in ("none", "bf16", *_BITS):
            after = text_losses(self._altered(attack), self.text)
            yield [Attacked(0, None, after, self.base, self.removed)]
        else:
            for budget in self.config.budgets:
                after = self._trained(self.models.plain, attack, budget)
                # An edit's own size is no part of the unedited model.
                beside = self.control and attack != "knob"
                unedited = beside and self._trained(self.workspace.model, attack, budget)
                yield [
                    Attacked(budget, seed, losses, self.base, self.removed, alike)
                    for seed, losses, alike in zip(
                        self.seeds, after, unedited or [None] * self.config.seeds, strict=True
                    )
                ]

    def _prompted(self) -> Attacked:
        """Second halves of rows after the first, beside the removal on the same tokens without it.

        Raises RankOneError where nothing is removed of them.
        """
        forget = self.config.forget
        late = {d: _second_half(blocks) for d, blocks in self.text.items()}
        after, before = (text_losses(m, late) for m in (self.models.plain, self.workspace.model))
        alone = {forget: _alone(late[forget])}
        edited, plain = (text_losses(m, alone)[forget] for m in (self.models.plain, self.workspace.model))
        removed = edited.beyond(plain)
        if removed.mean <= 0:
            raise RankOneError(
                f"of the second halves of '{forget}' rows, read alone, the edit removes nothing ({plain.mean:.3f} to "
                f"{edited.mean:.3f}), so a prompt has nothing to bring back: give --attacks without prompt."
            )
        return Attacked(0, None, after, before, removed)

    def _trained(self, model: PreTrainedModel, attack: Attack, budget: int) -> Iterator[Losses]:
        method = Knob(self.edit) if attack == "knob" else None
        return after_training(self.workspace, model, self.config, attack, budget, self.text, method)

    def _altered(self, attack: Attack) -> PreTrainedModel:
        if attack == "bf16":
            return self.models.rounded()
        return quantised(self.models.plain, _BITS[attack]) if attack in _BITS else self.models.plain


def _second_half(blocks: Blocks) -> Blocks:
    """The same rows, scored from the middle on: the model has read the first half as its prompt."""
    valid = blocks.valid.clone()
    valid[:, : blocks.ids.shape[1] // 2] = False
    return Blocks(blocks.ids, valid)


def _alone(late: Blocks) -> Blocks:
    """Second halves without what stands before them: rows of their first token, which is not scored, and of the half."""
    half = late.ids.shape[1] // 2
    return Blocks(*(torch.cat([side[:, :1], side[:, half:]], 1) for side in (late.ids, late.valid)))
