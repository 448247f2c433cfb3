"""One pass over text: what every part fires on, with what, how strongly, and what the model says there.

Nothing here has the size of vocabulary × parts or of all pairs: what fires is kept as a list, and when the list
is long it is summed up and written to the chunk that is being filled (chunks.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rankone.decomposition.model import DecomposedModel
from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting.chunks import OpenChunk
from rankone.harvest.counting.component_windows import ComponentWindows
from rankone.harvest.counting.firings import Firings, firings
from rankone.harvest.counting.grouping import Grouping
from rankone.harvest.counting.pairs import joint_counts
from rankone.harvest.counting.plan import Batch
from rankone.harvest.counting.sampling import Bounds, firing_keys
from rankone.harvest.counting.sparse import Lists, tally, units
from rankone.harvest.counting.windows import Windows
from rankone.models.output import vocabulary_size

# Firings and windows held before they are summed up or written.
FIRINGS_HELD = 1 << 24
WINDOWS_HELD = 1 << 20
ROOM = 1e-3


def likely_tokens(logits: Float[Tensor, "n vocab"], top: int, least: float) -> Lists:
    """Of each position the `top` likeliest next tokens with probability of at least `least`, in units."""
    logits = logits.float()
    scale = logits.logsumexp(1, keepdim=True)
    if least > 0:
        # Few tokens are likely enough; a little room, since a logarithm rounds otherwise than its exponential.
        row, token = (logits > scale + (math.log(least) - ROOM)).nonzero().unbind(1)
        probability = (logits[row, token] - scale[row, 0]).exp()
        kept = (probability >= least).nonzero().squeeze(1)
        length = row.index_select(0, kept).bincount(minlength=len(logits))
        if length.max() <= top:
            first = length.cumsum(0) - length
            return Lists(first, length, token.index_select(0, kept), units(probability.index_select(0, kept)))
    best, token = logits.topk(min(top, logits.shape[1]))
    probability = (best - scale).exp()
    kept = probability >= least
    length = kept.sum(1)
    return Lists(length.cumsum(0) - length, length, token[kept], units(probability[kept]))


def counts_above(fired: Firings, thresholds: Sequence[float], parts: int) -> Int[Tensor, "thresholds parts"]:
    """How often the importance of each part is above each threshold."""
    ordered = torch.tensor(sorted(thresholds), device=fired.importance.device)
    passed = torch.bucketize(fired.importance, ordered)
    levels = len(thresholds) + 1
    counts = (fired.part * levels + passed).bincount(minlength=parts * levels).view(-1, levels)
    above = counts.flip(1).cumsum(1).flip(1)[:, 1:]
    return above[:, [sorted(thresholds).index(t) for t in thresholds]].T


def _one_token(tokens: Int[Tensor, " n"]) -> Lists:
    each = torch.ones_like(tokens)
    return Lists(torch.arange(len(tokens), device=tokens.device), each, tokens, each)


def _joined(lists: list[Lists]) -> Lists:
    length = torch.cat([one.length for one in lists])
    column, weight = torch.cat([one.column for one in lists]), torch.cat([one.weight for one in lists])
    return Lists(length.cumsum(0) - length, length, column, weight)


class Collector:
    """Adds up batches for one chunk after the other; `add` them, and `flush` at the end of a chunk.

    The statistics of `HarvestConfig`: per domain and part the firings above each threshold, Σ importance and
    Σ ‖u‖ v·x; per part its input tokens, the probability mass of the likely next tokens where it fires, the
    parts that fire with it, and a sample of its firings. The mass is that of `likely_tokens` only, in the
    marginals too. With `grouping` all this is of components (grouping.py), and their members' own firings are counted.
    """

    def __init__(
        self, model: DecomposedModel, config: HarvestConfig, grouping: Grouping | None = None
    ) -> None:
        self.model, self.config, self.grouping = model, config, grouping
        self.device = next(model.target.parameters()).device
        decomposition = model.decomposition
        self._sizes = torch.cat([decomposition.factors(s)[1].norm(dim=1) for s in decomposition.sites])
        self.units = decomposition.total if grouping is None else len(grouping.names)
        self.bounds = Bounds(self.units, config.examples)
        self.windows = (
            Windows(decomposition, config.window)
            if grouping is None
            else ComponentWindows(decomposition, grouping, config.window)
        )
        self._clear()

    def _clear(self) -> None:
        shape = (len(self.config.domains), len(self.config.thresholds) + 2, self.units)
        self._sums = torch.zeros(shape, dtype=torch.long, device=self.device)
        self._members = torch.zeros(self.model.decomposition.total, dtype=torch.long)
        vocabulary = vocabulary_size(self.model.target)
        self._marginals = torch.zeros(2, vocabulary, dtype=torch.long, device=self.device)
        self._rows: list[tuple[np.ndarray, ...]] = []
        self._held: list[tuple[Tensor, Tensor, Tensor, Lists]] = []
        self._held_firings = self._held_positions = 0
        self._windows: list[tuple[Tensor, ...]] = []

    def add(self, batch: Batch, chunk: OpenChunk) -> None:
        """Run the model over a batch and count."""
        ids, valid = batch.blocks.ids.to(self.device), batch.blocks.valid.to(self.device)
        logits, inputs = self.model.clean(ids)
        with torch.no_grad():
            importance = self.model.decomposition.logits(inputs, batch.blocks.present.to(self.device))
            fired = self._counted(firings(importance, valid))
            self._add_sums(batch.domain, fired, inputs, valid)
            fires = (fired.importance > self.config.firing).nonzero().squeeze(1)
            likely = likely_tokens(logits[valid], self.config.top_tokens, self.config.least_probability)
            self._hold(fired.take(fires), ids[valid], likely)
            self._add_windows(batch, fired, fires, inputs, valid)
        sizes = batch.blocks.valid.sum(1).numpy()
        tokens = batch.blocks.ids[batch.blocks.valid].to(torch.int32).numpy()
        domain = np.full(len(sizes), batch.domain, dtype=np.int32)
        self._rows.append((batch.starts.numpy(), domain, sizes, tokens))
        if self._held_firings >= FIRINGS_HELD:
            self._sum_up(chunk)
        if sum(len(one[0]) for one in self._windows) >= WINDOWS_HELD:
            self._write_windows(chunk)

    def _add_sums(self, domain: int, fired: Firings, inputs: list[Tensor], valid: Tensor) -> None:
        sums = self._sums[domain]
        sums[:-2] += counts_above(fired, self.config.thresholds, sums.shape[1])
        sums[-2].scatter_add_(0, fired.part, units(fired.importance))
        sums[-1] += units(self._activation(inputs, valid))

    def _counted(self, fired: Firings) -> Firings:
        """Firings of what is counted; those of members are counted by the way."""
        if self.grouping is None:
            return fired
        members = fired.part[fired.importance > self.config.firing]
        self._members += members.bincount(minlength=len(self._members)).cpu()
        return self.grouping.joined(fired)

    def _activation(self, inputs: list[Tensor], valid: Tensor) -> Float[Tensor, " units"]:
        """Sum of the activations over the text tokens."""
        if isinstance(self.windows, ComponentWindows):
            return self.windows.activations([x[valid] for x in inputs]).sum(0)
        # Linear in x: the mean activation is that of the mean input.
        decomposition = self.model.decomposition
        sums = []
        for site, x in zip(decomposition.sites, inputs, strict=True):
            sums.append(x[valid].float().sum(0) @ decomposition.factors(site)[0])
        return torch.cat(sums) * self._sizes

    def _hold(self, firing: Firings, tokens: Int[Tensor, " n"], likely: Lists) -> None:
        self._held.append((firing.part.int(), firing.position + self._held_positions, tokens, likely))
        self._held_firings += len(firing)
        self._held_positions += len(tokens)
        self._marginals[0] += tokens.bincount(minlength=self._marginals.shape[1])
        self._marginals[1].scatter_add_(0, likely.column, likely.weight)

    def _add_windows(
        self, batch: Batch, fired: Firings, fires: Int[Tensor, " n"], inputs: list[Tensor], valid: Tensor
    ) -> None:
        firing = fired.take(fires)
        starts = batch.starts.to(self.device)
        length = valid.shape[1]
        # A row's text tokens follow its BOS without a gap.
        row = firing.cell.div(length, rounding_mode="floor")
        position = starts.index_select(0, row) + firing.cell - row * length - 1
        key = firing_keys(self.config.seed, position, firing.part)
        admitted = self.bounds.admits(firing.part, key).nonzero().squeeze(1)
        wanted = fires.index_select(0, admitted)
        for cut in self.windows.around(inputs, valid, fired, wanted):
            chosen = admitted.index_select(0, cut.index)
            of = (firing.part.int(), key, position)
            mine = (*(one.index_select(0, chosen) for one in of), cut.importances, cut.activations, cut.step)
            self._windows.append(tuple(t.cpu() for t in mine))

    def _sum_up(self, chunk: OpenChunk) -> None:
        """Turn the firings held into sums per token and pair, and write them."""
        if not self._held:
            return
        parts, positions, ids, lists = zip(*self._held, strict=True)
        part, position, tokens = torch.cat(parts), torch.cat(positions), torch.cat(ids)
        likely = _joined(list(lists))
        self._held, self._held_firings, self._held_positions = [], 0, 0
        for pair in joint_counts(position, part):
            chunk.write("cofiring", dict(zip(("first", "second", "joint"), pair, strict=True)))
        part, order = part.sort(stable=True)
        position = position[order]
        for table, counted in (("inputs", _one_token(tokens)), ("outputs", likely)):
            for owner, token, weight in tally(part, position, counted):
                chunk.write(table, {"part": owner.int(), "token": token.int(), "weight": weight})

    def _write_windows(self, chunk: OpenChunk) -> None:
        """Write the windows that still belong to the sample."""
        if not self._windows:
            return
        part, key, position, importances, activations, step = (
            torch.cat(column) for column in zip(*self._windows, strict=True)
        )
        self._windows = []
        self.bounds.tighten(part.numpy(), key.numpy())
        stands = self.bounds.admits(part.long(), key).nonzero().squeeze(1)
        order = stands.index_select(0, part.index_select(0, stands).argsort(stable=True))
        columns = {"part": part, "key": key, "position": position, "step": step}
        columns |= {"importances": importances, "activations": activations}
        kept = {name: values.index_select(0, order).numpy() for name, values in columns.items()}
        chunk.write("examples", {name: _bytes(v) if v.ndim == 2 else v for name, v in kept.items()})

    def flush(self, chunk: OpenChunk) -> None:
        """Write all that is held and start afresh."""
        self._sum_up(chunk)
        self._write_windows(chunk)
        domains, _, parts = self._sums.shape
        names = [f"above_{i}" for i in range(len(self.config.thresholds))]
        for domain in range(domains):
            values = dict(zip((*names, "importance", "activation"), self._sums[domain], strict=True))
            keys = {"part": torch.arange(parts), "domain": torch.full((parts,), domain)}
            chunk.write("sums", keys | values)
        if self.grouping is not None:
            column = (self.grouping.columns >= 0).nonzero().squeeze(1)
            keys = {"part": self.grouping.columns[column], "column": column}
            chunk.write("members", {**keys, "firings": self._members[column]})
        token = self._marginals.sum(0).nonzero().squeeze(1)
        inputs, outputs = self._marginals[:, token]
        chunk.write("marginals", {"token": token, "inputs": inputs, "outputs": outputs})
        if self._rows:
            start, domain, size, tokens = (np.concatenate([one[i] for one in self._rows]) for i in range(4))
            ends = np.concatenate(([0], size.cumsum())).astype(np.int32)
            lists = pa.ListArray.from_arrays(pa.array(ends), pa.array(tokens))
            chunk.write("rows", {"start": start, "domain": domain, "tokens": lists})
        self._clear()


def _bytes(values: np.ndarray) -> pa.Array:
    """Rows of an array [n, width] as fixed-size binary values."""
    size = values.shape[1] * values.itemsize
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(size), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))]
    )
