"""What graphs of the built-in pair cost, and how exactly their edges add up.

    python -m perf.circuits --out perf/results/circuits.json

Bars (processor seconds, so that other work on the machine counts little): what flows in is the value to 1e-5 of the sum of
absolute inputs over all nodes of five prompts; all nodes of a 16-token prompt, both rules, in 8 seconds and under 1 GB; an
optimised graph of at most 200 nodes of an 8-token prompt in 30 seconds, whose adversarial p of the target is at least that
of the importance-only graph at no more than the same λ in 4 of 5 prompts, and random graphs of its counts below a third of
its binary p.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from perf.environment import environment

from rankone.circuits.build import Made, make_graph, prompt_ids, remade
from rankone.circuits.config import GraphConfig
from rankone.circuits.records import GraphRecord, MaskMode
from rankone.core.artifact import write_json
from rankone.opening import Opening, OpenOptions
from rankone.runtime.memory import peak_megabytes

IDENTITY = (
    "Der Ausschuss hat",
    "The princess lost her",
    "La commission a décidé de",
    "Once upon a time there was a little girl",
    "El presidente de la",
)
LONG = "Once upon a time there was a little girl who lost her ball in the park and"
# 8 tokens each, cut there.
EIGHT = (
    "Once upon a time there was a little girl",
    "Der Ausschuss hat den Vorschlag der Kommission angenommen",
    "The committee has adopted the proposal of the Commission",
    "La commission a adopté la proposition du Parlement européen",
    "She was very happy because her mother gave her a",
)


def cut_to(opening: Opening, text: str, tokens: int) -> str:
    """The first tokens of a text, as text."""
    ids = prompt_ids(opening.model, opening.tokenizer, text)[:tokens]
    return str(opening.tokenizer.decode(ids.tolist()))


def made(opening: Opening, prompt: str, config: GraphConfig) -> Made:
    """One graph."""
    return make_graph(opening.model, opening.tokenizer, opening.decomposition, prompt, config)


def identity(opening: Opening) -> list[dict[str, float | str | int]]:
    """How well sums hold, in float64 and in float32, over the natural nodes of each prompt."""
    rows = []
    for prompt in IDENTITY:
        row: dict[str, float | str | int] = {"prompt": prompt}
        for precision in ("float64", "float32"):
            config = GraphConfig.checked({"random_graphs": 0, "precision": precision}, "perf")
            found = made(opening, prompt, config).identity
            row |= {f"worst_{precision}": found.worst, f"over_{precision}": found.over_tolerance}
            row["targets"] = found.targets
        rows.append(row)
    return rows


def whole(opening: Opening) -> dict[str, float | str | int | None]:
    """All natural nodes of a 16-token prompt: cuts, edges and sums by both rules, and the same with the masked rows."""
    prompt = cut_to(opening, LONG, 16)
    before = peak_megabytes()
    started = time.process_time()
    graph = made(opening, prompt, GraphConfig.checked({"random_graphs": 0}, "perf")).graph
    with_masks = time.process_time() - started
    started = time.process_time()
    remade(graph, opening.model, opening.decomposition)
    spent = time.process_time() - started
    return {
        "prompt": prompt,
        "tokens": graph.length,
        "nodes": len(graph.chosen),
        "all_nodes": len(graph.nodes),
        "edges_frozen": graph.record.edges_kept["frozen"],
        "edges_grad": graph.record.edges_kept["grad"],
        "processor_seconds": spent,
        "processor_seconds_with_masks": with_masks,
        "peak_megabytes": peak_megabytes(),
        "peak_megabytes_before": before,
    }


def chance(record: GraphRecord, masks: MaskMode, random: bool = False) -> float | None:
    """p of the target under masks."""
    return next((r.probability for r in record.masked if r.masks == masks and r.random == random), None)


def optimised(opening: Opening, penalty: float, steps: int) -> list[dict[str, object]]:
    """Optimised and importance-only graphs of the five prompts of 8 tokens, the token likeliest in the model as target."""
    rows: list[dict[str, object]] = []
    for text in EIGHT:
        prompt = cut_to(opening, text, 8)
        ids = prompt_ids(opening.model, opening.tokenizer, prompt)
        with torch.no_grad():
            best = int(opening.model(input_ids=ids[None]).logits[0, -1].argmax())
        target = json.dumps(str(opening.tokenizer.decode([best])), ensure_ascii=False)
        row: dict[str, object] = {"prompt": prompt, "target": target}
        for nodes in ("optimised", "ci"):
            asked = {"target": target, "objective": "ce", "penalty": penalty, "steps": steps}
            config = GraphConfig.checked({**asked, "nodes": nodes, "random_graphs": 10}, "perf")
            record = made(opening, prompt, config).graph.record
            fit = record.optimised
            assert fit is not None
            row[nodes] = {
                "nodes": next(r.nodes for r in record.masked if r.masks == "binary" and not r.random),
                "p_target": record.probability,
                **{m: chance(record, m) for m in ("importance", "binary", "stochastic", "adversarial")},
                "random": chance(record, "binary", random=True),
                "processor_seconds": record.processor_seconds,
            }
        rows.append(row)
    return rows


def apart(part: str, arguments: list[str]) -> object:
    """One part in a process of its own, so that its peak is its own."""
    command = [sys.executable, "-m", "perf.circuits", "--part", part, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--penalty", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--part", choices=("identity", "whole", "optimised"))
    asked = parser.parse_args()
    if asked.part is not None:
        torch.set_num_threads(1)
        opening = Opening(OpenOptions())
        parts = {
            "identity": lambda: identity(opening),
            "whole": lambda: whole(opening),
            "optimised": lambda: optimised(opening, asked.penalty, asked.steps),
        }
        sys.stdout.write(json.dumps(parts[asked.part](), ensure_ascii=False) + "\n")
        return
    words = ["--penalty", str(asked.penalty), "--steps", str(asked.steps)]
    found = {part: apart(part, words) for part in ("identity", "whole", "optimised")}
    report = {**found, "penalty": asked.penalty, "steps": asked.steps, "environment": environment()}
    sys.stdout.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    if asked.out is not None:
        write_json(asked.out, report)


if __name__ == "__main__":
    main()
