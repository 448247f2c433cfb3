"""Measuring a model on every domain of a corpus, as a table and a file that other results can stand beside."""

from __future__ import annotations

from pathlib import Path

from rankone.core.artifact import MANIFEST, environment, open_artifact, write_json
from rankone.experiments.config import Measured
from rankone.metrics.cross_entropy import text_losses
from rankone.models.context import usual_context
from rankone.models.loading import load_model, load_tokenizer
from rankone.models.sources.names import resolve
from rankone.render.tables import Table
from rankone.text.corpus import Corpus, described
from rankone.text.passages import domain_blocks, shortages


def measure_model(name: str, corpus: Corpus, split: str, tokens: int, out: Path | None = None) -> Measured:
    """Cross-entropy per domain in nats per token over the first `tokens` tokens of a split; saved to `out`."""
    model, tokenizer = load_model(name), load_tokenizer(name)
    context = usual_context(model)
    text = {d: domain_blocks(tokenizer, corpus, d, split, tokens, context) for d in corpus.domains()}
    losses = text_losses(model, text)
    source = resolve(name)
    made = isinstance(source, Path) and (source / MANIFEST).is_file()
    measured = Measured(
        model=Path(str(source)).name,
        text=described(corpus),
        split=split,
        tokens=tokens,
        ce={d: own.mean for d, own in losses.items()},
        error={d: own.error for d, own in losses.items()},
        short=shortages(text, tokens),
        provenance={
            **environment(),
            "model": open_artifact(source).manifest.model_dump() if made else {"name": name},
        },
    )
    if out is not None:
        write_json(out, measured.model_dump())
    return measured


def measured_table(measured: Measured) -> Table:
    """Cross-entropy by domain."""
    rows = [[domain, value, measured.error.get(domain)] for domain, value in measured.ce.items()]
    caption = f"{measured.tokens:,} tokens of {measured.split} text each"
    caption += "".join(f"; {domain} has only {count:,}" for domain, count in measured.short.items())
    columns = ["domain", "CE", "standard error"]
    return Table.of(f"{measured.model}: cross-entropy, nats per token", columns, rows, caption)
