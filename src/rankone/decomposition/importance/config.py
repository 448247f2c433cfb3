"""What recipes say of importance functions, by `kind`. A new one: a class here, in the union below, and a file beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Field, PositiveInt, Tag, TypeAdapter, model_validator

from rankone.core.config import Config


class MLPConfig(Config):
    """Sizes of the MLP of a subcomponent."""

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[PositiveInt, ...] = Field(default=(16,), description="widths of the hidden layers")


class VectorMLPConfig(Config):
    """Sizes of the MLP of a subcomponent."""

    kind: Literal["vector_mlp"]
    hidden: tuple[PositiveInt, ...] = Field(default=(16,), description="widths of the hidden layers")


class SharedMLPConfig(Config):
    """Sizes of the MLP of a site."""

    kind: Literal["shared_mlp"]
    hidden: tuple[PositiveInt, ...] = Field(default=(256,), description="widths of the hidden layers")


class GlobalSharedMLPConfig(Config):
    """Sizes of the MLP."""

    kind: Literal["global_shared_mlp"]
    hidden: tuple[PositiveInt, ...] = Field(default=(256,), description="widths of the hidden layers")


class TransformerSizes(Config):
    """Sizes of an importance transformer."""

    width: int = Field(default=256, gt=0)
    blocks: int = Field(default=2, ge=0)
    heads: int = Field(default=4, gt=0)
    hidden: int = Field(default=1024, gt=0)

    @model_validator(mode="after")
    def _splits_into_heads(self) -> TransformerSizes:
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width {self.width} does not split into {self.heads} heads of even size (RoPE turns pairs)"
            )
        return self


class SharedTransformerConfig(TransformerSizes):
    """Sizes of the importance transformer over all sites."""

    kind: Literal["shared_transformer"] = "shared_transformer"


class ResidualTransformerConfig(TransformerSizes):
    """Sizes of the importance transformer over block inputs."""

    kind: Literal["residual_transformer"]


class MagnitudeConfig(Config):
    """It has nothing to choose."""

    kind: Literal["magnitude"] = "magnitude"


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


def read_importance_config(values: Mapping[str, object]) -> Config:
    """The configuration of an importance function from an artefact's JSON."""
    return TypeAdapter(ImportanceConfig).validate_python(values)
