"""The session: the public face of RankOne, an opening with every verb as a method (methods.py, made from the table)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import Field

from rankone.core.config import Config
from rankone.core.validation.in_python import worded_for_python
from rankone.opening import OpenOptions
from rankone.session.methods import Methods
from rankone.text.corpus import HeldOut
from rankone.verbs.verb import Opens

if TYPE_CHECKING:
    from rankone.edits.lowrank import LowRankEdit
    from rankone.metrics.damage_record import Damages


def open(
    model: str | Path = "mini",
    *,
    decomposition: str | Path | None = None,
    text: str | Path = "builtin",
    parts: str | Path | None = None,
    harvest: str | Path | None = None,
    labels: str | Path | None = None,
    clusters: str | Path | None = None,
    device: str | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> Session:
    """Open a model (built-in name, directory or Hub id) and what belongs to it; nothing is loaded before it is needed.

    Raises RankOneError for a path that is not there and for what can be seen without loading to be of another kind.
    """
    named = {
        "model": _spelled(model),
        "decomposition": decomposition and str(decomposition),
        "text": _spelled(text),
        "parts": parts,
        "harvest": harvest,
        "labels": labels,
        "clusters": clusters,
        "device": device,
        "dtype": dtype,
    }
    given = {k: v for k, v in named.items() if v is not None or k in ("model", "text")}
    with worded_for_python(OpenOptions.model_fields, {}):
        session = Session(OpenOptions.checked(given, "open"))
        session.preflight(get_args(Opens))
    return session


def _spelled(name: str | Path) -> str | Path:
    """A path as text; anything else as it is, to be refused by its type."""
    return str(name) if isinstance(name, Path) else name


class _Measured(Config):
    """Which text damage is measured on, and how much of each domain."""

    split: HeldOut
    tokens: int = Field(gt=0)


class Session(Methods):
    """A model with its parts and text on one device; `rankone.open` makes one."""

    def __repr__(self) -> str:
        named = self.options.model_dump(mode="json", exclude_defaults=True, exclude={"model"})
        return f"Session({', '.join([repr(self.options.model), *(f'{k}={v!r}' for k, v in named.items())])})"

    def scale(self, scales: str | Sequence[str] | Mapping[str, float], description: str = "") -> LowRankEdit:
        """The edit that multiplies each named part by its α (1 leaves it, 0 deletes it, below 0 inverts it).

        scales: part → α, or as a command has them, `PART=ALPHA`, one or several. A component (c12) and `label:WORDS` stand
        for their parts, where clusters, or a harvest and labels, are open.
        """
        from rankone.edits.scales import scale_edit
        from rankone.verbs.editing import EditRequest, members_of, scales_of_parts

        with worded_for_python({}, OpenOptions.model_fields):
            asked = EditRequest.checked({"scales": scales}, "scale").scales
            each = scales_of_parts(members_of(self, list(asked)), asked)
            return scale_edit(self.book, each, description).bind(self.model)

    def damage(self, edit: LowRankEdit, *, split: HeldOut = "test", tokens: int = 800) -> Damages:
        """What an edit does to every domain of the text: rise of cross-entropy with its 95 % interval, nats per token.

        Shows itself as a table; `damage["de"]` is one domain. RankOneError for an edit of other weights than this model's,
        and while edits are applied to it: what is measured would be both.
        """
        from rankone.edits.lowrank.applied import refuse_applied
        from rankone.edits.lowrank.edit import require_edit
        from rankone.experiments.measure import edit_damage
        from rankone.metrics.damage_record import Damages, DomainDamage

        require_edit(edit, "damage")
        asked = _Measured.checked({"split": split, "tokens": tokens}, "damage")
        refuse_applied(self.model)
        if edit.base:
            edit.check_base(self.model)
        with worded_for_python(_Measured.model_fields, OpenOptions.model_fields):
            text = self.workspace.text(self.corpus.domains(), asked.split, asked.tokens)
        each = edit_damage(self.model, edit, text)
        return Damages(split=asked.split, domains=tuple(DomainDamage.of(d, one) for d, one in each.items()))
