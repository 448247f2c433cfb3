"""All importance functions by `kind`. A new one is a file in this folder and a line in both tables below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Discriminator, Tag, TypeAdapter

from rankone.core.config import Config
from rankone.decomposition.importance.function import ImportanceFunction
from rankone.decomposition.importance.global_shared_mlp import GlobalSharedMLP, GlobalSharedMLPConfig
from rankone.decomposition.importance.magnitude import Magnitude, MagnitudeConfig
from rankone.decomposition.importance.mlp import MLPConfig, SubcomponentMLP
from rankone.decomposition.importance.residual_transformer import (
    ResidualTransformer,
    ResidualTransformerConfig,
)
from rankone.decomposition.importance.shared_mlp import SharedMLP, SharedMLPConfig
from rankone.decomposition.importance.shared_transformer import SharedTransformer, SharedTransformerConfig
from rankone.decomposition.importance.vector_mlp import VectorMLP, VectorMLPConfig

DEFAULT = "shared_transformer"  # of recipes and artefacts that do not say


def _kind(value: object) -> str | None:
    return value.get("kind", DEFAULT) if isinstance(value, dict) else getattr(value, "kind", None)


ImportanceConfig = Annotated[
    Annotated[MLPConfig, Tag("mlp")]
    | Annotated[VectorMLPConfig, Tag("vector_mlp")]
    | Annotated[SharedMLPConfig, Tag("shared_mlp")]
    | Annotated[GlobalSharedMLPConfig, Tag("global_shared_mlp")]
    | Annotated[SharedTransformerConfig, Tag("shared_transformer")]
    | Annotated[ResidualTransformerConfig, Tag("residual_transformer")]
    | Annotated[MagnitudeConfig, Tag("magnitude")],
    Discriminator(_kind),
]

IMPORTANCE: dict[type[Config], type[ImportanceFunction]] = {
    MLPConfig: SubcomponentMLP,
    VectorMLPConfig: VectorMLP,
    SharedMLPConfig: SharedMLP,
    GlobalSharedMLPConfig: GlobalSharedMLP,
    SharedTransformerConfig: SharedTransformer,
    ResidualTransformerConfig: ResidualTransformer,
    MagnitudeConfig: Magnitude,
}


def read_importance_config(values: Mapping[str, object]) -> Config:
    """The configuration of an importance function from an artefact's JSON."""
    return TypeAdapter(ImportanceConfig).validate_python(values)


def importance_class(config: Config) -> type[ImportanceFunction]:
    """The function that a configuration is for."""
    return IMPORTANCE[type(config)]


def build_importance(config: Config, widths: Sequence[int], counts: Sequence[int]) -> ImportanceFunction:
    """An importance function with fresh weights (global generator); `widths` as its taps have them (taps.py)."""
    return importance_class(config)(config, widths, counts)
