"""Any plain LoRA in PEFT's format, whoever trained it, read as low-rank factors; what is more than W + s·B A is refused.

The rules are PEFT's (src/peft/tuners/lora): the scale of a module is α/r, or α/√r where it is rank-stabilised, with r and α
of the first pattern that matches the module's name. A is [r, d_in] and B [d_out, r] for Linear, Conv1D and fused maps alike.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from rankone.core.artifact import read_json
from rankone.core.errors import RankOneError
from rankone.core.tensors import read_tensors, widened
from rankone.edits.adapter_files import CONFIG, PREFIX, TENSORS
from rankone.edits.lowrank.factors import Factors
from rankone.models.anatomy import layer_number

# What makes more of an adapter than a low-rank change of linear maps.
_MORE = (
    "use_dora",
    "modules_to_save",
    "lora_bias",
    "target_parameters",
    "trainable_token_indices",
    "layer_replication",
    "alora_invocation_tokens",
    "arrow_config",
    "use_bdlora",
    "enable_lora",
    "kasa_config",
    "monteclora_config",
    "use_qalora",
    "megatron_config",
)
# What PEFT knows beside these and what is read here: it says how the adapter was trained or where it came from.
_OF_TRAINING = (
    "peft_type",
    "task_type",
    "auto_mapping",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "lora_dropout",
    "fan_in_fan_out",
    "bias",
    "init_lora_weights",
    "megatron_core",
    "loftq_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "velora_config",
    "qalora_group_size",
    "ensure_weight_tying",
    "runtime_config",
)
_NAMING = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")
# Starts that take something out of the base weight, so that B A alone is not the change.
_CHANGED_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
# Starts that do not.
_PLAIN_STARTS = ("gaussian", "eva", "orthogonal", "mica")


class Settings(BaseModel):
    """What the factors' scales follow from, of just these types: PEFT fails on a rank of 4.0."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    r: int = Field(gt=0)
    lora_alpha: float
    use_rslora: bool = False
    rank_pattern: dict[str, int] = Field(default_factory=dict)
    alpha_pattern: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, config: Mapping[str, object]) -> Settings:
        """Those of an adapter's configuration; RankOneError where they are damaged."""
        known = {name: config[name] for name in cls.model_fields if config.get(name) is not None}
        try:
            return cls.model_validate(known)
        except ValueError as error:
            said = str(error).splitlines()[1].strip()
            raise RankOneError(
                f"'{folder / CONFIG}' is damaged ({said}). Restore the adapter from its source."
            ) from error

    @property
    def one_scale(self) -> bool:
        """Whether every module has the scale that r and lora_alpha give, as far as the patterns tell."""
        if not self.rank_pattern and not self.alpha_pattern:
            return True
        names = {*self.rank_pattern, *self.alpha_pattern}
        pairs = [
            (self.rank_pattern.get(n, self.r), self.alpha_pattern.get(n, self.lora_alpha)) for n in names
        ]
        power = 0.5 if self.use_rslora else 1.0
        scales = [alpha / rank**power for rank, alpha in [(self.r, self.lora_alpha), *pairs]]
        return max(scales) - min(scales) <= 1e-9 * max(map(abs, scales))

    def scale(self, module: str, rank: int, folder: Path) -> float:
        """What B A is multiplied by; RankOneError where the file says another rank than the tensors have."""
        said = self.rank_pattern.get(_pattern(self.rank_pattern, module), self.r)
        if said != rank:
            raise RankOneError(
                f"'{folder / CONFIG}' gives rank {said} for '{module}', but its tensors have rank {rank}. "
                "Restore the adapter from its source."
            )
        alpha = self.alpha_pattern.get(_pattern(self.alpha_pattern, module), self.lora_alpha)
        return alpha / rank**0.5 if self.use_rslora else alpha / rank


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter of PEFT."""
    return (folder / CONFIG).is_file()


def base_of(folder: Path) -> str | None:
    """The model that an adapter says it was made for."""
    name = read_json(folder / CONFIG).get("base_model_name_or_path")
    return str(name) if name else None


def read_adapter(folder: Path) -> dict[str, Factors]:
    """Module path → factors of a LoRA adapter, its scales folded into B.

    RankOneError for DoRA, biases, modules saved whole, embeddings, starts that changed the base, and whatever else is
    not W + s·B A; also for missing or surplus tensors.
    """
    config = read_json(folder / CONFIG)
    _refuse_more(folder, config)
    settings = Settings.of(folder, config)
    factors = {}
    for module, (read, write) in _pairs(folder).items():
        if not _meant(config, module):
            raise RankOneError(
                f"'{folder}' holds factors of '{module}', which its {CONFIG} does not name: PEFT leaves them out. Name it "
                "in target_modules, or take its tensors out."
            )
        if read.shape[0] != write.shape[1]:
            raise RankOneError(
                f"'{folder}': A and B of '{module}' are of different ranks. Restore the adapter."
            )
        factors[module] = Factors(write * settings.scale(module, read.shape[0], folder), read)
    return factors


def _refuse_more(folder: Path, config: Mapping[str, object]) -> None:
    if config.get("peft_type") != "LORA":
        raise RankOneError(
            f"'{folder}' is not a plain LoRA adapter but {config.get('peft_type')}. Merge it, or train a LoRA."
        )
    if config.get("target_modules") is None:
        raise RankOneError(
            f"'{folder / CONFIG}' names no target_modules: PEFT would choose modules by the model's type. Name those that "
            "the adapter was trained on."
        )
    more = [*(name for name in _MORE if config.get(name)), *_unread(config)]
    if config.get("bias", "none") != "none":
        more.append(f"bias={config['bias']}")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.startswith(_CHANGED_BASE):
        more.append(f"init_lora_weights={start}, which changed the base weights")
    elif isinstance(start, str) and start not in _PLAIN_STARTS:
        more.append(f"init_lora_weights={start}, which is not known")
    if more:
        raise RankOneError(
            f"'{folder}' is not a plain LoRA adapter ({', '.join(more)}): it is more than a low-rank change of linear maps. "
            "Save it as plain LoRA, or compare merged models."
        )


def _pairs(folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Module path → (A, B); both must be there, and nothing else."""
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in read_tensors(folder / TENSORS).items():
        match = re.fullmatch(rf"{re.escape(PREFIX)}(.+)\.lora_([AB])\.weight", key)
        if match is None or tensor.ndim != 2:
            raise RankOneError(
                f"'{folder}' holds '{key}', which is not a factor of a linear map (an embedding's, a bias, a whole module). "
                "Only plain LoRA can be read."
            )
        pairs.setdefault(match[1], {})[match[2]] = tensor
    half = [module for module, pair in pairs.items() if len(pair) < 2]
    if half or not pairs:
        what = f"A or B of '{half[0]}'" if half else "any factor"
        raise RankOneError(f"'{folder / TENSORS}' lacks {what}. Restore the adapter from its source.")
    return {module: (widened(pair["A"]), widened(pair["B"])) for module, pair in pairs.items()}


def _unread(config: Mapping[str, object]) -> list[str]:
    """Settings beside their default that PEFT, where it is installed, has and nobody here knows."""
    if importlib.util.find_spec("peft") is None:
        return []
    from peft import LoraConfig

    known = {*_MORE, *_OF_TRAINING, *_NAMING, *Settings.model_fields}
    fields = (field for field in dataclasses.fields(LoraConfig) if field.name not in known)
    return [field.name for field in fields if config.get(field.name) not in (None, False, field.default)]


def _meant(config: Mapping[str, object], module: str) -> bool:
    """Whether PEFT puts a LoRA on a module of this name, as its `check_target_module_exists` decides it.

    A list of targets goes by layers too; a regular expression does not, and PEFT takes no layers beside one.
    """
    targets, excluded = config["target_modules"], config.get("exclude_modules")
    if excluded and _named(excluded, module):
        return False
    if targets == "all-linear":
        return layer_number(module) >= 0  # not the unembedding
    if not _named(targets, module):
        return False
    layers = config.get("layers_to_transform")
    if layers is None or layers == []:
        return True
    if isinstance(targets, str):
        return False
    return _layer(config, module) in (layers if isinstance(layers, list) else [layers])


def _layer(config: Mapping[str, object], module: str) -> int | None:
    """The layer that a module lies in, as PEFT counts: the first number after one of `layers_pattern`, or after any name."""
    patterns = config.get("layers_pattern")
    names = [patterns] if isinstance(patterns, str) and patterns else patterns or [r"[^.]*"]
    for name in names if isinstance(names, list) else []:
        try:
            match = re.match(rf"(?:^|.*?\.){name}\.(\d+)\.", module)
        except re.error as error:
            raise RankOneError(
                f"the layers_pattern '{name}' of an adapter is not a regular expression ({error})."
            ) from error
        if match is not None:
            return int(match[1])
    return None


def _named(names: object, module: str) -> bool:
    """As PEFT compares: a string is a regular expression of the whole name, a list has its ends."""
    if isinstance(names, str):
        return _matches(names, module, names)
    return isinstance(names, list) and any(module == name or module.endswith(f".{name}") for name in names)


def _pattern(patterns: Mapping[str, object], module: str) -> str:
    """The first pattern that a module's name ends with, as PEFT matches it; '' for none."""
    for pattern in patterns:
        if _matches(rf"(.*\.)?({pattern})", module, pattern):
            return pattern
    return ""


def _matches(expression: str, module: str, pattern: str) -> bool:
    """Whether a module's whole name is as an expression says; `pattern`: the adapter's own words, for the error."""
    try:
        return re.fullmatch(expression, module) is not None
    except re.error as error:
        raise RankOneError(
            f"the pattern '{pattern}' of an adapter is not a regular expression ({error})."
        ) from error
