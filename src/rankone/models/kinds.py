"""What a site holds, in words for a listing: the layer's type and which maps are fused into its one matrix."""

from __future__ import annotations

from rankone.models.sites import Site

QUERY_KEY_VALUE = "query, key and value in one"
GATE_UP = "gate and up in one"
# Last part of the module path → what the architectures of that name fuse.
FUSED = {
    "c_attn": QUERY_KEY_VALUE,  # GPT-2
    "query_key_value": QUERY_KEY_VALUE,  # GPT-NeoX, Pythia, Falcon, BLOOM
    "qkv_proj": QUERY_KEY_VALUE,  # Phi-3
    "Wqkv": QUERY_KEY_VALUE,  # MPT, DBRX
    "gate_up_proj": GATE_UP,  # Phi-3, GLM
}


def kind_of(site: Site) -> str:
    """The layer's class: Linear, or Conv1D (which stores Wᵀ)."""
    return type(site.module).__name__


def fused_note(site: Site) -> str:
    """Which maps share the site's matrix; empty for one map.

    A fused matrix is decomposed as one site: a subcomponent of it may write to query, key and value at once.
    """
    return FUSED.get(site.name.rsplit(".", 1)[-1], "")
