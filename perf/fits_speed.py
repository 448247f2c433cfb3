"""How many fits a second? The stacked engine beside a plain loop of `peft` and transformers, one fit after another.

    python -m perf.fits_speed --out perf/results/fits-speed.json

Both fit the same runs (9 seeds × 4 weights λ, 32 forget tokens, 40 steps) to the same objective with the same stop rule, and
both know the base model's predictions of all text beforehand. The plain loop is one a careful user would write: a PEFT
adapter, `torch.optim.Adam`, one forward for the forget row, one for the retain row, one backward. It runs `--plain-runs` of
the runs, and what it takes for one is what it takes for all. Loop and engine take turns, `--rounds` times, in one process,
and the medians are compared; seconds are those of the processor (with one thread what an idle machine takes), those
on the clock stand beside them. `limit`: the ratio if the engine did nothing but the products its form needs, at the rate of
a product measured in the same process.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from perf.environment import environment
from torch import nn
from transformers import PreTrainedModel

from rankone.core.artifact import refuse_existing, write_json
from rankone.decomposition.model import load_decomposition
from rankone.edits.adapters import Method
from rankone.edits.fitting.adam import LOSS_DECAY, PLATEAU
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.config import FitConfig
from rankone.edits.fitting.fit import fit_many
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.run import Run
from rankone.edits.fitting.text.forget_text import budget_text
from rankone.edits.fitting.text.retain_text import default_retain, retain_text
from rankone.edits.methods.lora import Lora
from rankone.edits.scales import Scales
from rankone.models.loading import load_model, load_tokenizer
from rankone.models.sources.names import ASSETS
from rankone.text.sources.builtin import BuiltinCorpus
from rankone.workspace import Workspace

WEIGHTS = (0.1, 1.0, 10.0, 100.0)
START = -2.0
RANK_ALPHA = 16.0


@dataclass(frozen=True)
class Case:
    """One kind of fit: the engine's method, what PEFT is to adapt, the rate, and the matrices a step must multiply."""

    name: str
    method: Method
    sites: tuple[str, ...]
    rate: float
    part: str | None = None


@dataclass
class Plain:
    """A PEFT adapter that is fitted to one run; `scale` is the learned number where its factors stand still."""

    model: nn.Module
    trained: list[nn.Parameter]
    scale: nn.Parameter | None = None


def adapter(case: Case, space: Workspace, model: PreTrainedModel, seed: int) -> Plain:
    """The adapter of a case at its start: LoRA as the method draws it, or a LoRA of the part's own factors, scaled."""
    config = LoraConfig(r=1, lora_alpha=int(RANK_ALPHA), target_modules=list(case.sites))
    adapted = get_peft_model(model, config)
    layers: dict[str, Any] = {
        s: cast("nn.Module", adapted.base_model.model).get_submodule(s) for s in case.sites
    }
    if case.part is None:
        start = case.method.start(1, [seed])
        for site, layer in layers.items():
            layer.lora_A["default"].weight.data.copy_(start[f"A:{site}"][0])
        return Plain(adapted, [p for p in adapted.parameters() if p.requires_grad])
    ((_, layer),) = layers.items()
    read, write = space.require_parts().vectors(case.part)
    layer.lora_A["default"].weight.data.copy_(read.unsqueeze(0))
    layer.lora_B["default"].weight.data.copy_(write.unsqueeze(1))
    for parameter in adapted.parameters():
        parameter.requires_grad_(False)
    scale = nn.Parameter(torch.tensor(START - 1))
    layer.scaling["default"] = scale
    return Plain(adapted, [scale], scale)


class Targets:
    """The base model's predictions of every row, computed once: probabilities and their logarithms."""

    def __init__(self, model: PreTrainedModel, retain: RetainText, runs: Sequence[Run]) -> None:
        with torch.no_grad():
            self.retain = [model(input_ids=row.unsqueeze(0)).logits[0].log_softmax(-1) for row in retain.ids]
            self.forget = {
                run.seed: [model(input_ids=r.unsqueeze(0)).logits[0].softmax(-1) for r in run.forget.ids]
                for run in runs
            }


def plain_fit(plain: Plain, run: Run, retain: RetainText, targets: Targets, config: FitConfig) -> float:
    """One fit as one would write it; the smoothed loss at its end."""
    optimizer = torch.optim.Adam(plain.trained, lr=run.learning_rate)
    cap = run.margin * math.log(targets.retain[0].shape[-1])
    smoothed, best, since = math.nan, math.inf, 0
    for step in range(config.steps):
        row = step % len(run.forget.ids)
        valid = run.forget.valid[row]
        logits = plain.model(input_ids=run.forget.ids[row : row + 1], use_cache=False).logits[0]
        removal = F.relu(cap - F.cross_entropy(logits[valid], targets.forget[run.seed][row][valid]))
        row = step % len(retain.ids)
        present = retain.present[row]
        logits = plain.model(input_ids=retain.ids[row : row + 1], use_cache=False).logits[0][present]
        kl = F.kl_div(
            logits.log_softmax(-1), targets.retain[row][present], reduction="batchmean", log_target=True
        )
        loss = removal + run.retain_weight * kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        value = loss.item()
        smoothed = value if math.isnan(smoothed) else LOSS_DECAY * smoothed + (1 - LOSS_DECAY) * value
        improved = smoothed < best * (1 - PLATEAU) - 1e-4
        best, since = (smoothed, 0) if improved else (best, since + 1)
        if since >= config.patience:
            break
    return smoothed


@dataclass(frozen=True)
class Timed:
    """What a call gave, and the seconds it took of the processor and on the clock."""

    result: list[float]
    processor: float
    clock: float


def timed(call: Callable[[], list[float]]) -> Timed:
    """Call once."""
    processor, clock = time.process_time(), time.perf_counter()
    result = call()
    return Timed(result, time.process_time() - processor, time.perf_counter() - clock)


def run_case(
    case: Case,
    space: Workspace,
    runs: Sequence[Run],
    retain: RetainText,
    config: FitConfig,
    given: argparse.Namespace,
) -> dict[str, object]:
    """Loop and engine in turns: runs per second of each, their ratio, the limit, and how far the results are apart."""
    own = [Run(r.forget, r.seed, r.retain_weight, case.rate) for r in runs]
    # Spread over the grid, so that the loop meets every weight.
    chosen = own[:: max(1, len(own) // given.plain_runs)][: given.plain_runs]
    copy = load_model("mini")
    targets = Targets(copy, retain, chosen)

    def loop() -> list[float]:
        losses = []
        for run in chosen:
            plain = adapter(case, space, copy, run.seed)
            losses.append(plain_fit(plain, run, retain, targets, config))
            plain.model.unload()  # pyright: ignore[reportCallIssue]
        return losses

    def engine() -> list[float]:
        return [fit.loss for fit in fit_many(space.model, case.method, own, retain, config)]

    # What the base says of retained text is known to both beforehand.
    retain.prepared(case.method.sites())
    turns = [(timed(loop), timed(engine)) for _ in range(given.rounds)]
    one, many = turns[-1][0].result, turns[-1][1].result
    places = [next(i for i, run in enumerate(own) if run is asked) for asked in chosen]
    apart = max(abs(many[i] - loss) for i, loss in zip(places, one, strict=True))
    found: dict[str, object] = {"case": case.name, "runs": len(own), "plain_runs": len(chosen)}
    found |= {name: _ratios(turns, name, len(chosen), len(own)) for name in ("processor", "clock")}
    return (
        found
        | {"loss_apart": apart}
        | _limit(case, space, own, retain, config, turns, given.rate, len(chosen))
    )


def _ratios(turns: Sequence[tuple[Timed, Timed]], name: str, few: int, many: int) -> dict[str, object]:
    """Runs per second of loop and engine by their medians, and the ratio turn by turn."""
    plain, engine = ([getattr(turn[side], name) for turn in turns] for side in (0, 1))
    ratios = [p / few / (e / many) for p, e in zip(plain, engine, strict=True)]
    return {
        "plain_runs_per_second": few / statistics.median(plain),
        "engine_runs_per_second": many / statistics.median(engine),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
    }


def _limit(
    case: Case,
    space: Workspace,
    own: Sequence[Run],
    retain: RetainText,
    config: FitConfig,
    turns: Sequence[tuple[Timed, Timed]],
    rate: float,
    few: int,
) -> dict[str, object]:
    """The products of a run, and the ratio if the engine did nothing else; None where its form needs no product."""
    flop = products(space.model, case.sites, own, retain) * config.steps
    plain = statistics.median(turn[0].processor for turn in turns) / few
    return {"gflop_per_run": flop / 1e9, "limit": plain / (flop / rate) if flop else None}


def products(model: PreTrainedModel, sites: Sequence[str], runs: Sequence[Run], retain: RetainText) -> float:
    """Floating point operations of the products that a step of one run must do: from the first edited matrix on, forward and
    backward, the unembedding included, for the forget and the retain row; one multiplication and addition are two."""
    layers = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n != "lm_head"]
    first = min(layers.index(site) for site in sites)
    after = sum(next(model.get_submodule(n).parameters()).numel() for n in layers[first + 1 :])
    tokens = runs[0].forget.ids.shape[1] + retain.ids.shape[1]
    head = model.get_output_embeddings().weight.numel()  # pyright: ignore[reportOptionalMemberAccess, reportCallIssue]
    if first == len(layers) - 1:
        # The last write: the change moves the logits by a rank-one term; what is left are passes over the vocabulary.
        return 0.0
    return 2.0 * tokens * 2 * (after + head)


def measured_rate(model: PreTrainedModel) -> float:
    """Operations a second of products as large as a stack's, best of a few."""
    weight = model.get_output_embeddings().weight.detach()  # pyright: ignore[reportOptionalMemberAccess]
    x = torch.randn(2048, weight.shape[1])

    def product() -> list[float]:
        torch.mm(x, weight.T)
        return []

    best = min(timed(product).processor for _ in range(8))
    return 2.0 * x.numel() * len(weight) / best


def cases(space: Workspace) -> list[Case]:
    """A scalar at the last write and one in the middle of the model, a LoRA on one matrix and on all."""
    model, parts = space.model, space.require_parts()
    made = []
    for name, part in (("scalar", "h.3.mlp.down_proj:270"), ("scalar, block 1", "h.1.attn.o_proj:168")):
        made.append(Case(name, Scales(parts, [part], start=START), (part.rpartition(":")[0],), 0.3, part))
    for name, pattern in (("LoRA, one matrix", "h.3.mlp.down_proj"), ("LoRA, all matrices", "*")):
        lora = Lora(model, [pattern], rank=1, alpha=RANK_ALPHA)
        made.append(Case(name, lora, tuple(lora.sites()), 0.003))
    return made


def opened() -> Workspace:
    """mini with its own decomposition and the built-in text."""
    model = load_model("mini")
    decomposition, _ = load_decomposition(ASSETS / "mini-decomposition", model)
    return Workspace(model, load_tokenizer("mini"), BuiltinCorpus(), decomposition)


def main() -> None:
    """Time every case and write."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--cases", nargs="+", default=[])
    options.add_argument("--steps", type=int, default=40)
    options.add_argument("--tokens", type=int, default=32)
    options.add_argument("--seeds", type=int, default=9)
    options.add_argument("--plain-runs", type=int, default=4)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    if given.out is not None:
        refuse_existing(given.out)
    torch.set_num_threads(given.threads)
    before, space = environment(), opened()
    aim = Aim(forget="de", retain=default_retain(space, "de"), chance=space.chance)
    retain = retain_text(space, aim, 3000)
    texts = [budget_text(space, "de", given.tokens, seed) for seed in range(given.seeds)]
    runs = [Run(text, seed, weight, 0.1) for seed, text in enumerate(texts) for weight in WEIGHTS]
    config, given.rate = FitConfig(steps=given.steps, patience=given.steps), measured_rate(space.model)
    rows = []
    for case in cases(space):
        if not given.cases or case.name in given.cases:
            rows.append(run_case(case, space, runs, retain, config, given))
            print(rows[-1], flush=True)
    if given.out is not None:
        asked = {k: v for k, v in vars(given).items() if k not in ("out", "rate")}
        write_json(
            given.out, {"environment": before, "asked": asked, "gflops": given.rate / 1e9, "cases": rows}
        )


if __name__ == "__main__":
    main()
