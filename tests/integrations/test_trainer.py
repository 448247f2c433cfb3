"""The callback in a real Trainer: a row per epoch, the damage that the trained model has, weights as trained."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import VOCAB, llama
from transformers import Trainer, TrainingArguments

from rankone.integrations.trainer import DamageCallback
from rankone.metrics.cross_entropy import text_losses
from rankone.text.blocks import Blocks

pytest.importorskip("accelerate")


def blocks(seed):
    ids = torch.randint(VOCAB, (4, 12), generator=torch.Generator().manual_seed(seed))
    valid = torch.ones(4, 12, dtype=torch.bool)
    valid[:, 0] = False
    return Blocks(ids, valid)


def test_every_epoch_has_its_damage(tmp_path):
    model, text = llama(), {"seen": blocks(0), "other": blocks(1)}
    before = {domain: losses.mean for domain, losses in text_losses(model, text).items()}
    rows = [{"input_ids": row, "labels": row} for row in text["seen"].ids]
    callback = DamageCallback(text)
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=2,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[callback])
    trainer.train()
    assert list(callback.rows) == [1.0, 2.0]
    last = {d.domain: d for d in callback.rows[2.0]}
    after = {domain: losses.mean for domain, losses in text_losses(model.eval(), text).items()}
    assert {d: last[d].base for d in last} == pytest.approx(before)
    assert {d: last[d].edited for d in last} == pytest.approx(after, abs=1e-5)
    assert last["seen"].rise < -0.05
    assert len(callback.table()) == 4
    assert any("damage/other" in entry for entry in trainer.state.log_history)
