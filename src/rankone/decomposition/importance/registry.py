"""The importance function of each kind: a new one is a file here, a class in config.py and a line in the table below."""

from __future__ import annotations

from collections.abc import Sequence

from rankone.core.config import Config
from rankone.decomposition.importance.config import (
    GlobalSharedMLPConfig,
    MagnitudeConfig,
    MLPConfig,
    ResidualTransformerConfig,
    SharedMLPConfig,
    SharedTransformerConfig,
    VectorMLPConfig,
)
from rankone.decomposition.importance.function import ImportanceFunction
from rankone.decomposition.importance.global_shared_mlp import GlobalSharedMLP
from rankone.decomposition.importance.magnitude import Magnitude
from rankone.decomposition.importance.mlp import SubcomponentMLP
from rankone.decomposition.importance.residual_transformer import ResidualTransformer
from rankone.decomposition.importance.shared_mlp import SharedMLP
from rankone.decomposition.importance.shared_transformer import SharedTransformer
from rankone.decomposition.importance.vector_mlp import VectorMLP

IMPORTANCE: dict[type[Config], type[ImportanceFunction]] = {
    MLPConfig: SubcomponentMLP,
    VectorMLPConfig: VectorMLP,
    SharedMLPConfig: SharedMLP,
    GlobalSharedMLPConfig: GlobalSharedMLP,
    SharedTransformerConfig: SharedTransformer,
    ResidualTransformerConfig: ResidualTransformer,
    MagnitudeConfig: Magnitude,
}


def importance_class(config: Config) -> type[ImportanceFunction]:
    """The function that a configuration is for."""
    return IMPORTANCE[type(config)]


def build_importance(config: Config, widths: Sequence[int], counts: Sequence[int]) -> ImportanceFunction:
    """An importance function with fresh weights (global generator); `widths` as its taps have them (taps.py)."""
    return importance_class(config)(config, widths, counts)
