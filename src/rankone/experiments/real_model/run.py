"""The whole job on a real model: language by language, then one summary and one page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rankone.core.artifact import environment, write_json, write_text
from rankone.core.errors import RankOneError
from rankone.edits.finding.tolerances import Tolerances
from rankone.experiments.real_model.config import RealModelConfig
from rankone.experiments.real_model.language import Job
from rankone.experiments.real_model.page import page
from rankone.experiments.real_model.results import Language, bars
from rankone.experiments.real_model.stages import Stages
from rankone.models.loading import load_model, load_tokenizer
from rankone.models.sources.fetchable import FetchRequest
from rankone.models.sources.fetching import fetch, read_fetched
from rankone.models.sources.known import FETCHABLE
from rankone.runtime.device import chosen_device
from rankone.runtime.memory import peak_bytes
from rankone.text.corpus import described
from rankone.text.opening import open_corpus
from rankone.workspace import Workspace

MODEL = "model"
BUILTIN = "built-in"


def run_real_model(
    config: RealModelConfig, out: Path, text: str | None = None, device: str | None = None
) -> tuple[list[Language], Path]:
    """Run the job into `out`, or go on with it there; what was found for each language, and the page.

    text: more held-out text (a directory or a data set): its sources are measured on and nothing else. Raises RankOneError
    for languages without text, for a folder of another run, and where the model cannot be had.
    """
    builtin = open_corpus("builtin")
    if text is not None and Path(text).name == BUILTIN:
        raise RankOneError(
            f"'{text}' has the name of the text inside the package: rename it or give another."
        )
    more = {} if text is None else {Path(text).name or text: open_corpus(text)}
    lacking = [d for d in config.languages if d not in builtin.domains()]
    if lacking:
        raise RankOneError(
            f"the built-in text has no {', '.join(lacking)}; it has {', '.join(builtin.domains())}."
        )
    stages = Stages(out, config)
    folder = model_folder(config.model, out)
    model = load_model(folder).to(chosen_device(device))  # pyright: ignore[reportArgumentType]
    space = Workspace(model, load_tokenizer(folder), builtin)
    # What is taken of the unedited model serves all languages.
    first = Job(config, space, config.languages[0], stages, folder, {BUILTIN: builtin, **more})
    results = [replace(first, language=language).run() for language in config.languages]
    stored = precision(folder)
    texts = {"text": described(builtin), "held_out": next(map(described, more.values()), None)}
    write_json(out / "summary.json", _summary(config, results, stages, stored, texts), constants=True)
    path = out / "index.html"
    write_text(path, page(results, config, stored, stages.seconds()))
    return results, path


def model_folder(name: str, out: Path) -> str:
    """The folder of the model: as named, or fetched into `out` by its name."""
    if name not in FETCHABLE or Path(name).is_dir():
        return name
    folder = out / MODEL
    if not folder.is_dir():
        fetch(FetchRequest(name=name, out=folder, source="any"))
    return str(folder)


def precision(folder: str) -> str:
    """What the weights went through, where the folder says so; '' else."""
    try:
        return read_fetched(folder).precision
    except RankOneError:
        return ""


def _summary(
    config: RealModelConfig,
    results: list[Language],
    stages: Stages,
    stored: str,
    texts: Mapping[str, object],
) -> dict[str, object]:
    return {
        "languages": {result.language: _summed(result, config.tolerance) for result in results},
        "seconds": {name: spent.model_dump() for name, spent in stages.seconds().items()},
        "precision": stored,
        "peak_memory_bytes": peak_bytes(),
        "provenance": {**environment(), **texts, "config": config.model_dump(mode="json")},
    }


def _summed(result: Language, tolerance: Tolerances) -> dict[str, object]:
    checked = bars(result, tolerance)
    return {
        "pick": result.pick,
        "alpha": result.alpha,
        "shipped": result.shipped,
        "bars": [bar.model_dump() for bar in checked],
        "met": all(bar.met for bar in checked),
    }
