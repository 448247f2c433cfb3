"""Measuring a model on every domain of a corpus, as a table and a file that other results can stand beside."""

from __future__ import annotations

from pathlib import Path

from rankone.core.artifact import MANIFEST, environment, open_artifact, write_json
from rankone.experiments.config import Measured
from rankone.metrics.cross_entropy import cross_entropies
from rankone.models.context import usual_context
from rankone.models.loading import load_model, load_tokenizer
from rankone.models.sources.names import resolve
from rankone.render.tables import Table
from rankone.text.corpus import Corpus
from rankone.text.passages import domain_blocks


def measure_model(name: str, corpus: Corpus, split: str, tokens: int, out: Path | None = None) -> Measured:
    """Cross-entropy per domain in nats per token over the first `tokens` tokens of a split; saved to `out`."""
    model, tokenizer = load_model(name), load_tokenizer(name)
    context = usual_context(model)
    text = {d: domain_blocks(tokenizer, corpus, d, split, tokens, context) for d in corpus.domains()}
    source = resolve(name)
    made = isinstance(source, Path) and (source / MANIFEST).is_file()
    measured = Measured(
        model=Path(str(source)).name,
        text={"name": corpus.name, "fingerprint": corpus.fingerprint()},
        split=split,
        tokens=tokens,
        ce=cross_entropies(model, text),
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
    rows = [[domain, value] for domain, value in measured.ce.items()]
    caption = f"{measured.tokens:,} tokens of {measured.split} text each"
    return Table.of(f"{measured.model}: cross-entropy, nats per token", ["domain", "CE"], rows, caption)
