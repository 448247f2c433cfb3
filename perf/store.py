"""How large a harvest is at the published shapes, beside a dense layout of the same statistics, and how it grows.

    python -m perf.store --out perf/results/store-67m.json
    python -m perf.store --text DIR --tokenizer gpt-neox-20b-tokenizer.json --tokens 25000

The harvest is RankOne's own from start to end (harvest.run, harvest.combine, HarvestStore) over real text; the weights are
random, and what fires is simulated (simulated.py says how): the published number alive and L0. Text: by default the
built-in corpus; without `--tokenizer` its words and marks are the vocabulary, as many as the target has entries.

Each size is a harvest of its own over a prefix of the text. Two ratios are given: of the dense layout of all
subcomponents, which is the published one, and of a dense layout of nothing but those alive. Figures beyond the text read
are extrapolated (growth.py), and labelled so.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from perf.cases import SIZES
from perf.environment import environment
from perf.figures import Clock, dense_bytes, store_figures
from perf.growth import Growth, Table, power
from perf.simulated import simulated
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from rankone.core.artifact import write_json
from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting.chunks import table_writer
from rankone.harvest.counting.collect import likely_tokens
from rankone.harvest.counting.combine import EXAMPLE_ROW_GROUP, combine
from rankone.harvest.counting.plan import Batch, batches
from rankone.harvest.reading.store import HarvestStore
from rankone.harvest.run import harvest
from rankone.runtime.memory import peak_megabytes
from rankone.text.corpus import Corpus, enough_chars
from rankone.text.opening import open_corpus
from rankone.workspace import Workspace

# Of a published decomposition of these shapes.
ALIVE, L0 = 9972, 205.0
# The least density drawn: every subcomponent alive should fire in the text of one run.
LEAST = 1e-4
BAR = 20
FRACTIONS = (9, 3, 1)
GROWING = ("inputs", "outputs", "cofiring")


def words(corpus: Corpus, domains: list[str], tokens: int, size: int) -> PreTrainedTokenizerFast:
    """A tokenizer whose entries are the text's commonest words and marks."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="[unk]"))  # pyright: ignore[reportCallIssue]
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.WordLevelTrainer(
        vocab_size=size, special_tokens=["[unk]", "[bos]"], show_progress=False
    )
    documents = (d for domain in domains for d in corpus.documents(domain, "train", enough_chars(tokens)))
    tokenizer.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[unk]", bos_token="[bos]")


def measure(workspace: Workspace, config: HarvestConfig, folder: Path) -> dict[str, Any]:
    """Harvest once and say what was counted, how large it is and what it cost."""
    with Clock() as collecting:
        harvest(workspace, config, folder / "run")
    with Clock() as combining:
        combine([folder / "run"], folder / "out")
    store = HarvestStore.open(folder / "out")
    firings, tokens = store.firings(), sum(store.tokens().values())
    alive, vocabulary = int((firings > 0).sum()), workspace.vocabulary
    figures = store_figures(folder / "out", vocabulary, config)
    dense_alive = dense_bytes(alive, vocabulary, config.examples, config.window)
    rows = {p.stem: pq.read_metadata(p).num_rows for p in sorted((folder / "out").glob("*.parquet"))}
    return {
        "tokens": tokens,
        "different_tokens": int((np.sum(list(store.token_counts().values()), axis=0) > 0).sum()),
        "alive": alive,
        "l0": round(float(firings.sum()) / tokens, 1),
        "sample_full": int((firings >= config.examples).sum()),
        "always_on": int((firings > 0.9 * tokens).sum()),
        **figures,
        "rows_by_table": rows,
        "bytes_a_row": {
            n: round(figures["bytes_by_file"][f"{n}.parquet"] / max(rows[n], 1), 2) for n in rows
        },
        "bytes_a_window_of_long_text": full_window_bytes(folder / "out", firings, config.examples),
        "dense_bytes_of_the_alive": dense_alive,
        "dense_of_the_alive_over_store": round(dense_alive / figures["bytes"], 1),
        "collecting": collecting.seconds(),
        "combining": combining.seconds(),
        "tokens_per_processor_second": round(tokens / (collecting.processor + combining.processor), 1),
        "peak_memory_mb": peak_megabytes(),
        "firings": np.sort(firings[firings > 0]),
    }


def full_window_bytes(out: Path, firings: np.ndarray, examples: int) -> float | None:
    """Bytes of a window of those that fire at least ten times as often as their sample is large; None without any.

    Where every firing is kept, windows overlap and pack better than those of a long text.
    """
    found = pq.read_table(out / "examples.parquet")
    often = np.flatnonzero(firings >= 10 * examples)
    chosen = found.filter(pa.array(np.isin(found["part"].to_numpy(), often)))
    if not len(chosen):
        return None
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        path = Path(folder) / "examples.parquet"
        with table_writer(path, chosen.schema) as writer:
            writer.write_table(chosen, row_group_size=EXAMPLE_ROW_GROUP)
        return round(path.stat().st_size / len(chosen), 2)


def growth(results: list[dict[str, Any]], vocabulary: int, config: HarvestConfig) -> Growth:
    """What the last two sizes tell about larger ones."""
    before, last = results[-2:]
    alive = last["alive"]
    most = {"inputs": alive * vocabulary, "outputs": alive * vocabulary, "cofiring": alive * (alive - 1) // 2}
    sizes, rows = last["bytes_by_file"], last["rows_by_table"]
    tables = {
        name: Table(
            sizes[f"{name}.parquet"] / rows[name],
            rows[name],
            power((before["tokens"], last["tokens"]), (before["rows_by_table"][name], rows[name])),
            most[name],
        )
        for name in GROWING
    }
    growing = {*(f"{name}.parquet" for name in (*GROWING, "examples", "rows")), "tokens.npy"}
    return Growth(
        last["tokens"],
        tables,
        last["bytes_a_window_of_long_text"] or last["bytes_a_row"]["examples"],
        config.examples,
        (sizes["tokens.npy"] + sizes["rows.parquet"]) / last["tokens"],
        sum(size for name, size in sizes.items() if name not in growing),
        last["firings"],
    )


def extrapolated(known: Growth, dense: dict[str, int]) -> dict[str, Any]:
    """The bound when all is full, and where the bar is crossed; none of it was run."""
    bounds = known.bounds()
    whole = sum(bounds.values()) + known.fixed_bytes
    return {
        "what": "extrapolated from the rows and bytes of the last two sizes (perf/growth.py)",
        "powers_of_the_text": {name: round(t.power, 3) for name, t in known.tables.items()},
        "samples_all_full": {
            "bytes_of_examples": round(bounds["examples"]),
            **{f"{name}_over_store": round(size / _saturated(known), 1) for name, size in dense.items()},
        },
        "all_tables_full_without_text": {
            "bytes_by_table": {name: round(size) for name, size in bounds.items()},
            "bytes": round(whole),
            **{f"{name}_over_store": round(size / whole, 1) for name, size in dense.items()},
        },
        "tokens_at_the_bar": {name: known.tokens_at(size / BAR) for name, size in dense.items()},
        "by_tokens": {
            f"{tokens:.0e}": {
                "bytes": round(known.bytes_at(tokens)),
                **{
                    f"{name}_over_store": round(size / known.bytes_at(tokens), 1)
                    for name, size in dense.items()
                },
            }
            for tokens in (1e6, 1e7, 1e8)
        },
    }


def _saturated(known: Growth) -> float:
    """Bytes of the store as measured, but with full samples of all that fire, all in windows of long text."""
    held = float(np.minimum(known.firings, known.examples).sum())
    return known.bytes_at(known.tokens) + known.window_bytes * (known.examples * len(known.firings) - held)


def next_tokens(target: PreTrainedModel, batch: Batch, config: HarvestConfig) -> float:
    """How many likely next tokens a position has, in the mean of a batch."""
    logits = target(input_ids=batch.blocks.ids).logits[batch.blocks.valid]
    likely = likely_tokens(logits, config.top_tokens, config.least_probability)
    return round(float(likely.length.float().mean()), 2)


def main() -> None:
    """Harvest every size, and write the figures."""
    given = _options()
    before = environment()
    size, corpus = SIZES[given.size], open_corpus(given.text)
    domains = given.domains.split(",") if given.domains else corpus.domains()
    vocabulary = size.target["vocab_size"]
    tokenizer = (
        words(corpus, domains, given.tokens, vocabulary)
        if given.tokenizer is None
        else PreTrainedTokenizerFast(tokenizer_file=str(given.tokenizer), bos_token=given.bos)
    )
    if len(tokenizer) > vocabulary:
        raise SystemExit(f"'{given.tokenizer}' has {len(tokenizer)} entries, the target {vocabulary}.")
    config = HarvestConfig(
        domains=tuple(domains),
        tokens=given.tokens,
        context=size.target["max_position_embeddings"],
        batch_tokens=given.batch_tokens,
    )
    plan = list(batches(tokenizer, corpus, config))
    target, decomposition = simulated(size, plan, given.alive, given.l0, LEAST)
    workspace = Workspace(target, tokenizer, corpus, decomposition)
    spoken = next_tokens(target, plan[len(plan) // 2], config)
    results = []
    for fraction in FRACTIONS:
        own = config.model_copy(update={"tokens": given.tokens // fraction})
        with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
            results.append(measure(workspace, own, Path(folder)))
        print({k: v for k, v in results[-1].items() if k not in ("firings", "bytes_by_file")}, flush=True)
    dense = {
        "dense": results[-1]["dense_bytes"],
        "dense_of_the_alive": results[-1]["dense_bytes_of_the_alive"],
    }
    beyond = extrapolated(growth(results, vocabulary, config), dense)
    print(beyond)
    entries = "the text's words and marks" if given.tokenizer is None else given.tokenizer.name
    chosen = {"size": given.size, "tokenizer": entries, "tokenizer_entries": len(tokenizer)}
    chosen |= {"text": Path(corpus.name).name, "text_fingerprint": corpus.fingerprint()}
    drawn = {"alive": given.alive, "l0": given.l0, "least_density": LEAST, "next_tokens_a_position": spoken}
    for result in results:
        del result["firings"]
    write_json(
        given.out,
        {
            "environment": before,
            "config": {**chosen, **config.model_dump(mode="json")},
            "simulated": {"what": "weights, firing and next tokens (perf/simulated.py)", **drawn},
            "measured": results,
            "extrapolated": beyond,
        },
    )


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser()
    options.add_argument("--size", choices=SIZES, default="67m")
    options.add_argument("--text", default="builtin", help="builtin, or a directory with a folder per domain")
    options.add_argument("--domains", help="some of the text's, separated by commas; default all")
    options.add_argument("--tokenizer", type=Path, help="tokenizer.json; default the text's words")
    options.add_argument("--bos", default="<|endoftext|>", help="what opens a row with --tokenizer")
    options.add_argument("--tokens", type=int, default=9000, help="per domain, at most")
    options.add_argument("--alive", type=int, default=ALIVE)
    options.add_argument("--l0", type=float, default=L0)
    options.add_argument("--batch-tokens", type=int, default=2048)
    options.add_argument("--scratch", type=Path, help="where the stores are written, and removed again")
    options.add_argument("--out", type=Path, default=Path("perf/results/store-67m.json"))
    return options.parse_args()


if __name__ == "__main__":
    main()
