"""What finding, fitting and sharpening are asked for, and what sharpening answers; importable without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.fields import (
    Domains,
    EachOf,
    Names,
    OnlyWith,
    PartNames,
    Positional,
    Request,
    Seed,
    SitePatterns,
    apart,
)
from rankone.core.paths import typed
from rankone.edits.finding.names import FINDABLE
from rankone.edits.finding.tolerances import Tolerances
from rankone.edits.fitting.config import LEAST_TRAINED
from rankone.edits.fitting.text.openings import openings_of
from rankone.parts.ridge import RIDGE
from rankone.render.reply import Reply
from rankone.render.tables import Table


class FindRequest(Request):
    """One behaviour to find a part for, and the text it must not touch."""

    of: Annotated[str, Domains()] = Field(
        min_length=1, description="domain whose cross-entropy the part should raise"
    )
    against: Annotated[Names, Domains()] = Field(
        default=(), description="domains to spare; default all others"
    )
    sites: Annotated[Names, SitePatterns()] = Field(
        default=(), description="patterns of module paths; default the late half"
    )
    sources: Annotated[Names, EachOf("source", FINDABLE)] = Field(
        default=(), description="sources of parts, such as neuron,contrast; default all"
    )
    also: Annotated[Names, PartNames()] = Field(
        default=(), description="parts to measure whatever the shortlist says"
    )
    shortlist: int = Field(default=2, gt=0, description="parts measured per source")
    tokens: int = Field(default=1500, gt=0, description="training tokens per domain")
    rank_tokens: int = Field(default=120, gt=0, description="validation tokens per domain to measure on")
    tolerance: Annotated[Tolerances, BeforeValidator(Tolerances.given), Domains()] = Field(
        default=Tolerances(),
        description="largest rise allowed, nats per token: one number, or one per domain",
    )
    together: bool = Field(
        default=False,
        description="also look for a second part to move together with the best one, by one number",
    )
    several: int = Field(
        default=0,
        ge=0,
        description="also move up to this many parts by one number, with fitted proportions; 0: no",
    )
    seed: Seed = Field(default=0, description="of random directions and the order of passages")
    out: Path | None = Field(default=None, description="save the measured parts here; must not exist")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        apart(self.of, self.against)
        return self

    @model_validator(mode="after")
    def _held(self) -> Self:
        """No tolerance of a domain that is not among those to spare."""
        for domain in self.tolerance.named:
            if domain == self.of or (self.against and domain not in self.against):
                raise RankOneError(
                    f"the tolerance of '{domain}' changes nothing: it is not among the domains to spare "
                    f"({', '.join(self.against) or 'all but ' + self.of}). Leave it out."
                )
        return self


class FitRequest(Request):
    """What to forget, what to hold, and how scales are fitted to it.

    forget: a domain, or `self:DOMAIN` for the model's own text. retain: none named: every other domain that the model was
    trained on, as far as its folder says, else every other one of the corpus.
    """

    forget: Annotated[str, Domains()] = Field(
        description="domain to forget, or self:DOMAIN for the model's own text in it"
    )
    retain: Annotated[Names, Domains()] = Field(
        default=(), description="domains to retain; default all others that the model knows"
    )
    budget: int = Field(default=4, gt=0, description="forget tokens; not for self:DOMAIN, which reads none")
    openings: Names = Field(
        default=(), description="words that start text of self:DOMAIN, where none are known"
    )
    sharpen: bool = Field(
        default=False, description="refit what the parts read against the retained domains first"
    )
    seed: Seed = Field(default=0, description="which forget text")
    cap: float = Field(default=1.1, gt=0, description="forget cross-entropy to reach, in units of chance")
    tolerance: float = Field(
        default=0.015, gt=0, description="largest KL allowed on a retained domain, nats per token"
    )
    learning_rate: float = Field(
        default=0.3, gt=0, description="Adam rate on α, where there are several scales"
    )
    retain_weight: float = Field(
        default=1.0, ge=0, description="λ of the retain term, where there are several scales"
    )
    steps: int = Field(default=3000, gt=0, description="most steps, where there are several scales")
    retain_tokens: int = Field(default=6000, gt=0, description="training tokens of all retained domains")
    train: int = Field(
        default=0,
        ge=0,
        description="steps for which what the parts read and write is then trained, with every retained domain held within "
        f"the tolerance; with fewer than {LEAST_TRAINED} forget tokens, on the model's own continuations of them",
    )
    train_cap: Annotated[float, OnlyWith("train")] = Field(
        default=1.5,
        gt=0,
        description="with --train: cross-entropy of the forget text to reach, in units of chance: other text gets less far",
    )

    @model_validator(mode="after")
    def _apart(self) -> Self:
        apart(self.forget, self.retain)
        return self

    @model_validator(mode="after")
    def _opened(self) -> Self:
        """Words that set off the model's own text, and no such words for other text, which alone has a budget."""
        domain = self.forget.removeprefix("self:")
        if self.forget != domain:
            openings_of(domain, self.openings)
            if self.changed("budget"):
                raise RankOneError(
                    f"--budget changes nothing where the model writes the forget text itself (self:{domain}): leave it out."
                )
        elif self.openings:
            raise RankOneError(f"openings are for the model's own text: ask for self:{domain}.")
        return self

    def require_used(self, scales: int) -> None:
        """RankOneError for what says how several scales are fitted, where there is one: that is only sized."""
        unused = self.changed("steps", "learning_rate", "retain_weight") if scales == 1 else []
        if unused:
            raise RankOneError(
                f"{unused[0]} changes nothing where there is one scale: its size alone is looked for. Leave it out"
                + (", or give --train, the steps of training directions." if unused == ["--steps"] else ".")
            )


class SharpenRequest(Request):
    """Which parts to sharpen, for which domain, against which others (none: every other of the corpus)."""

    names: Annotated[Names, Positional(), PartNames()] = Field(min_length=1, description="parts to sharpen")
    of: Annotated[str, Domains()] = Field(description="domain that the parts should respond to")
    against: Annotated[Names, Domains()] = Field(
        default=(), description="domains they should not respond to; default all others"
    )
    tokens: int = Field(default=2000, gt=0, description="training tokens read per domain")
    ridge: float = Field(
        default=RIDGE, gt=0, description="ρ, in units of the mean eigenvalue of other text's moment"
    )

    @model_validator(mode="after")
    def _apart(self) -> Self:
        apart(self.of, self.against)
        return self


class Sharpened(Config):
    """One part before and after: root-mean-square v·x on other text over that on target text (leak), and the angle."""

    name: str
    leak_before: float
    leak_after: float
    cosine: float = Field(description="of the old and the new read direction")
    fidelity: float = Field(description="correlation (uncentred) of v·x and v′·x on target text")


class SharpenReply(Reply):
    """What came of each part; `against` as it was used; `out` where the sharpened parts were saved, if they were."""

    of: str
    against: tuple[str, ...]
    parts: tuple[Sharpened, ...]
    out: Path | None = None

    def tables(self) -> Sequence[Table]:
        """One row per part."""
        caption = (
            "leak: root mean square of v·x on other text over that on target text; fidelity: correlation of the old and the "
            "new v·x on target text"
        )
        columns = ["part", "leak before", "after", "cosine", "fidelity"]
        rows = [list(part.model_dump().values()) for part in self.parts]
        return (Table.of(f"Sharpened for {self.of}", columns, rows, caption),)

    def lines(self) -> Sequence[str]:
        """Which parts answer more to other text than before, and how to use them."""
        worse = [part.name for part in self.parts if part.leak_after > part.leak_before]
        said = [
            f"{name} answers more to other text than before: the part as it was is cleaner" for name in worse
        ]
        return (
            *said,
            *(
                []
                if self.out is None
                else [f"saved {self.out}: give --parts {typed(self.out)} to edit and tune"]
            ),
        )
