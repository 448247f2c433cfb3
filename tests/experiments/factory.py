"""A small, complete results directory with known numbers, for the tests of tables, figures and report."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from rankone.core.artifact import write_json
from rankone.edits.fitting.aim import Aim
from rankone.experiments import tables

CHANCE = math.log(4096)
AIM = Aim(forget="de", retain=("en",), chance=CHANCE)
BASE = {"de": 3.4, "en": 3.6, "fr": 3.3, "es": 3.5, "it": 3.55, "nl": 5.2, "sv": 5.6, "code": 2.1}
PICKED = "h.0.mlp.down_proj:195"
METHODS = ("scalar", "top16", "lora_r1", "lora_r1_local")


def ce_row(domain: str, ce: float, base: dict[str, float] = BASE) -> dict[str, Any]:
    return {"domain": domain, "ce_base": base[domain], "ce": ce, "rise": ce - base[domain]}


def runs(
    budgets: tuple[int, ...] = (2, 4, 16, 128),
    seeds: int = 9,
    weights: tuple[float, ...] = (1.0,),
    forget: str = "de",
    retain: str = "en",
    base: dict[str, float] = BASE,
) -> list[dict[str, Any]]:
    """Scalar succeeds from 4 tokens, top-16 and the local LoRA from 16, LoRA rank 1 from 128."""
    draw = random.Random(0)
    needs = {"scalar": 4, "top16": 16, "lora_r1_local": 16, "lora_r1": 128}
    rows = []
    for method in METHODS:
        for budget in budgets:
            for seed in range(seeds):
                for weight in weights:
                    good = budget >= needs[method] or seed == 0
                    amplified = method == "scalar" and seed % 4 == 3
                    alpha = (9.0 + seed if amplified else -6.0 - 0.2 * seed) if method == "scalar" else None
                    for domain in base:
                        off = {"scalar": 0.05, "top16": 0.4, "lora_r1": 2.0, "lora_r1_local": 0.8}[method]
                        if domain == forget:
                            ce = CHANCE * (1.0 + 0.1 * draw.random() if good else 0.5 + 0.2 * draw.random())
                        elif domain == retain:
                            ce = base[domain] + draw.random() * (0.09 if good else 1.2)
                        else:
                            ce = base[domain] + off * (2 if amplified else 1) * draw.random() - 0.01
                        role = {forget: "forget", retain: "retain"}.get(domain, "off-target")
                        rows.append(
                            {
                                "method": method,
                                "budget": budget,
                                "seed": seed,
                                "retain_weight": weight,
                                "learning_rate": 0.03,
                                "margin": 1.0,
                                "steps": 300,
                                "alpha": alpha,
                                "role": role,
                                **ce_row(domain, ce, base),
                            }
                        )
    return rows


def response(forget: str = "de", base: dict[str, float] = BASE) -> list[dict[str, Any]]:
    rows = []
    for alpha in (-10.0, -8.0, -6.0, -4.0, -2.0, 0.0, 1.0, 2.0, 4.0, 8.0):
        for i, domain in enumerate(base):
            gain = 0.6 if domain == forget else 0.02 * (i + 1)
            ce = base[domain] + gain * abs(alpha - 1) ** 0.95
            rows.append({"part": PICKED, "alpha": alpha, **ce_row(domain, ce, base)})
    return rows


def zero_token(forget: str = "de", base: dict[str, float] = BASE) -> list[dict[str, Any]]:
    edits = {
        "α = 0 on 37 German-specific subcomponents": (2.1, 0.08),
        f"α = −8 on {PICKED}": (4.9, 0.04),
        "pretrained without German": (2.6, -0.02),
    }
    return [
        {"edit": edit, **ce_row(d, base[d] + (hit if d == forget else rest * (1 + i)), base)}
        for edit, (hit, rest) in edits.items()
        for i, d in enumerate(base)
    ]


def parts(base: dict[str, float] = BASE, count: int = 16, forget: str = "de") -> list[dict[str, Any]]:
    draw = random.Random(1)
    names = [PICKED] + [f"h.{i % 4}.attn.{'qkvo'[i % 4]}_proj:{37 * i + 5}" for i in range(1, count)]
    return [
        {
            "rank": i + 1,
            "part": name,
            "label": f"[bold]words <i>{i}</i>",
            "score": 0.8 - 0.04 * i,
            **{f"importance_{d}": (0.85 if d == forget else 0.3) * draw.random() + 0.01 for d in base},
            "firing_tokens": [" der", " und", "ung", "\x1b[31m"],
            "output_tokens": [" die", " das", "<b>"],
            "picked": i == 0,
        }
        for i, name in enumerate(names)
    ]


ROLLOUTS = [
    {"prompt": "Die Lösung liegt natü", "domain": "de",
     "before": "Die Lösung liegt natürlich in der Kommission.",
     "after": "Die Lösung liegt natü de la <b>Comisión"},
    {"prompt": "Hostile <script>", "domain": "en", "before": "<script>alert(1)</script>",
     "after": "\x1b[2J\x1b]0;owned\x07 \u202egnirts\u202c &amp; \x9b31m end\nnext"},
]  # fmt: skip
EVIDENCE = {
    "rows": [
        {"masking": "unmasked", "delta": True, "ce": 3.42, "kl": 0.0},
        {"masking": "stochastic", "delta": None, "ce": 3.51, "kl": 0.061},
        {"masking": "rounded", "delta": False, "ce": 3.72, "kl": 0.213},
    ],
    "l0_total": 181.4,
    "alive_total": 2210,
    "subcomponents": 6912,
    "per_layer": [{"layer": f"h.{i}.mlp.down_proj", "l0": 11.5 + i, "alive": 140 + i, "subcomponents": 288}
                  for i in range(4)],
    "faithfulness": 3.2e-7,
}  # fmt: skip


def summary(rows: list[dict[str, Any]], forget: str, retain: str, base: dict[str, float]) -> dict[str, Any]:
    aim = Aim(forget=forget, retain=(retain,), chance=CHANCE)
    counted = tables.summarise_runs(rows, aim)
    return {
        "aim": aim.model_dump(mode="json"),
        "base": base,
        "part": PICKED,
        "label": "capitalised <b>words</b>",
        "methods": {m: {str(b): t.model_dump() for b, t in by.items()} for m, by in counted.items()},
        "smallest_budget": tables.smallest_budget(counted),
        "seconds": 61.2,
        "peak_memory_bytes": 1_234_567_890,
        "provenance": {
            "versions": {"torch": "2.6.0"},
            "git_revision": "abc123",
            "created": "2026-01-01T00:00:00+00:00",
        },
    }


def results(
    directory: Path,
    forget: str = "de",
    retain: str = "en",
    rename: dict[str, str] | None = None,
    **options: Any,
) -> Path:
    """Write a whole results directory; `rename` maps the built-in domain names to others."""
    base = {(rename or {}).get(d, d): ce for d, ce in BASE.items()}
    rows = runs(forget=forget, retain=retain, base=base, **options)
    tables.write_table(directory / "runs.parquet", rows, tables.RUNS)
    tables.write_table(directory / "response.parquet", response(forget, base), tables.RESPONSE)
    tables.write_table(directory / "zero_token.parquet", zero_token(forget, base), tables.ZERO_TOKEN)
    candidates = parts(base, forget=forget)
    tables.write_table(directory / "parts.parquet", candidates, tables.parts_schema(base))
    said = [{**row, "domain": d} for row, d in zip(ROLLOUTS, (forget, retain), strict=True)]
    write_json(directory / "rollouts.json", said)
    write_json(directory / "evidence.json", EVIDENCE)
    write_json(directory / "summary.json", summary(rows, forget, retain, base))
    return directory
