"""Does a graph predict which text is damaged when a part is turned? Beside the predictor that `investigate` uses.

    python -m perf.circuits_damage --out perf/results/circuits-damage.json

24 parts of the built-in pair (half specific to a domain, half drawn from the alive ones) are turned to each α; the rise of
the cross-entropy of every domain's test text is measured. `graph` moves the logits of every position by (α − 1) times what
the part adds to them through all paths by the frozen rule (a graph of every node, every position a target) and takes the
rise of the cross-entropy that this makes; `graph, size` is the mean size of that move at the true token, per unit of α.
Spearman's correlation over the domains of each part, its mean over parts with a bootstrap interval over parts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from perf.environment import environment
from perf.predictors import chosen_parts
from torch import Tensor

from rankone.circuits.attribution.cut import frozen_logits
from rankone.circuits.intervene import Change, intervened
from rankone.core.artifact import write_json
from rankone.decomposition.model import DecomposedModel
from rankone.experiments.investigation.effects import token_losses
from rankone.experiments.investigation.prediction import PREDICTORS, Predictor, statistics
from rankone.experiments.investigation.traces import traces
from rankone.harvest.reading.summary import mean_importances
from rankone.metrics.rank_statistics import spearman
from rankone.opening import Opening, OpenOptions
from rankone.runtime.progress import log, meter, report
from rankone.text.blocks import Blocks
from rankone.workspace import Workspace

BESIDE = (Predictor.DAMPED, Predictor.FIRST_ORDER, Predictor.PUSH, Predictor.IMPORTANCE)


def graph_rises(
    workspace: Workspace, names: list[str], alphas: list[float], blocks: Blocks
) -> tuple[Tensor, Tensor]:
    """[alphas, parts] rise of cross-entropy that the graph predicts, nats per token; [parts] mean |move| of the true
    token's centred logit per unit of α."""
    rises, sizes = torch.zeros(len(alphas), len(names)), torch.zeros(len(names))
    model, parts = workspace.model, workspace.require_parts()
    for ids, valid, present in zip(blocks.ids, blocks.valid, blocks.present, strict=True):
        row, scored = ids[present], valid[present][1:]
        plain, tape = frozen_logits(model, row)
        plain = plain.detach()
        before = F.cross_entropy(plain[:-1], row[1:], reduction="none")
        for k, name in enumerate(names):
            with intervened(model, parts, [Change(name, 0.0)]):
                without, _ = frozen_logits(model, row, tape)
            adds = plain - without.detach()
            for i, alpha in enumerate(alphas):
                turned = plain + (alpha - 1) * adds
                after = F.cross_entropy(turned[:-1], row[1:], reduction="none")
                rises[i, k] += ((after - before) * scored).sum()
            centred = adds - adds.mean(-1, keepdim=True)
            sizes[k] += (centred[:-1].gather(1, row[1:, None])[:, 0].abs() * scored).sum()
    return rises / blocks.tokens, sizes / blocks.tokens


def interval(values: list[float], seed: int = 0) -> tuple[float, float]:
    """Bootstrap over parts, 95 %."""
    drawn = np.random.default_rng(seed).choice(values, (2000, len(values)))
    low, high = np.quantile(drawn.mean(1), [0.025, 0.975])
    return float(low), float(high)


def score(predicted: Tensor, measured: Tensor) -> dict[str, object]:
    """[parts, domains] each."""
    each = [spearman(p, m) for p, m in zip(predicted, measured, strict=True)]
    kept = [r for r in each if r is not None]
    return {
        "domains_mean": float(np.mean(kept)),
        "interval": interval(kept),
        "domains_median": float(np.median(kept)),
        "parts": len(kept),
        "pooled": spearman(predicted.flatten(), measured.flatten()),
    }


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=120, help="of test text per domain")
    parser.add_argument("--alphas", type=float, nargs="+", default=[-1.0, -8.0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    report()
    opening = Opening(OpenOptions())
    workspace, domains = opening.workspace, opening.corpus.domains()
    with DecomposedModel(opening.model, opening.decomposition) as model:
        importances = mean_importances(model, workspace.text(domains, "train", 600))
    names = chosen_parts(importances, asked.parts, asked.seed)
    columns = [importances.names.index(name) for name in names]
    text = workspace.text(domains, "test", asked.tokens)
    settings = [{}, *({name: alpha} for alpha in asked.alphas for name in names)]
    measured, graphs, sizes, traced, base = [], [], [], [], []
    with meter("domains", len(domains)) as bar:
        for domain, blocks in text.items():
            losses = token_losses(workspace, settings, blocks)
            rises = (losses[1:] - losses[0]).sum((1, 2)) / blocks.tokens
            measured.append(rises.view(len(asked.alphas), len(names)))
            rise, size = graph_rises(workspace, names, asked.alphas, blocks)
            graphs.append(rise)
            sizes.append(size)
            traced.append(traces(workspace, names, blocks, 4, asked.seed))
            base.append(losses[0])
            bar.advance(note=domain)
    counted = statistics(traced, importances.mean[:, columns], base, workspace.vocabulary)
    scores, rows = {}, []
    for i, alpha in enumerate(asked.alphas):
        truth = torch.stack([m[i] for m in measured], dim=1)
        said = {
            "graph": torch.stack([g[i] for g in graphs], dim=1),
            "graph, size": torch.stack(sizes, dim=1),
            **{str(p): PREDICTORS[p](counted, alpha).T for p in BESIDE},
        }
        scores[f"{alpha:g}"] = {name: score(value, truth) for name, value in said.items()}
        for k, part in enumerate(names):
            for d, domain in enumerate(domains):
                values = {name: float(value[k, d]) for name, value in said.items()}
                rows.append(
                    {"alpha": alpha, "part": part, "domain": domain, "rise": float(truth[k, d]), **values}
                )
    for alpha, by_name in scores.items():
        for name, found in by_name.items():
            log.info(f"α {alpha}  {name}: {found}")
    result = {
        "environment": environment(),
        "asked": {k: v for k, v in vars(asked).items() if k != "out"},
        "parts": names,
        "domains": list(domains),
        "scores": scores,
        "rows": rows,
    }
    if asked.out is not None:
        write_json(asked.out, result)
    sys.stdout.write(f"{len(names)} parts, {len(domains)} domains\n")


if __name__ == "__main__":
    main()
