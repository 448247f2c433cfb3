"""Reading a harvest: one part's page in milliseconds, the tables as a whole, and SQL over them.

    PMI = log(w · N / (firings · W))    precision = w / firings    recall = w / W    lift = exp(PMI)

with w the weight of a token where the part fires, W its weight at all positions, N the number of positions.
"""

# pyarrow has no types, and torch says none of the array that `from_numpy` takes.
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.artifact import Artifact
from rankone.core.errors import RankOneError
from rankone.core.reading import reads
from rankone.decomposition.model import Decomposition
from rankone.harvest.config import HELD_PARTS
from rankone.harvest.counting.combine import KIND, read_parquet
from rankone.harvest.counting.grouping import Grouping
from rankone.harvest.counting.stretches import Stretches
from rankone.harvest.counting.windows import LEVELS
from rankone.harvest.origin import Derived, Origin
from rankone.harvest.reading.columns import Columns, columns_of
from rankone.harvest.reading.listed import not_counted
from rankone.harvest.reading.page import CofiringRow, DomainRow, Example, MemberRow, PartPage, TokenRow
from rankone.harvest.reading.summary import Importances
from rankone.harvest.records import HarvestRecord

TABLES = (
    "parts",
    "domains",
    "vocabulary",
    "inputs",
    "outputs",
    "cofiring",
    "neighbours",
    "examples",
    "rows",
)
BY_PART = ("domains", "inputs", "outputs", "neighbours", "examples")
# Parts whose rows are read together when all pages are.
PAGES_AT_ONCE = 64


@dataclass(frozen=True)
class Cofiring:
    """Joint firings of all pairs that ever fire together: first < second, numbers of parts, sorted."""

    first: np.ndarray
    second: np.ndarray
    joint: np.ndarray


class HarvestStore(Derived):
    """A harvest on disk, of subcomponents or of components. Numbers are the places in `names()`.

    That is the decomposition's order, or the clustering's. clusters: fingerprint of the clustering, None without.
    """

    kind = KIND

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact)
        self.record = HarvestRecord.checked(artifact.json(), str(artifact.path / "config.json"))
        self.clusters = self.record.clusters
        self._database = duckdb.connect()
        self._tables = {
            name: artifact.table(name) for name in (*TABLES, *(["members"] if self.clusters else []))
        }
        for name, table in self._tables.items():
            columns = ", ".join(f'"{column}"' for column in table.names())
            self._database.execute(
                f"CREATE VIEW {name} ({columns}) AS SELECT * FROM {read_parquet([table.path])}"
            )
        self._stretches = {name: Stretches([self._tables[name].path]) for name in BY_PART}
        parts, vocabulary, rows = (self._tables[name] for name in ("parts", "vocabulary", "rows"))
        self._names = parts.column("name")
        self._numbers = {name: i for i, name in enumerate(self._names)}
        self._firings = parts.array("firings")
        self._members = self._read_members() if self.clusters else {}
        self._owner = {member: part for part, members in self._members.items() for member, _ in members}
        self._texts = vocabulary.column("text")
        self._totals = {name: vocabulary.array(name) for name in ("inputs", "outputs")}
        self._starts, self._row_domains = rows.array("start"), rows.array("domain")
        self._domains = self.domains()
        self._text = np.load(artifact.path / "tokens.npy", mmap_mode="r", allow_pickle=False)

    @property
    def origin(self) -> Origin:
        """The decomposition, model and text it was made from."""
        return self.record

    def require_origin(
        self, decomposition: Decomposition | None = None, target: PreTrainedModel | None = None
    ) -> None:
        """As `Derived.require_origin`; of a harvest that holds its parts it says that no decomposition need be named."""
        try:
            super().require_origin(decomposition, target)
        except RankOneError as error:
            if decomposition is None or not (self.artifact.path / HELD_PARTS).is_dir():
                raise
            raise RankOneError(f"{error} It holds its parts itself: leave --decomposition out.") from error

    def require_subcomponents(self, what: str) -> None:
        """Raise RankOneError where components are counted; what: what turns single subcomponents."""
        if self.clusters is not None:
            raise RankOneError(
                f"'{self.artifact.path}' counts components, but {what} turns single subcomponents. Give a harvest made "
                "without --clusters."
            )

    def _read_members(self) -> dict[str, list[tuple[str, int]]]:
        """By component its subcomponents with their own firings."""
        members: dict[str, list[tuple[str, int]]] = {name: [] for name in self._names}
        table = self._tables["members"]
        numbers, firings = table.array("part").tolist(), table.array("firings").tolist()
        for number, name, count in zip(numbers, table.column("name"), firings, strict=True):
            members[self._names[number]].append((name, count))
        return members

    def members(self, name: str) -> list[str]:
        """The subcomponents that a name stands for: of a component its members, of a subcomponent itself."""
        self.number(name)
        return [member for member, _ in self._members[name]] if self.clusters else [name]

    def owner(self, subcomponent: str) -> str:
        """The name under which a subcomponent is counted: its component's, or its own."""
        return self._owner.get(subcomponent, subcomponent)

    def grouping(self, decomposition: Decomposition) -> Grouping | None:
        """The components that are counted; None where it is subcomponents."""
        if self.clusters is None:
            return None
        return Grouping.of({name: self.members(name) for name in self._names}, decomposition, self.clusters)

    def names(self) -> list[str]:
        """Names of all that is counted, in its order."""
        return list(self._names)

    def firings(self) -> np.ndarray:
        """Firings of every part, [parts]."""
        return self._firings.copy()

    def domains(self) -> list[str]:
        """Names of the domains."""
        return list(self.record.tokens)

    def tokens(self) -> dict[str, int]:
        """Number of text tokens per domain."""
        return dict(self.record.tokens)

    @reads
    def token_counts(self) -> dict[str, np.ndarray]:
        """Occurrences of every vocabulary entry in the text of each domain, [vocabulary]."""
        lengths = np.diff(self._starts, append=self._text.shape[0])
        owner = np.repeat(self._row_domains, lengths)
        return {
            domain: np.bincount(self._text[owner == i], minlength=len(self._texts))
            for i, domain in enumerate(self.domains())
        }

    @reads
    def importances(self) -> Importances:
        """Mean importance of every part per domain, as `mean_importances` gives it."""
        mean = self._tables["domains"].array("mean_importance").reshape(len(self._names), -1)
        return Importances(
            self.domains(), self.names(), torch.from_numpy(mean.T.copy()).float(), self.tokens()
        )

    @reads
    def activations(self) -> dict[str, Float[Tensor, " parts"]]:
        """Mean signed activation ‖u‖ v·x of every part over all tokens of each domain."""
        mean = self._tables["domains"].array("mean_activation").reshape(len(self._names), -1)
        return dict(zip(self.domains(), torch.from_numpy(mean.T.copy()).float(), strict=True))

    @reads
    def cofiring(self) -> Cofiring:
        """All pairs that fire together at least once."""
        table = self._tables["cofiring"]
        return Cofiring(*(table.array(name) for name in ("first", "second", "joint")))

    def table(self, sql: str) -> pa.Table:  # pyright: ignore[reportUnknownParameterType]  # pyarrow's
        """The answer to a SQL query over the tables of docs/artifacts.md."""
        try:
            return self._database.sql(sql).to_arrow_table()  # pyright: ignore[reportUnknownVariableType]  # pyarrow's
        except duckdb.Error as error:
            raise RankOneError(f"the query failed: {error}") from error

    def number(self, name: str) -> int:
        """A part's number; an unknown name is an error that offers others."""
        if name not in self._numbers:
            raise RankOneError(self._unknown(name))
        return self._numbers[name]

    def _unknown(self, name: str) -> str:
        """What to say of a name that is not there."""
        folder = self.artifact.path
        if name not in self._owner:
            return not_counted(folder, name, self._names, self.clusters is not None)
        return (
            f"'{name}' is not in the harvest '{folder}': it counts components, and '{name}' is a member of "
            f"{self._owner[name]}."
        )

    @reads
    def page(self, name: str, examples: int = 100, tokens: int = 1000) -> PartPage:
        """All that is stored about one part.

        examples: at most so many, themselves a uniform sample. tokens: input and output tokens, those of the largest
        weight, at most so many each.
        """
        number = self.number(name)
        return self._page(number, self._read_stretch(number, number + 1), examples, tokens)

    def pages(self, examples: int = 100, tokens: int = 1000) -> Iterator[PartPage]:
        """The pages of all parts in their order: as `page` gives them, each table read once."""
        for low in range(0, len(self._names), PAGES_AT_ONCE):
            high = min(low + PAGES_AT_ONCE, len(self._names))
            read = self._read_stretch(low, high)
            edges = {
                table: np.searchsorted(columns["part"], np.arange(low, high + 1)).tolist()
                for table, columns in read.items()
            }
            for i in range(high - low):
                rows = {
                    table: {
                        name: values[edges[table][i] : edges[table][i + 1]]
                        for name, values in columns.items()
                    }
                    for table, columns in read.items()
                }
                yield self._page(low + i, rows, examples, tokens)

    def _read_stretch(self, low: int, high: int) -> dict[str, Columns]:
        """The rows of some parts in every table, in the order in which they are stored."""
        return {
            name: columns_of(self._tables[name], stretches, low, high)
            for name, stretches in self._stretches.items()
        }

    def _page(self, number: int, rows: dict[str, Columns], examples: int, tokens: int) -> PartPage:
        """One page from the rows of one part."""
        columns = {column: values.tolist() for column, values in rows["domains"].items()}
        sizes = list(self.record.tokens.values())
        total = sum(sizes)
        config = self.record.config
        counts = {t: columns[f"above_{i}"] for i, t in enumerate(config.thresholds)}
        name, firings = self._names[number], int(self._firings[number])
        return PartPage(
            part=name,
            tokens=total,
            firings=firings,
            densities={t: sum(count) / total for t, count in counts.items()},
            mean_importance=_weighted(columns["mean_importance"], sizes),
            mean_activation=_weighted(columns["mean_activation"], sizes),
            domains=self._domain_rows(columns, counts[config.firing], firings / total),
            input_tokens=self._token_rows("inputs", rows["inputs"], firings, tokens),
            output_tokens=self._token_rows("outputs", rows["outputs"], firings, tokens),
            cofiring=self._cofiring_rows(rows["neighbours"]),
            examples=self._examples(rows["examples"], examples),
            members=[MemberRow(m, n, n / max(firings, 1)) for m, n in self._members.get(name, [])],
        )

    def _domain_rows(
        self, columns: dict[str, list[float]], counts: list[int], density: float
    ) -> list[DomainRow]:
        rows: list[DomainRow] = []
        for i, (domain, size) in enumerate(self.record.tokens.items()):
            here = counts[i] / size
            means = columns["mean_importance"][i], columns["mean_activation"][i]
            rows.append(DomainRow(domain, size, counts[i], here, *means, here / density if density else 0.0))
        return rows

    def _token_rows(self, table: str, rows: Columns, firings: int, limit: int) -> list[TokenRow]:
        weight = rows["weight"].astype(np.float64)
        heaviest = (-weight).argsort(kind="stable")[:limit]
        token, weight = rows["token"][heaviest], weight[heaviest]
        whole = self._totals[table][token]
        lift = weight * self._text.shape[0] / (firings * whole)
        # Shares of sums of rounded probabilities may end a hair above 1.
        shares = np.minimum(weight / firings, 1.0), np.minimum(weight / whole, 1.0)
        columns = (weight, np.log(lift), *shares, lift)
        # Equal PMIs come out of other divisions, and differ in their last bits.
        order = np.lexsort((token, -weight, -np.log(lift).round(9)))
        values = [column[order].tolist() for column in columns]
        ids: list[int] = token[order].tolist()
        weighed = zip(ids, zip(*values, strict=True), strict=True)
        return [TokenRow(t, self._texts[t], *rest) for t, rest in weighed]

    def _cofiring_rows(self, rows: Columns) -> list[CofiringRow]:
        others: list[int] = rows["other"].tolist()
        joint, jaccard = rows["joint"].tolist(), rows["jaccard"].tolist()
        together = zip(others, zip(joint, jaccard, strict=True), strict=True)
        return [CofiringRow(self._names[o], *rest) for o, rest in together]

    def _examples(self, rows: Columns, limit: int) -> list[Example]:
        position, step = rows["position"][:limit], rows["step"][:limit].astype(np.float64)
        importances = rows["importances"][:limit] / LEVELS
        activations = rows["activations"][:limit].view(np.int8) * step[:, None]
        row = np.searchsorted(self._starts, position, side="right") - 1
        columns = (position.tolist(), row.tolist(), importances.tolist(), activations.tolist())
        return [self._example(p, r, g, a) for p, r, g, a in zip(*columns, strict=True)]

    def _example(
        self, position: int, row: int, importances: list[float], activations: list[float]
    ) -> Example:
        window = len(importances) // 2
        low = int(self._starts[row])
        high = int(self._starts[row + 1]) if row + 1 < len(self._starts) else self._text.shape[0]
        start, stop = max(low, position - window), min(high, position + window + 1)
        inside = slice(start - position + window, stop - position + window)
        ids = self._text[start:stop].tolist()
        return Example(
            domain=self._domains[int(self._row_domains[row])],
            tokens=[self._texts[i] for i in ids],
            ids=ids,
            importances=importances[inside],
            activations=activations[inside],
            centre=position - start,
        )


def _weighted(means: list[float], sizes: list[int]) -> float:
    return float(np.average(means, weights=sizes))
