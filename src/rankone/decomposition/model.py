"""A decomposition: the factors of every site and the importance function, and a target model running with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from pydantic import JsonValue
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.artifact import Artifact, Provenance, new_artifact, open_artifact, write_json
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.reading import reading
from rankone.core.schemas.evidence import FILE as EVIDENCE
from rankone.core.tensors import save_tensors
from rankone.decomposition.evidence.records import Evidence
from rankone.decomposition.importance.config import read_importance_config
from rankone.decomposition.importance.function import ImportanceFunction
from rankone.decomposition.importance.registry import build_importance, importance_class
from rankone.decomposition.masking.masking import Masking, MaskingInForce, SiteMask
from rankone.decomposition.masking.masks import MaskParts
from rankone.decomposition.parallel.gathered import gathered
from rankone.decomposition.prefix import late_start
from rankone.decomposition.site import DecomposedSite, as_precise, installed
from rankone.decomposition.storage import Storage, restored, stored
from rankone.decomposition.taps import SiteInputs, block_inputs, block_paths, tap_widths
from rankone.models.output import output_of
from rankone.models.sites import find_sites
from rankone.parts.naming import numbers_key, site_key
from rankone.parts.parts import FactorPair, Parts
from rankone.parts.target import require_target, target_entry
from rankone.runtime.seeding import seeded
from rankone.sharing.fetching import local
from rankone.sharing.requests import PushReply

KIND = "decomposition"


class TargetEntry(Config):
    """The model that was decomposed: its name, and the hash of each decomposed weight taken as fp32."""

    name: str
    weights: dict[str, str]


class DecompositionFile(Config):
    """`config.json` of a decomposition; `origin` and `made` of one whose parts are of another origin (parts/parts.py)."""

    sites: list[str]
    importance: dict[str, JsonValue]
    target: TargetEntry
    origin: str = ""
    made: dict[str, JsonValue] | None = None


class Decomposition(Parts):
    """Parts that are subcomponents: V and U per site, in the target's site order, and the causal importance function.

    `indices[site]` holds the original number of each kept subcomponent, so that `h.3.attn.v_proj:513` names the
    same one before and after dead ones were folded into delta. An `origin` other than '' is that of parts that were given
    an importance without training (untrained.py).
    """

    def __init__(
        self,
        factors: Mapping[str, FactorPair],
        importance: ImportanceFunction,
        indices: Mapping[str, Int[Tensor, " c"]] | None = None,
        origin: str = "",
        made: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(factors, origin, indices, made)
        self.importance = importance

    def logits(
        self, inputs: SiteInputs, present: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t c"]:
        """Importance logits from one clean forward; `present` marks real (not padded) positions."""
        read: list[Tensor] = inputs
        if self.importance.taps == "activations":
            read = [x @ gathered(self.factors(site)[0]) for site, x in zip(self.sites, inputs, strict=True)]
        elif self.importance.taps == "blocks":
            read = inputs.blocks
        return self.importance(read, present)

    def save_pretrained(
        self,
        path: Path | str,
        target: PreTrainedModel,
        evidence: Evidence | None = None,
        storage: Storage = "bfloat16",
    ) -> Path:
        """Write it as an artefact of kind 'decomposition', tied to the target's weights; RankOneError where something
        stands at `path`. evidence: what was measured of it as it will be stored."""
        save_decomposition(self, target, Path(path), {}, evidence, storage)
        return Path(path)

    def push_to_hub(
        self,
        repo: str,
        target: PreTrainedModel,
        public: bool = False,
        message: str | None = None,
        folder: str | None = None,
        evidence: Evidence | None = None,
        storage: Storage = "bfloat16",
    ) -> PushReply:
        """Save it and send it to a repository of the Hub, with a card; errors as `save_pretrained`, and the Hub's.

        What lies on disk goes whole, evidence and provenance too, by `rankone push`.
        """
        from rankone.sharing.pushing import push_made

        def write(path: Path) -> None:
            self.save_pretrained(path, target, evidence, storage)

        return push_made(write, repo, public, message, folder)

    @classmethod
    def from_pretrained(
        cls, name: Path | str, target: PreTrainedModel, origin: str | None = None
    ) -> Decomposition:
        """A saved decomposition of `target`: a folder, Hub id (OWNER/NAME, or with @REVISION) or address.

        RankOneError for another model's, for one that was altered, and where `origin` is another than its own.
        """
        read, _ = load_decomposition(local(name, KIND), target)
        if origin is not None and origin != read.origin:
            raise RankOneError(
                f"'{name}' is of origin '{read.origin}', not '{origin}'. Leave the origin out."
            )
        return read


class DecomposedModel:
    """A target model with its decomposed sites in place, for the length of a `with` block.

    The target is a causal language model on token ids [B, T], or any module from [B, T, d] to [B, T, out].
    Masks are [B, T, ΣC] (or broadcastable) over all subcomponents in the decomposition's order, deltas and routes
    [B, T, sites]. Where all sites lie in late blocks, masked forwards start at the first of them from what the clean
    forward of the same ids left there; the last `kept` batches are held (prefix.py). Masks may come as the
    parts of every site (masks.py); `compiled` is about the kernels that read those.
    """

    def __init__(
        self, target: nn.Module, decomposition: Decomposition, kept: int = 1, compiled: bool = False
    ) -> None:
        self.target, self.decomposition = target, decomposition
        self.kept, self.compiled = kept, compiled
        self.in_force = MaskingInForce()
        self._sites: dict[str, DecomposedSite] = {}

    def __enter__(self) -> Self:
        factors = {s: self.decomposition.factors(s) for s in self.decomposition.sites}
        with ExitStack() as context:  # what stops this half-way leaves the target as it was
            self._sites = context.enter_context(installed(self.target, factors, self.in_force, self.compiled))
            self._prefix = context.enter_context(late_start(self.target, self.decomposition.sites, self.kept))
            self._context = context.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context.__exit__(kind, error, trace)
        self._sites = {}

    @property
    def starts_late(self) -> bool:
        """Whether masked forwards go on from what the clean one left, and so take the same rows."""
        return self._prefix.blocks > 0

    @property
    def modules(self) -> list[DecomposedSite]:
        """The decomposed sites in sorted order."""
        return [self._sites[s] for s in self.decomposition.sites]

    def clean(self, ids: Tensor) -> tuple[Float[Tensor, "b t out"], SiteInputs]:
        """Output of the untouched target and the input of every site (and block, if read), without gradients."""
        paths = (
            block_paths(self.target, self.decomposition.sites)
            if self.decomposition.importance.taps == "blocks"
            else []
        )
        inputs: dict[str, Tensor] = {}
        masking = Masking(tuple(ids.shape[:2]), inputs=inputs)
        with torch.no_grad(), self.in_force.put(masking), block_inputs(self.target, paths) as blocks:
            logits = self._prefix.full(ids, lambda: output_of(self.target, ids))
        like = self.decomposition.factors(self.decomposition.sites[0])[0]
        return logits, SiteInputs(
            [as_precise(inputs[site], like) for site in self.decomposition.sites],
            [as_precise(blocks[path], like) for path in paths],
        )

    def outputs(self, inputs: SiteInputs) -> list[Float[Tensor, "b t d_out"]]:
        """What every untouched site gives on these inputs, without gradients."""
        with torch.no_grad():
            return [
                site.base(as_precise(x, site.weight)) for site, x in zip(self.modules, inputs, strict=True)
            ]

    def importance(self, ids: Tensor, present: Bool[Tensor, "b t"] | None = None) -> Float[Tensor, "b t c"]:
        """Causal importance g in [0, 1] of every subcomponent at every position, without gradients."""
        _, inputs = self.clean(ids)
        with torch.no_grad():
            return self.decomposition.logits(inputs, present).clamp(0, 1)

    def masked(
        self,
        ids: Tensor,
        mask: Float[Tensor, "b t c"] | Sequence[MaskParts],
        delta: Float[Tensor, "b t sites"] | None = None,
        route: Float[Tensor, "b t sites"] | None = None,
        outputs: dict[str, Tensor] | None = None,
    ) -> Float[Tensor, "b t out"]:
        """Output with every subcomponent scaled by its mask; delta None leaves Δ off, route None masks all sites.

        outputs: where the output [B, T, d_out] of every site is left, by site.
        """
        masks: Sequence[Tensor | MaskParts] = (
            _split(mask, self.decomposition.counts) if isinstance(mask, Tensor) else mask
        )
        nothing = [None] * len(masks)
        deltas = nothing if delta is None else _split(delta, 1)
        routes = nothing if route is None else _split(route, 1)
        by_site = {
            site: SiteMask(*of_site)
            for site, of_site in zip(
                self.decomposition.sites, zip(masks, deltas, routes, strict=True), strict=True
            )
        }
        with self.in_force.put(Masking(tuple(ids.shape[:2]), by_site, outputs=outputs)):
            return self._prefix.late(ids, lambda: output_of(self.target, ids))


def _split(whole: Tensor, sizes: int | list[int]) -> tuple[Tensor, ...]:
    """Parts along the last dimension; not slices, since the backward of each would fill a gradient of the whole."""
    return whole.split(sizes, dim=-1)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def save_decomposition(
    decomposition: Decomposition,
    target: PreTrainedModel,
    path: Path,
    provenance: Provenance,
    evidence: Evidence | None,
    storage: Storage = "bfloat16",
) -> None:
    """Write the decomposition of `target` as an artefact; factors and importance function in `storage`."""
    tensors = stored({k: p.detach() for k, p in decomposition.named_parameters()}, storage)
    tensors |= {numbers_key(s): i for s, i in decomposition.indices.items()}
    config = {
        "sites": decomposition.sites,
        "importance": decomposition.importance.config.model_dump(),
        "target": target_entry(target, decomposition.sites),
    }
    if decomposition.origin:
        config |= {"origin": decomposition.origin, "made": decomposition.made}
    with new_artifact(path, KIND, provenance) as staging:
        save_tensors(staging / "tensors.safetensors", tensors)
        write_json(staging / "config.json", config)
        if evidence is not None:
            write_json(staging / EVIDENCE, evidence.plain(), constants=True)


def load_decomposition(path: Path | str, target: PreTrainedModel) -> tuple[Decomposition, Artifact]:
    """Load a decomposition in fp32 and check that it belongs to `target`'s weights."""
    artifact = open_artifact(path, KIND)
    with reading(artifact.path):
        return _loaded(artifact, target).frozen(), artifact


def _loaded(artifact: Artifact, target: PreTrainedModel) -> Decomposition:
    config = DecompositionFile.checked(artifact.json(), str(artifact.path / "config.json"))
    read = artifact.tensors()
    require_target(target, config.target.name, config.target.weights, artifact.path)
    indices = {key: value for key, value in read.items() if key.startswith("indices.")}
    tensors = restored({key: value for key, value in read.items() if key not in indices})
    sites = config.sites
    factors = {s: (tensors[f"V.{site_key(s)}"], tensors[f"U.{site_key(s)}"]) for s in sites}
    counts = [factors[s][0].shape[1] for s in sites]
    importance_config = read_importance_config(config.importance)
    _require_stored(importance_config.model_dump(), tensors, artifact.path)
    widths = tap_widths(importance_class(importance_config).taps, target, find_sites(target, sites), counts)
    with seeded():  # weights that are replaced at once
        importance = build_importance(importance_config, widths, counts)
    numbers = {s: indices[numbers_key(s)] for s in sites}
    decomposition = Decomposition(factors, importance, numbers, config.origin, config.made)
    decomposition.load_state_dict(tensors)
    return decomposition


def _require_stored(sizes: Mapping[str, object], tensors: Mapping[str, Tensor], where: Path) -> None:
    """Raise for an importance function larger than what is stored of one: making it would take minutes, or the memory."""
    kept = [tensor for name, tensor in tensors.items() if name.startswith("importance.")]
    numbers = sum(tensor.numel() for tensor in kept)
    for name, most in (("blocks", len(kept)), ("width", numbers), ("heads", numbers), ("hidden", numbers)):
        size = sizes.get(name)
        if isinstance(size, int) and size > most:
            raise RankOneError(
                f"'{where}' states an importance function of {name} {size} and stores {len(kept)} tensors of one. "
                "Restore it from its source."
            )
