"""Whether vLLM serves an adapter, by its published rules; read off the written file. vLLM itself is not run.

The rules are those of its documentation (vllm.config.lora, vllm.lora.peft_helper; versions 0.14 to 0.26): ranks up to one of
a few bounds, no whole modules, no DoRA, no biases, one scale for all modules (patterns of the configuration are not read).
"""

from __future__ import annotations

from pathlib import Path

from rankone.core.artifact import read_json
from rankone.core.config import Record
from rankone.edits.adapter_files import CONFIG
from rankone.edits.adapter_reading import Settings

# What --max-lora-rank may be; the default is 16.
BOUNDS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


class Serving(Record):
    """max_lora_rank: the smallest bound that holds the adapter; refused: rules that it breaks, none if vLLM serves it."""

    max_lora_rank: int | None
    refused: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """One sentence for the card and the reply."""
        if self.refused:
            return f"vLLM does not serve it: {'; '.join(self.refused)}. Serve a checkpoint (export --as checkpoint)."
        return (
            f"By vLLM's rules it can be served with --enable-lora --max-lora-rank {self.max_lora_rank}, where vLLM's class "
            "of the base model takes LoRA at these modules; not tried."
        )


def vllm_serving(folder: Path, remote_code: bool = False) -> Serving:
    """Judge the adapter in a folder. remote_code: its base model is of code that vLLM does not have."""
    config = read_json(folder / CONFIG)
    settings = Settings.of(folder, config)
    ranks = [settings.r, *settings.rank_pattern.values()]
    bound = next((b for b in BOUNDS if b >= max(ranks)), None)
    refused = []
    if bound is None:
        refused.append(f"its rank is {max(ranks)}, at most {BOUNDS[-1]} is served")
    if not settings.one_scale:
        refused.append("its modules have different scales α/r, and vLLM reads one for all")
    for name, words in (("modules_to_save", "modules saved whole"), ("use_dora", "DoRA")):
        if config.get(name):
            refused.append(f"it has {words}")
    if config.get("bias", "none") != "none":
        refused.append("it has biases")
    if remote_code:
        refused.append(
            "its base model is of RankOne's own architecture; export --as stock gives one that vLLM may have"
        )
    return Serving(max_lora_rank=bound, refused=tuple(refused))
