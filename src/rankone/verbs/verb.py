"""A verb: something RankOne can be asked to do, by name, with a request and a reply that have schemas.

The command line is made from the verbs (cli/), and so is whatever else offers them: nothing is said of a verb twice. This
file and the requests import neither torch nor transformers, so that help and refusals are quick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from rankone.core.config import Config
from rankone.core.fields import Names as Names
from rankone.render.tables import Table
from rankone.verbs.preflight import check

if TYPE_CHECKING:
    import pandas
    from rich.console import Console

    from rankone.opening import Opening

Opens = Literal["model", "decomposition", "parts", "text", "harvest", "labels", "clusters", "device", "dtype"]


def _scales(given: object) -> object:
    """{'a': -8.0} from the words `a=-8`; a mapping as it is."""
    if not isinstance(given, list | tuple):
        return given
    pairs = [str(word).rpartition("=") for word in given]
    wrong = next((word for word, pair in zip(given, pairs, strict=True) if not pair[0]), None)
    if wrong is not None:
        raise ValueError(f"'{wrong}' sets no scale: write PART=ALPHA, as h.3.mlp.down_proj:270=-16")
    names = [name for name, _, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"'{twice}' is given twice: one scale each")
    return {name: alpha for name, _, alpha in pairs}


ScalesByName = Annotated[dict[str, float], BeforeValidator(_scales)]
"""Part → α; on the command line words of the form PART=ALPHA."""


def apart(of: str | Sequence[str], against: Sequence[str]) -> None:
    """ValueError for a domain that stands on both sides."""
    both = [domain for domain in ((of,) if isinstance(of, str) else of) if domain in against]
    if both:
        raise ValueError(f"'{both[0]}' is on both sides: a contrast needs two groups apart")


class Request(Config):
    """What a verb is asked, beside what it is asked of (the opened model, parts, text); fields are the options."""


class Reply(BaseModel):
    """What a verb answers: plain values for `--json`, tables and lines for people."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def table(self) -> Table:
        """Its first table; IndexError where it has none."""
        return self.tables()[0]

    def head(self, count: int = 10) -> Table:
        """The first rows of its first table."""
        return self.table.head(count)

    def to_pandas(self) -> pandas.DataFrame:
        """Its first table as a data frame; RankOneError where pandas is not installed."""
        return self.table.to_pandas()

    def __str__(self) -> str:
        return "\n\n".join([*map(str, self.tables()), *self.lines()])

    def __repr__(self) -> str:
        return str(self) or super().__repr__()

    def render(self, console: Console) -> None:
        """Print what is more than tables and lines, before them; nothing unless a reply says otherwise."""

    def tables(self) -> Sequence[Table]:
        """The tables a person reads, in order."""
        return ()

    def lines(self) -> Sequence[str]:
        """Sentences below the tables: where something was written, what to try next."""
        return ()


RequestT = TypeVar("RequestT", bound=Config)
ReplyT = TypeVar("ReplyT", bound=Reply)


@dataclass(frozen=True)
class Verb(Generic[RequestT, ReplyT]):
    """Name, request, reply and function of a verb; the first line of the function's docstring is its help.

    opens: what it works on, each an option of its own. first: which of them is given by its place. needs: which of them
    must be given, having no default. writes: fields of the request that name what it makes. What is there already, or not
    there to be read, is refused before anything is opened (preflight.py).
    """

    name: str
    request: type[RequestT]
    reply: type[ReplyT]
    run: Callable[[Opening, RequestT], ReplyT]
    opens: tuple[Opens, ...] = ()
    first: Opens | None = None
    needs: tuple[Opens, ...] = ()
    writes: tuple[str, ...] = field(default=())

    def ask(self, opening: Opening, request: RequestT) -> ReplyT:
        """Do it; RankOneError, with nothing opened, for what can be seen to be wrong without a model."""
        check(opening, request, self.name, self.opens, self.needs, self.writes)
        return self.run(opening, request)
