"""Side effects of one closed-form edit on answers, and what the side-effect set costs.

    python -m perf.answers --model DIR --of fr --site model.layers.25.mlp.down_proj --alpha -6.35 --out FILE.json

The edit scales the first contrast direction of one site (parts/sources/contrast.py) made from training text of --of against
the other domains. Written are all answers, the shares by kind, the rise of cross-entropy on test text, and the seconds of
the answers on the clock and of the processor, which other work on the machine stretches less.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from perf.environment import environment

from rankone.answers.sideeffects import Share, SideEffectRequest, side_effects
from rankone.core.artifact import write_json
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.scales import scale_edit
from rankone.metrics.cross_entropy import cross_entropies
from rankone.models.loading import load_model, load_tokenizer
from rankone.models.sites import find_sites
from rankone.parts.moments import collect_moments, combined
from rankone.parts.sources import make_parts
from rankone.text.opening import open_corpus
from rankone.workspace import Workspace


def contrast_edit(workspace: Workspace, args: argparse.Namespace) -> LowRankEdit:
    """The first contrast direction of the site, scaled by --alpha."""
    sites = find_sites(workspace.model, [args.site])
    others = args.against.split(",")
    moments = {}
    for domain, blocks in workspace.text([args.of, *others], "train", args.tokens).items():
        moments[domain] = collect_moments(workspace.model, sites, blocks.ids, blocks.valid)
    mean = combined([moments[d] for d in others], [1.0] * len(others))
    parts = make_parts("contrast", sites, args.of, moments[args.of], mean)
    (name,) = parts.names()
    return scale_edit(parts, {name: args.alpha})


def main() -> None:
    """Make the edit, ask before and after, write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--text", default="builtin")
    parser.add_argument("--of", default="fr")
    parser.add_argument("--against", default="en,de,es,it,code", help="the contrast's other domains")
    parser.add_argument("--site", required=True)
    parser.add_argument("--alpha", type=float, required=True)
    parser.add_argument(
        "--tokens", type=int, default=1500, help="training tokens per domain for the direction"
    )
    parser.add_argument("--test-tokens", type=int, default=400, help="test tokens per domain")
    parser.add_argument("--answer-tokens", type=int, default=48)
    parser.add_argument(
        "--plain", action="store_true", help="ask in plain text, also where there is a chat template"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    workspace = Workspace(load_model(args.model), load_tokenizer(args.model), open_corpus(args.text))
    edit = contrast_edit(workspace, args)
    text = workspace.text([args.of, *args.against.split(",")], "test", args.test_tokens)
    base = cross_entropies(workspace.model, text)
    with edit.applied(workspace.model):
        edited = cross_entropies(workspace.model, text)
    clock, processor = time.perf_counter(), time.process_time()
    request = SideEffectRequest(target=args.of, tokens=args.answer_tokens, chat=False if args.plain else None)
    found = side_effects(workspace, edit, request)
    seconds = {"clock": time.perf_counter() - clock, "processor": time.process_time() - processor}
    rows = [{**share.model_dump(mode="json"), "new_share": share.new_share} for share in found.by_kind()]
    answers = [e.model_dump(mode="json") for e in found.effects]
    figures = {
        "edit": edit.description,
        "rise": {d: edited[d] - base[d] for d in base},
        "base": base,
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "shares": rows,
    }
    write_json(args.out, {"environment": environment(), **figures, "effects": answers})
    print(edit.description, {d: round(edited[d] - base[d], 3) for d in base}, seconds)
    for share in found.by_kind():
        print(line(share))


def line(share: Share) -> str:
    """One share in words."""
    low, high = share.new_interval
    return (
        f"{share.group}: {share.prompts} prompts, degenerate {share.before} before, {share.after} after, "
        f"{share.new} new ({share.new_share:.1%}, {low:.1%} to {high:.1%}), {share.same} the same"
    )


if __name__ == "__main__":
    main()
