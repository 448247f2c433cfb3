"""What a viewer shows beside a node: examples of the part from a harvest, and the tokens it leads to.

Colours of the viewer are clamped to [act_min, act_max], so that causal importance stands there, not the signed activation.
What nobody has measured is left out (quantiles and a histogram of the activation; without a harvest, how often the part
fires): of empty ones the viewer says that the activation is in the 0th percentile, and that the part never fires.
"""

from __future__ import annotations

from pydantic import JsonValue

from rankone.harvest.reading.page import Example, most_informative
from rankone.harvest.reading.store import HarvestStore
from rankone.text.vocabulary import with_neighbours

EXAMPLES, TOKENS = 20, 10


def feature_file(part: str, number: int, harvest: HarvestStore | None) -> dict[str, JsonValue]:
    """One feature's document; without a harvest, or where it does not hold the part, it has no examples."""
    page = None
    if harvest is not None and part in harvest.names():
        page = harvest.page(part, EXAMPLES, 100)
    examples = [] if page is None else sorted(page.examples, key=lambda e: -max(e.importances, default=0.0))
    leads = [] if page is None else [row.text for row in most_informative(page.output_tokens, TOKENS)]
    shown: list[JsonValue] = [_example(e) for e in examples[:EXAMPLES]]
    frequency = {} if page is None else {"activation_frequency": page.firings / max(page.tokens, 1)}
    return {
        "index": number,
        "transcoder_id": part,
        "examples_quantiles": [{"quantile_name": "importance", "examples": shown}],
        "top_logits": [*leads],
        "bottom_logits": [],
        "act_min": 0.0,
        "act_max": 1.0,
        **frequency,
    }


def _example(example: Example) -> dict[str, JsonValue]:
    return {
        "tokens": [*with_neighbours(example.tokens, example.centre)],
        "tokens_acts_list": [*example.importances],
        "train_token_ind": example.centre,
        "is_repeated_datapoint": False,
    }
