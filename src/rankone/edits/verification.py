"""How far a reloaded export is from the edited model: the record of it, and the figures in it."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from rankone.core.config import Config
from rankone.edits.lowrank.merging import MergeReport
from rankone.edits.serving.vllm import Serving
from rankone.models.sources.known import BUILTIN_MODELS

REPORT = "verification.json"
# An edit below the tolerance is within it also where nothing of it arrives.
_LEAST_REALISED = 0.5
Form = Literal["checkpoint", "adapter"]
Logits = Float[Tensor, "rows length vocab"]


class Verification(Config):
    """How far a reloaded export is from the edited model in memory, on `tokens` probe positions, in fp32.

    `file_difference` is max |Δlogit| against the edited model rounded to the export's dtype: what the files
    get wrong. `difference` (max |Δlogit|) and `kl` (mean KL(edited ‖ reloaded), nats per token; `kl_max` its
    maximum) are against the edited model itself: they include the rounding. `edit_kl` is KL(edited ‖ base):
    how much the edit does on this probe, and `realised` the share of its change of the logits that the export makes.
    `engine` is what read the files: transformers or peft, in a process that cannot import RankOne; 'rankone' where PEFT is
    not installed. `vllm`: of an adapter, whether vLLM serves it by its rules.
    `remote_code` says that the export loads by the code file in it, an adapter's base by that in the base's folder
    (trust_remote_code).
    """

    model_config = ConfigDict(allow_inf_nan=True)

    kind: Form = Field(description="what was written")
    dtype: str = Field(description="numbers of its weights")
    engine: Literal["transformers", "peft", "rankone"] = Field(description="what read it again")
    tokens: int = Field(description="positions compared")
    file_difference: float = Field(description="largest difference of a logit that the files make")
    tolerance: float = Field(description="and what is allowed")
    difference: float = Field(description="the same with rounding to the dtype")
    kl: float = Field(description="KL(edited ‖ reloaded), mean, nats per token")
    kl_max: float = Field(description="its maximum")
    kl_bound: float = Field(description="and what the mean may be")
    edit_kl: float = Field(description="KL(edited ‖ base): what the edit itself does on this probe")
    rounding_share: float = Field(description="share of it that rounding may cost")
    realised: float = Field(description="share of the edit's change that the export makes")
    remote_code: bool = Field(False, description="loads by a code file of its own (trust_remote_code)")
    base: str | None = Field(None, description="model that the adapter belongs to")
    merge: MergeReport | None = None
    vllm: Serving | None = None

    @property
    def exact(self) -> bool:
        """Whether the files hold what they should, within `tolerance`; NaN fails."""
        return self.file_difference <= self.tolerance

    @property
    def drowned(self) -> bool:
        """Whether rounding moved the model by more than `rounding_share` of the edit's own KL; NaN counts as that."""
        return not (self.dtype == "float32" or self.kl <= self.rounding_share * self.edit_kl)

    @property
    def passed(self) -> bool:
        """Files exact, rounding within its bounds, and at least half of the edit's change made, however small that is."""
        made = self.realised >= _LEAST_REALISED
        return self.exact and self.kl <= self.kl_bound and not self.drowned and made

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user of the export must know beside the figures."""
        said = []
        if self.engine == "rankone":
            said.append(
                "not verified by PEFT: it is not installed here, and RankOne's own reader cannot tell what PEFT does with "
                "this model. Install it (pip install peft) and export again."
            )
        if self.remote_code and self.kind == "checkpoint":
            said.append("loads with trust_remote_code=True, by the code file that lies in the export.")
        if self.kind == "adapter" and self.base in BUILTIN_MODELS:
            said.append(
                f"its base '{self.base}' is built into RankOne and on no Hub: PEFT does not find it by that name. The code "
                "of the card (README.md of the export) loads it from the installed package, with trust_remote_code=True."
            )
        return tuple(said)


def logits_of(model: nn.Module, ids: Int[Tensor, "rows length"]) -> Logits:
    """The model's logits as fp32 on the CPU, without gradients."""
    device = next(model.parameters()).device
    with torch.no_grad():
        return model(input_ids=ids.to(device), use_cache=False).logits.float().cpu()


def largest_difference(a: Tensor, b: Tensor) -> float:
    """max |a − b|; NaN where either holds one."""
    return float((a - b).abs().max())


def realised_share(base: Logits, edited: Logits, reloaded: Logits) -> float:
    """⟨reloaded − base, edited − base⟩ / ‖edited − base‖²; 1 where the edit changes nothing."""
    wanted, made = (edited - base).double(), (reloaded - base).double()
    size = wanted.square().sum()
    return float((made * wanted).sum() / size) if size > 0 else 1.0
