"""An edit whose directions are trained from where they stand: all it reads and all it writes.

What a scale cannot change, which way a part reads and writes, is free here: a LoRA of the edit's rank on its matrices whose
start is the edit and not chance.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from rankone.core.errors import RankOneError
from rankone.edits.lowrank import LowRankEdit


class Directions:
    """`read:<site>` [runs, r, d_in] and `write:<site>` [runs, r, d_out], each row of root mean square 1 at first, so that
    one rate suits both sides and every width:

        ΔW = Σ_k s_k (write_k / ‖write_k‖) (read_k / √d_in)ᵀ,    s_k = ‖u_k‖ ‖v_k‖ of the edit's own k-th term.

    RankOneError for an edit with a term of no length.
    """

    fixed = False

    def __init__(self, edit: LowRankEdit, name: str = "trained") -> None:
        self.name, self._from = name, edit.description
        self._start: dict[str, tuple[Tensor, Tensor]] = {}
        self._lengths: dict[str, Float[Tensor, " r"]] = {}
        for site, (write, read) in edit.factors.items():
            reads, writes = read.detach().float(), write.detach().float().T
            lengths = reads.norm(dim=1), writes.norm(dim=1)
            if not all((one > 0).all() for one in lengths):
                raise RankOneError(
                    f"the edit of '{site}' changes nothing: there is no direction to start from."
                )
            self._lengths[site] = lengths[0] * lengths[1]
            self._start[site] = (_of_unit_square(reads), _of_unit_square(writes))

    def start(self, runs: int, seeds: list[int]) -> dict[str, nn.Parameter]:  # noqa: ARG002
        """The edit's directions, the same for every seed."""
        made = {}
        for site, (read, write) in self._start.items():
            made[f"read:{site}"] = nn.Parameter(read.cpu().repeat(runs, 1, 1))
            made[f"write:{site}"] = nn.Parameter(write.cpu().repeat(runs, 1, 1))
        return made

    def sites(self) -> list[str]:
        """The edit's sites."""
        return list(self._start)

    def change(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "runs n d_in"]
    ) -> Float[Tensor, "runs n d_out"]:
        """What the edit adds to the site's output."""
        return self.inner(site, parameters, x) @ self.outer(site, parameters).to(x)

    def inner(
        self, site: str, parameters: Mapping[str, Tensor], x: Float[Tensor, "own n d_in"]
    ) -> Float[Tensor, "runs n r"]:
        """What is read, along vectors of about length 1."""
        read = parameters[f"read:{site}"]
        return x @ (read / read.shape[-1] ** 0.5).transpose(1, 2).to(x)

    def outer(self, site: str, parameters: Mapping[str, Tensor]) -> Float[Tensor, "runs r d_out"]:
        """What is written, of the lengths that the edit's terms had."""
        write = parameters[f"write:{site}"]
        lengths = self._lengths[site].to(write).view(1, -1, 1)
        return lengths * write / write.norm(dim=-1, keepdim=True)

    def resized(self, parameters: Mapping[str, Tensor], size: float) -> dict[str, Tensor]:
        """The parameters whose change is `size` times that of these: what is read times `size`."""
        return {
            name: value * size if name.startswith("read:") else value for name, value in parameters.items()
        }

    def edit(self, parameters: Mapping[str, Tensor], run: int) -> LowRankEdit:
        """The trained edit of one run."""
        factors = {}
        for site in self._start:
            read = parameters[f"read:{site}"][run]
            factors[site] = (self.outer(site, parameters)[run].T, read / read.shape[-1] ** 0.5)
        description = f"{self._from}, directions trained" if self._from else "directions trained"
        return LowRankEdit(factors, description=description, method=self.name)


def _of_unit_square(rows: Float[Tensor, "r d"]) -> Float[Tensor, "r d"]:
    return rows / rows.norm(dim=1, keepdim=True) * rows.shape[1] ** 0.5
