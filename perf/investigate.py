"""How well is the damage of turning a subcomponent predicted? Over many subcomponents and all domains of the built-in text.

    python -m perf.investigate HARVEST --out perf/results/investigate.json

HARVEST is one of the built-in pair: `rankone harvest mini-decomposition --out HARVEST`. The predictor is chosen on
validation text; its rank correlations with the measured rises are reported on test text.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from perf.environment import environment
from perf.predictors import CheckConfig, check, check_table

from rankone.core.artifact import refuse_existing, write_json
from rankone.decomposition.model import load_decomposition
from rankone.harvest.reading.store import HarvestStore
from rankone.models.loading import load_model, load_tokenizer
from rankone.models.sources.names import ASSETS
from rankone.runtime.progress import console
from rankone.text.opening import open_corpus
from rankone.workspace import Workspace


def main() -> None:
    """Measure and write the figures."""
    options = argparse.ArgumentParser()
    options.add_argument("harvest", type=Path)
    options.add_argument("--model", default="mini")
    options.add_argument("--decomposition", type=Path, default=ASSETS / "mini-decomposition")
    options.add_argument("--text", default="builtin")
    options.add_argument("--parts", type=int, default=24)
    options.add_argument("--alphas", type=float, nargs="+", default=[-1.0, -8.0])
    options.add_argument("--tokens", type=int, default=600, help="per domain and split")
    options.add_argument("--draws", type=int, default=4, help="of labels, for the Fisher information")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path, default=Path("perf/results/investigate.json"))
    given = options.parse_args()
    refuse_existing(given.out)
    before = environment()
    asked = {key: getattr(given, key) for key in ("parts", "alphas", "tokens", "draws", "seed")}
    config = CheckConfig.checked(asked, "investigate")
    target, tokenizer = load_model(given.model), load_tokenizer(given.model)
    decomposition, artifact = load_decomposition(given.decomposition, target)
    store = HarvestStore.open(given.harvest, decomposition, target)
    corpus = open_corpus(given.text)
    report = check(Workspace(target, tokenizer, corpus, decomposition), store, config)
    console.print(check_table(report))
    made = {
        "decomposition": artifact.fingerprint,
        "harvest": {
            "fingerprint": store.artifact.fingerprint,
            "config": store.record.config.model_dump(mode="json"),
        },
        "text": {"name": corpus.name, "fingerprint": corpus.fingerprint()},
    }
    write_json(given.out, {"environment": before, "made_from": made, **report.model_dump(mode="json")})


if __name__ == "__main__":
    main()
