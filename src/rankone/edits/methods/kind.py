"""What a fitting method states of itself: its name, where its fits start, how it looks in figures, the rates to try."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method
from rankone.edits.fitting.config import Objective
from rankone.models.anatomy import in_attention, is_output
from rankone.models.sites import Site, find_sites
from rankone.parts.book import Named
from rankone.parts.moments import Moments
from rankone.parts.parts import Parts
from rankone.text.blocks import Blocks


@dataclass(frozen=True)
class Target:
    """What methods are built from: the model, parts by name, the single picked one, and the several that rank highest.

    several, specific: by importance contrast, and by specificity over all domains, best first. labelled, steepest: likewise
    by label, and by the gradient of the cross-entropy. component: the parts that fire together with the single one, itself
    among them. best_of: of some parts the one that removes most at the size that retained text allows it, measured as the
    single part was among its candidates. sharpened: gives the single part with its read direction refitted, where there is
    text to refit it on. moments: gives those of some sites on the text to forget, and the mean of those on the other
    trained domains, likewise. texts: training text of every trained domain, that to forget first. sae: the folder of a
    sparse coder (rivals/sparse_coder.py).
    """

    model: PreTrainedModel
    parts: Named
    single: str
    several: Sequence[str] = ()
    sharpened: Callable[[], Parts] | None = None
    moments: Callable[[Sequence[Site]], tuple[Moments, Moments]] | None = None
    specific: Sequence[str] = ()
    labelled: Callable[[], Sequence[str]] = tuple
    steepest: Callable[[], Sequence[str]] = tuple
    component: Callable[[], Sequence[str]] = tuple
    best_of: Callable[[Parts], str] | None = None
    texts: Callable[[], Mapping[str, Blocks]] | None = None
    sae: str | None = None

    def outputs(self, attention: bool | None = None) -> list[Site]:
        """The sites that write to the residual stream: of attention alone, of MLPs alone, or (None) both."""
        sites = [site for site in find_sites(self.model, ["*"]) if is_output(site.name)]
        return [site for site in sites if attention is None or in_attention(site.name) == attention]

    def require_moments(self, sites: Sequence[Site], method: str) -> tuple[Moments, Moments]:
        """The moments of some sites; RankOneError, naming the method, where there is no text."""
        if self.moments is None:
            raise RankOneError(f"the method '{method}' needs text to read: run it as a job.")
        return self.moments(sites)

    def require_texts(self, method: str) -> Mapping[str, Blocks]:
        """Training text by domain, that to forget first; RankOneError, naming the method, where there is none."""
        if self.texts is None:
            raise RankOneError(f"the method '{method}' needs text to read: run it as a job.")
        return self.texts()

    @property
    def middle(self) -> Site:
        """Where an MLP in the middle of the model writes to the residual stream."""
        sites = self.outputs(attention=False)
        return sites[len(sites) // 2]

    @property
    def site(self) -> str:
        """The site that holds the single part."""
        return self.parts.locate(self.single)[0]


Spends = Literal["nothing", "text", "part"]


@dataclass(frozen=True)
class Kind:
    """A fitting method that can be compared with others; listed by the file that defines it as one of its KINDS.

    name: in recipes and tables. title: in figures and reports. order: its place there. slot: its
    colour and marker, 0 to 7. starts: where its fits
    start, two for each method (size and sign of the best of them decide). learning_rates, retain_weights: what
    `select-rates` tries; the first rate is the default. one_scale: whether a single α says all of the edit. objective:
    what is fitted (fitting/objective.py). trained: False where the first start is the edit itself. negated: the fitted
    change is taken away instead of added. weights: False of what changes activations as the model runs, which no edit of
    weights says: it is measured and cannot be saved. spends: what was read of the text to forget before any fit: `nothing`,
    `text` that was harvested or measured, or that and what the decomposition (or autoencoder) behind its `part` read.
    """

    name: str
    title: str
    order: int
    slot: int
    starts: Callable[[Target], Sequence[Method]]
    learning_rates: tuple[float, ...]
    retain_weights: tuple[float, ...] = (1.0, 4.0)
    one_scale: bool = False
    objective: Objective = "uniform"
    trained: bool = True
    negated: bool = False
    weights: bool = True
    spends: Spends = "part"
