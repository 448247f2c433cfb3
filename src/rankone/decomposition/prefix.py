"""Late start: when all sites lie in late blocks, what comes before them is computed once per batch.

The blocks before the first decomposed one see the same input in every masked forward as in the clean one. They are
replaced by stand-ins that keep the output of the last of them and give it back later, so the target's own forward
still runs, and from the first decomposed block on it computes the same bits. A masked forward then costs the
embedding lookup and what is downstream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rankone.decomposition.check import equal_outputs
from rankone.models.blocks import blocks_of
from rankone.models.modules import StandIn, replaced
from rankone.runtime.progress import log


class Prefix:
    """The outputs of the blocks before the first decomposed one, kept for the last `kept` batches.

    Built by `late_start`. `full` and `late` take the token ids and a function that runs the target on them.
    """

    def __init__(self, blocks: int, kept: int) -> None:
        self.blocks, self._kept = blocks, kept
        self._entries: list[tuple[Tensor, int, bool, object]] = []
        self._verified = False
        self.output: object = None
        self.replays = False

    def full(self, ids: Int[Tensor, "b t"], forward: Callable[[], Tensor]) -> Float[Tensor, "b t vocab"]:
        """The whole forward without gradients or masks; what the prefix gave is kept for `late`."""
        logits = forward()
        if self.blocks == 0:
            return logits
        self._keep(ids)
        if not self._verified:
            self._verified = self._replay(ids, forward, logits)
            # The trial has run the sites once more: on other inputs if it failed.
            return logits if self._verified else forward()
        return logits

    def late(self, ids: Int[Tensor, "b t"], forward: Callable[[], Tensor]) -> Float[Tensor, "b t vocab"]:
        """The forward from the first decomposed block on; in full for ids it has not seen."""
        output = self._find(ids) if self._verified else None
        if output is None:
            logits = forward()
            if self.blocks and self._verified:
                self._keep(ids)
            return logits
        return self._from(output, forward)

    def take(self, ids: Int[Tensor, "b t"], output: object) -> bool:
        """Keep what the prefix gave in a whole forward elsewhere; False until `full` has shown that starting late works."""
        if self._verified:
            self.output = output
            self._keep(ids)
        return self._verified

    def _replay(self, ids: Tensor, forward: Callable[[], Tensor], logits: Tensor) -> bool:
        """Whether starting late gives the logits of the whole forward; if not, it is off from here on."""
        if equal_outputs(self._from(self._find(ids), forward), logits):
            return True
        log.info(
            f"late start is off: without its first {self.blocks} blocks the model gives other logits "
            "(they pass on more than hidden states). Masked forwards run in full."
        )
        self.blocks, self._entries = 0, []
        return False

    def _from(self, output: object, forward: Callable[[], Tensor]) -> Tensor:
        self.output, self.replays = output, True
        try:
            return forward()
        finally:
            self.output, self.replays = None, False

    def _keep(self, ids: Tensor) -> None:
        entry = (ids, ids._version, torch.is_autocast_enabled(ids.device.type), self.output)
        self._entries = [*self._entries, entry][-self._kept :]
        self.output = None

    def _find(self, ids: Tensor) -> object:
        autocast = torch.is_autocast_enabled(ids.device.type)
        for kept, version, under, output in reversed(self._entries):
            same = kept._version == version and under == autocast and kept.shape == ids.shape
            if same and (kept is ids or torch.equal(kept, ids)):
                return output
        return None


class PrefixBlock(StandIn):
    """Stands for one block of the prefix: runs it without gradients, or gives the kept output back."""

    def __init__(self, base: nn.Module, prefix: Prefix, last: bool) -> None:
        super().__init__(base)
        self.prefix, self.last = prefix, last

    def forward(self, *args: object, **kwargs: object) -> object:
        """The block's output; while the prefix replays, that of its last block, whichever block this is."""
        if self.prefix.replays:
            return self.prefix.output
        with torch.no_grad():
            output = self.base(*args, **kwargs)
        if self.last:
            self.prefix.output = output
        return output


@contextmanager
def late_start(
    model: nn.Module, sites: Sequence[str], kept: int = 1, again: Prefix | None = None
) -> Iterator[Prefix]:
    """Put stand-ins before the first block with one of the `sites` (module paths) while the block runs.

    With a site in the first block, or sites in several lists of blocks, nothing is replaced. The original modules
    are put back whatever happens. again: what an earlier start at the same block of the same model kept; it is used on.
    """
    blocks = blocks_of(model, sites)
    first = 0 if blocks is None else blocks.first
    prefix = again or Prefix(first, kept)
    names = [f"{blocks.path}.{i}" for i in range(prefix.blocks)] if blocks is not None else []
    placed = {name: PrefixBlock(model.get_submodule(name), prefix, name == names[-1]) for name in names}
    with replaced(model, placed):
        yield prefix
