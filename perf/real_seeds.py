"""The job on a real model from several seeds: the same parts, other forget text, other rows to train and size on.

    python -m perf.real_seeds RUN --text DIR [--seeds 0 1 2]    # into results/real-seeds.json
    python -m perf.real_seeds                                   # the table of what is kept, into docs/results.md

RUN is a finished folder of `rankone demo --model … --out RUN`; its parts were computed in closed form, without a seed. For
each language and seed the scale is fitted and its directions are trained as there, and both are measured on built-in
held-out text and on DIR. LoRAs, adapters and answers are left to the job. What a seed made is kept in RUN-seed-N, so that
a run that was broken off goes on; of RUN's own seed the fits are RUN's.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from perf.environment import environment
from perf.pages import markdown, write_table

from rankone.core.artifact import read_json
from rankone.core.files import write_json
from rankone.experiments.real_model.config import RealModelConfig
from rankone.experiments.real_model.language import Job
from rankone.experiments.real_model.results import SCALE, TITLES, TRAINED, Fitted, HeldOut, HeldOutOfAll
from rankone.experiments.real_model.run import model_folder
from rankone.experiments.real_model.stages import CONFIG, Stages
from rankone.models.loading import load_model, load_tokenizer
from rankone.render.values import number, signed
from rankone.text.domains import domain_name
from rankone.text.opening import open_corpus
from rankone.workspace import Workspace

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "perf" / "results" / "real-seeds.json"
PAGE = ROOT / "docs" / "results.md"
PARTS = ("found.json", "part")
FITS = tuple(f"{edit}{end}" for edit in (SCALE, TRAINED) for end in (".json", "-edit"))
Row = dict[str, Any]


class Edits(Job):
    """The job as far as its own edits go."""

    @cached_property
    def fits(self) -> dict[str, Fitted]:
        """The scale, and its directions trained; no LoRA."""
        return {SCALE: self._fitted(SCALE), TRAINED: self._trained(TRAINED)}

    def held_out(self) -> dict[str, HeldOut]:
        """Both edits on held-out text."""
        return self._stage("held-out", HeldOutOfAll, self._held_out).edits


def rows_of(language: str, seed: int, chance: float, held_out: dict[str, HeldOut]) -> Iterator[Row]:
    """A row per edit, text and domain: the rise with its standard error, of the target the share of chance and half the
    width of its 95% interval.
    """
    for edit in (SCALE, TRAINED):
        for text, by_domain in held_out[edit].damage.items():
            for domain, damage in by_domain.items():
                row = {"language": language, "seed": seed, "edit": edit, "text": text, "domain": domain}
                row |= {"rise": damage.rise, "error": damage.error}
                if domain == language and damage.high is not None:
                    row |= {"of_chance": damage.edited / chance, "half": (damage.high - damage.rise) / chance}
                yield row


def of_seed(run: Path, seed: int, text: str, space: Workspace, config: RealModelConfig) -> list[Row]:
    """What one seed makes of the parts of a run."""
    out = run.with_name(f"{run.name}-seed-{seed}")
    kept = (*PARTS, *FITS) if seed == config.seed else PARTS
    for name in (f"{language}-{end}" for language in config.languages for end in kept):
        if (run / name).is_dir():
            shutil.copytree(run / name, out / name, dirs_exist_ok=True)
        elif (run / name).is_file() and not (out / name).exists():
            out.mkdir(exist_ok=True)
            shutil.copyfile(run / name, out / name)
    other = config.model_copy(update={"seed": seed})
    if not (out / CONFIG).exists():
        write_json(out / CONFIG, other.model_dump(mode="json"))
    corpora = {"built-in": space.corpus, "unseen": open_corpus(text)}
    stages = Stages(out, other)
    jobs = [Edits(other, space, language, stages, config.model, corpora) for language in other.languages]
    return [row for job in jobs for row in rows_of(job.language, seed, space.chance, job.held_out())]


def table(rows: Sequence[Row]) -> str:
    """A row per language, edit and text: the target's share of chance, seed by seed, and what rises most elsewhere."""
    lines = list[list[str]]()
    for language, edit, text in dict.fromkeys((r["language"], r["edit"], r["text"]) for r in rows):
        of = [r for r in rows if (r["language"], r["edit"], r["text"]) == (language, edit, text)]
        shares = [f"{number(row['of_chance'])} ± {number(row['half'])}" for row in of if "of_chance" in row]
        others = [row for row in of if row["domain"] != language and not row["domain"].startswith("about-")]
        worst = [
            max((row for row in others if row["seed"] == seed), key=lambda row: row["rise"])
            for seed in dict.fromkeys(row["seed"] for row in of)
        ]
        said = [f"{domain_name(row['domain'])} {signed(row['rise'], 3)}" for row in worst]
        about = [signed(row["rise"], 2) for row in of if row["domain"].startswith("about-")]
        name = f"{domain_name(language)}, {TITLES[edit]}"
        lines.append([name, text, *(", ".join(cell) for cell in (shares, said, about))])
    head = ["edit", "text", "target as share of chance, by seed", "largest rise elsewhere, by seed"]
    return markdown([*head, "English about the country"], lines)


def main() -> None:
    """Run the seeds and keep them, or write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--text")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked = parser.parse_args()
    if asked.run is not None:
        config = RealModelConfig.checked(dict(read_json(asked.run / CONFIG)), str(asked.run))
        folder = model_folder(config.model, asked.run)
        space = Workspace(load_model(folder), load_tokenizer(folder), open_corpus("builtin"))
        rows = [row for seed in asked.seeds for row in of_seed(asked.run, seed, asked.text, space, config)]
        about = {"config": config.model_dump(mode="json", exclude={"model"}), "environment": environment()}
        write_json(KEPT, {**about, "rows": rows})
    else:
        write_table(PAGE, "perf.real_seeds", table(json.loads(KEPT.read_text("utf8"))["rows"]))


if __name__ == "__main__":
    main()
