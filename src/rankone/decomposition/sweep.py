"""The importance coefficient over five values around a recipe's: what L0 costs in reconstruction.

Both parts of the minimality loss are scaled by the same factor, so that the recipe's balance of activity and frequency
stays. Every value is a run of its own with a directory of its own; what is finished is not run again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.core.artifact import new_artifact, open_artifact, refuse_existing, write_text
from rankone.core.errors import RankOneError
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.evidence.figures import frontier_figure
from rankone.decomposition.evidence.kinds import Masking, kl_of
from rankone.decomposition.model import KIND as DECOMPOSITION
from rankone.decomposition.model import load_decomposition
from rankone.decomposition.run import decompose
from rankone.render.tables import Table
from rankone.render.theme import svg
from rankone.runtime.distributed import current
from rankone.runtime.places import holds
from rankone.runtime.progress import log
from rankone.text.corpus import Corpus

KIND = "sweep"
FACTORS = tuple(4.0 ** (i / 2 - 1) for i in range(5))  # ¼, ½, 1, 2, 4
# Five runs of a fifth of the steps cost one whole run.
SHORTER = 5


def scaled(config: DecomposeConfig, factor: float) -> DecomposeConfig:
    """The recipe with both importance coefficients times `factor`."""
    own = config.minimality
    changed = {"activity": own.activity * factor, "frequency": own.frequency * factor}
    return config.model_copy(update={"minimality": own.model_copy(update=changed)})


@holds("out")
def sweep(
    config: DecomposeConfig,
    target: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    corpus: Corpus,
    run: Path,
    out: Path,
) -> list[dict[str, Any]]:
    """A row per coefficient (factor, activity, frequency, L0, alive, KL …), written to `out` with the figure of them.

    The decompositions stay in `run`, in a folder per factor; a sweep cut off goes on there.
    """
    current().on_first(lambda: refuse_existing(out))
    if config.minimality.activity == 0 and config.minimality.frequency == 0:
        raise RankOneError(
            "minimality.activity and .frequency are both 0: no multiple of them differs. Set one."
        )
    rows = []
    for factor in FACTORS:
        own = scaled(config, factor)
        folder = run / f"factor-{factor:g}"
        log.info(f"importance coefficient × {factor:g}: activity {own.minimality.activity:.3g}")
        finished = folder / "decomposition"
        if finished.exists():
            _refuse_other(finished, own, target, corpus)
        else:
            decompose(own, target, tokenizer, corpus, folder / "run", finished)
        rows.append(point(factor, own, open_artifact(finished, DECOMPOSITION).json("evidence.json")))

    def write() -> None:
        with new_artifact(out, KIND, {"recipe": config.model_dump(), "factors": list(FACTORS)}) as staging:
            pq.write_table(pa.Table.from_pylist(rows), staging / "sweep.parquet", compression="zstd")
            saved = pq.read_table(staging / "sweep.parquet").to_pylist()
            write_text(staging / "frontier.svg", svg(frontier_figure(saved), "frontier"))

    current().on_first(write)
    return rows


def point(factor: float, config: DecomposeConfig, found: dict[str, Any]) -> dict[str, Any]:
    """One row of the frontier; KL with delta off, the adversary's at its longest rung."""
    rows = found["rows"]
    last = max(found["adversary"]["ladder"])
    return {
        "factor": factor,
        "activity": config.minimality.activity,
        "frequency": config.minimality.frequency,
        "steps": config.steps,
        "l0": found["l0_total"],
        "alive": found["alive_total"],
        "subcomponents": found["subcomponents"],
        "kl_unmasked": kl_of(rows, Masking.UNMASKED),
        "kl_ci": kl_of(rows, Masking.CI),
        "kl_stochastic": kl_of(rows, Masking.STOCHASTIC),
        "pgd_steps": last,
        "kl_adversarial": kl_of(rows, Masking.ADVERSARIAL, steps=last),
        "failures": ", ".join(f["name"] for f in found["verdict"]["failures"] if f["met"] is False),
    }


def sweep_table(rows: list[dict[str, Any]], out: Path) -> Table:
    """The frontier as a table."""
    keys = ["factor", "activity", "l0", "alive", "kl_ci", "kl_stochastic", "kl_adversarial", "failures"]
    titles = ["×", "activity", "L0", "alive", "KL, CI as mask", "stochastic", "attacked", "failures found"]
    caption = f"{rows[0]['steps']} steps each; attacked: {rows[0]['pgd_steps']} PGD steps; figure: {out}/frontier.svg"
    return Table.of("L0 against reconstruction", titles, [[row[k] for k in keys] for row in rows], caption)


def _refuse_other(path: Path, config: DecomposeConfig, target: PreTrainedModel, corpus: Corpus) -> None:
    """A finished run counts only if recipe, model and text are the same."""
    load_decomposition(path, target)
    made = open_artifact(path, DECOMPOSITION).provenance
    if (
        made["recipe"] != config.model_dump(mode="json")
        or made["text"]["fingerprint"] != corpus.fingerprint()
    ):
        raise RankOneError(
            f"'{path}' was made by another recipe or from other text. Use another run directory."
        )
