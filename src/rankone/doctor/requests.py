"""What a check-up is asked and answers; importable without PyTorch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from rankone.core.fields import OnlyWith, Positional, Request
from rankone.doctor.finding import Finding
from rankone.doctor.stray import Stray
from rankone.render.reply import Reply
from rankone.render.tables import Table


class DoctorRequest(Request):
    """What to check; without a target the installation."""

    target: Annotated[str | None, Positional()] = Field(
        None,
        description="a model (name, folder, Hub id), an artefact or the code of an error; default the installation",
    )
    model: Annotated[str | None, OnlyWith("target")] = Field(
        None, description="the model to check an artefact against; default the one it names"
    )
    clean: bool = Field(
        False, description="remove what killed runs left in TARGET (default here) and the temporary folder"
    )
    dry_run: Annotated[bool, OnlyWith("clean")] = Field(False, description="with --clean: only list it")
    tokens: Annotated[int, OnlyWith("target")] = Field(
        240, gt=0, description="text per domain to compare openers of a model on"
    )

    @model_validator(mode="after")
    def _together(self) -> DoctorRequest:
        checked = self.changed("model", "tokens")
        if self.clean and checked:
            raise ValueError(f"{checked[0]} is for a check-up, and --clean makes none: leave one out")
        return self


class DoctorReply(Reply):
    """What was found, line by line; `leftovers` with --clean."""

    subject: str
    findings: tuple[Finding, ...] = ()
    leftovers: tuple[Stray, ...] = ()
    cleaned: bool | None = Field(
        default=None, description="None without --clean; else whether leftovers were removed"
    )

    @property
    def exit_status(self) -> int:
        """1 where something is wrong."""
        return int(any(finding.status == "wrong" for finding in self.findings))

    def tables(self) -> Sequence[Table]:
        """The leftovers, where those were asked for."""
        if not self.leftovers:
            return ()
        rows = [
            [str(s.path), f"{s.size / 2**20:.1f} MiB", "removed" if s.removed else "kept"]
            for s in self.leftovers
        ]
        return (Table.of(f"Left by killed runs: {self.subject}", ["path", "size", "now"], rows),)

    def lines(self) -> Sequence[str]:
        """One line per finding, then the sum."""
        if self.cleaned is not None:
            return (self._stray_sum(),)
        shown = [
            f"{f.status:5}  {f.check}: {f.said}{_stop(f.said)}{' ' + f.mend if f.mend else ''}"
            for f in self.findings
        ]
        counts = Counter(finding.status for finding in self.findings)
        return [self.subject, *shown, ", ".join(f"{counts[s]} {s}" for s in ("ok", "note", "wrong"))]

    def _stray_sum(self) -> str:
        if not self.leftovers:
            return f"{self.subject}: killed runs left nothing."
        total = sum(stray.size for stray in self.leftovers) / 2**20
        count = "1 leftover" if len(self.leftovers) == 1 else f"{len(self.leftovers)} leftovers"
        if not self.cleaned:
            return f"{count}, {total:.1f} MiB. Nothing was removed; leave --dry-run away to do it."
        return f"{sum(s.removed for s in self.leftovers)} of {count} removed, {total:.1f} MiB."


def _stop(said: str) -> str:
    return "" if said.endswith((".", "!", "?", ":")) else "."
