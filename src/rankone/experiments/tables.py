"""The saved tables of a results directory: their schemas, how they are written, read and counted.

Long format throughout: one row per (fit, domain) or (edit, domain). Cross-entropies (CE) are nats per token
on test text; `rise` is `ce - ce_base`. Every figure and the report is drawn from these tables only.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

from rankone.core.artifact import atomic_file
from rankone.core.config import Config
from rankone.core.errors import RankOneError, nearest
from rankone.edits.fitting.aim import ROLES, Aim
from rankone.edits.fitting.run import Described
from rankone.experiments.response import AlphaRise, Rise
from rankone.metrics.wilson import wilson_interval
from rankone.render.values import formatted

Row = Mapping[str, object]
"""A row of any table, by column."""


class RunRow(Rise, Described):
    """A row of `runs.parquet`."""

    method: str
    alpha: float | None
    role: str


class ResponseRow(AlphaRise):
    """A row of `response.parquet`."""

    part: str


class EditRow(Rise):
    """A row of `zero_token.parquet`."""

    edit: str


class PartRow(TypedDict):
    """A row of `parts.parquet` without its `importance_<domain>` columns."""

    rank: int
    part: str
    label: str
    score: float
    firing_tokens: list[str]
    output_tokens: list[str]
    picked: bool


DAMAGE_BAR = 0.1
"""A rise of a retained domain's CE below this many nats per token counts as spared."""
IMPORTANCE = "importance_"
"""Prefix of the per-domain columns of `parts.parquet`."""


def _columns(*names: tuple[str, pa.DataType], nullable: tuple[str, ...] = ()) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=name in nullable) for name, kind in names])


_CE = (("domain", pa.string()), ("ce_base", pa.float64()), ("ce", pa.float64()), ("rise", pa.float64()))

RUNS = _columns(
    ("method", pa.string()),
    ("budget", pa.int64()),
    ("seed", pa.int64()),
    ("retain_weight", pa.float64()),
    ("learning_rate", pa.float64()),
    ("margin", pa.float64()),
    ("steps", pa.int64()),
    ("alpha", pa.float64()),
    _CE[0],
    ("role", pa.string()),
    *_CE[1:],
    nullable=("alpha",),
)
"""`runs.parquet`: one row per (fit, domain); `budget` in forget tokens, `alpha` null without one scale."""
RESPONSE = _columns(("part", pa.string()), ("alpha", pa.float64()), *_CE)
"""`response.parquet`: CE of each domain as one part's scale moves, nothing trained."""
ZERO_TOKEN = _columns(("edit", pa.string()), *_CE)
"""`zero_token.parquet`: edits that saw no forget token, and the reference model."""
PARTS = _columns(
    ("rank", pa.int64()),
    ("part", pa.string()),
    ("label", pa.string()),
    ("score", pa.float64()),
    ("firing_tokens", pa.list_(pa.string())),
    ("output_tokens", pa.list_(pa.string())),
    ("picked", pa.bool_()),
)
"""`parts.parquet` without its `importance_<domain>` columns; see `parts_schema`."""
SCHEMAS: dict[str, pa.Schema] = {
    "runs": RUNS,
    "response": RESPONSE,
    "parts": PARTS,
    "zero_token": ZERO_TOKEN,
}
"""Schema by file stem."""


def parts_schema(domains: Iterable[str]) -> pa.Schema:
    """Schema of `parts.parquet`: `PARTS` plus one float column `importance_<domain>` per domain."""
    extra = [pa.field(IMPORTANCE + domain, pa.float64(), nullable=False) for domain in domains]
    return pa.schema([*PARTS, *extra])


def write_table(path: Path | str, rows: Sequence[Row], schema: pa.Schema) -> None:
    """Validate `rows` against `schema` and write them to `path` as Parquet, atomically.

    A file already there is exchanged. `schema.metadata` (for instance provenance) is kept in the file.
    Raises RankOneError, naming the column, for missing, unknown, mistyped, null or non-finite values.
    """
    path = Path(path)
    table = _check(_from_rows(path.name, rows, schema), schema, path.name)
    with atomic_file(path) as stream:
        pq.write_table(table, stream, compression="zstd")


def read_table(path: Path | str, schema: pa.Schema | None = None) -> list[dict[str, object]]:
    """Read the Parquet table at `path` as one dict per row, validated against `schema`.

    Without `schema` the one that belongs to the file's name is used (`SCHEMAS`). Columns beyond the schema
    are kept. Raises RankOneError for a missing or damaged file and for columns that break the schema.
    """
    path = Path(path)
    try:
        table = pq.ParquetFile(path).read()
    except FileNotFoundError:
        raise RankOneError(f"no table '{path}'. Run the benchmark into this directory first.") from None
    except (pa.ArrowException, OSError) as error:
        raise RankOneError(f"cannot read table '{path}': {error}. Write it again.") from error
    return _check(table, schema or _schema_of(path, table.column_names), str(path)).to_pylist()


def _schema_of(path: Path, columns: Sequence[str]) -> pa.Schema:
    if path.stem not in SCHEMAS:
        raise RankOneError(f"'{path.name}' is not a table of a report.{nearest(path.stem, list(SCHEMAS))}")
    if path.stem != "parts":
        return SCHEMAS[path.stem]
    domains = [name.removeprefix(IMPORTANCE) for name in columns if name.startswith(IMPORTANCE)]
    if not domains:
        raise RankOneError(
            f"'{path}' has no column '{IMPORTANCE}<domain>'. Write one importance column per domain."
        )
    return parts_schema(domains)


def _from_rows(name: str, rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    for i, row in enumerate(rows):
        for key in row:
            if key not in schema.names:
                raise RankOneError(
                    f"'{name}' row {i} has an unknown column '{key}'. Drop it.{nearest(key, schema.names)}"
                )
        for column in schema.names:
            if column not in row:
                raise RankOneError(f"'{name}' row {i} lacks column '{column}'. Give it a value in every row.")
    arrays = [_array(name, column, [row[column.name] for row in rows]) for column in schema]
    free = pa.schema([column.with_nullable(True) for column in schema], metadata=schema.metadata)
    return pa.Table.from_arrays(arrays, schema=free)


def _array(name: str, column: pa.Field, values: list[object]) -> pa.Array:
    try:
        return pa.array(values, type=column.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise RankOneError(
            f"'{name}' column '{column.name}' must be {column.type}: {error}. Convert it first."
        ) from error


def _check(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """Return `table` with the schema's types, or raise an error that names the column and the row."""
    if not table.num_rows:
        raise RankOneError(f"'{name}' has no rows. Leave the file out, or write at least one row.")
    for column in schema:
        if column.name not in table.column_names:
            raise RankOneError(
                f"'{name}' lacks column '{column.name}' ({column.type}). Write it again with it."
            )
        table = _checked_column(table, column, name)
    _check_roles(table, name)
    _check_rises(table, name)
    return table


def _checked_column(table: pa.Table, column: pa.Field, name: str) -> pa.Table:
    i = table.column_names.index(column.name)
    try:
        values = table.column(i).cast(column.type)
    except pa.ArrowException as error:
        raise RankOneError(
            f"'{name}' column '{column.name}' must be {column.type}: {error}. Convert it first."
        ) from error
    cells = values.to_pylist()
    if not column.nullable:
        _refuse((cell is None for cell in cells), name, column.name, "is null", "Fill it, or drop the row.")
    if pa.types.is_floating(column.type):
        bad = (cell is not None and not math.isfinite(cell) for cell in cells)
        _refuse(bad, name, column.name, "is not finite", "Run that fit again, or drop it.")
    return table.set_column(i, column, values)


def _refuse(bad: Iterable[bool], name: str, column: str, fault: str, mend: str) -> None:
    row = next((i for i, value in enumerate(bad) if value), None)
    if row is not None:
        raise RankOneError(f"'{name}' column '{column}' {fault} in row {row}. {mend}")


def _check_roles(table: pa.Table, name: str) -> None:
    if "role" in table.column_names:
        bad = (role not in ROLES for role in table.column("role").to_pylist())
        _refuse(bad, name, "role", "is unknown", f"Use one of {', '.join(ROLES)}.")


def _check_rises(table: pa.Table, name: str) -> None:
    if {"ce", "ce_base", "rise"} <= set(table.column_names):
        rows = zip(*(table.column(c).to_pylist() for c in ("ce", "ce_base", "rise")), strict=True)
        bad = (abs(ce - base - rise) > 1e-4 + 1e-6 * abs(ce) for ce, base, rise in rows)
        _refuse(bad, name, "rise", "is not ce - ce_base", "Compute it from those columns.")


class Setting(NamedTuple):
    """What is chosen beside method, budget and seed; `margin` is the cap in units of ln V."""

    retain_weight: float
    learning_rate: float
    margin: float


@dataclass(frozen=True)
class Fit:
    """One fitted edit: its setting, and the CE and rise (nats per token) of every domain measured."""

    method: str
    budget: int
    seed: int
    setting: Setting
    alpha: float | None
    ce: dict[str, float] = field(default_factory=dict)
    rise: dict[str, float] = field(default_factory=dict)

    def succeeds(self, aim: Aim) -> bool:
        """The forget domain is at chance, and every retained domain's rise under DAMAGE_BAR."""
        return aim.removed(self.ce[aim.domain]) and aim.worst(self.rise) < DAMAGE_BAR


class Tally(Config):
    """What one method did at one budget, under the one setting that did best there."""

    successes: int
    seeds: int
    damage: dict[str, float]
    forget_ce: float
    forget_rise: float
    retain_weight: float
    learning_rate: float
    margin: float
    settings: int
    alphas: tuple[float, float] | None = None

    @property
    def alpha(self) -> str | None:
        """The scale, of all seeds or from the smallest to the largest; None of a method without one."""
        if self.alphas is None:
            return None
        low, high = (formatted(alpha, ".3g") for alpha in self.alphas)
        return low if low == high else f"{low} to {high}"

    @property
    def said(self) -> str:
        """`8/9`: how many seeds succeed."""
        return f"{self.successes}/{self.seeds}"

    @property
    def share(self) -> Share:
        """How many seeds succeed, with Wilson's interval of their share."""
        share = self.successes / self.seeds
        return Share(self.successes, self.seeds, *wilson_interval(share, self.seeds))


class Share(NamedTuple):
    """How many seeds succeed, and the 95% interval of the share that does."""

    successes: int
    seeds: int
    low: float
    high: float

    @property
    def said(self) -> str:
        """`8/9 (0.56 to 0.98)`."""
        return f"{self.successes}/{self.seeds} ({self.low:.2f} to {self.high:.2f})"


Shares = Mapping[tuple[str, int], Share]
"""By method and budget: the seeds that succeed."""
Means = Mapping[tuple[str, int, float, str], tuple[float, float, float]]
"""By method, budget, λ and domain the mean rise over seeds and its 95% interval (low, high), nats per token."""
Tallies = dict[str, dict[int, Tally]]
"""By method and budget (forget tokens, ascending)."""


def fits(rows: Iterable[RunRow], aim: Aim) -> list[Fit]:
    """Gather the rows of `runs.parquet` into fits, in order of first appearance.

    A fit is (method, budget, seed, setting). Raises RankOneError where one has two rows for a domain, or none for a
    domain to forget or to hold.
    """
    gathered: dict[tuple[str, int, int, Setting], Fit] = {}
    for row in rows:
        setting = Setting(row["retain_weight"], row["learning_rate"], row["margin"])
        key = row["method"], row["budget"], row["seed"], setting
        fit = gathered.setdefault(key, Fit(*key, row["alpha"]))
        if row["domain"] in fit.ce:
            raise RankOneError(
                f"runs: fit {key} has two rows for column 'domain' = '{row['domain']}'. Keep one, or name "
                "the variants as different methods."
            )
        fit.ce[row["domain"]] = row["ce"]
        fit.rise[row["domain"]] = row["rise"]
    for key, fit in gathered.items():
        for needed in (aim.domain, *aim.retain):
            if needed not in fit.ce:
                raise RankOneError(f"runs: fit {key} has no row for domain '{needed}'. Measure it there too.")
    return list(gathered.values())


def domains_of(rows: Iterable[Rise], aim: Aim) -> list[str]:
    """Domains of a table: the one to forget, those to hold, then the others in order of appearance."""
    return ordered([row["domain"] for row in rows], aim)


def ordered(domains: Iterable[str], aim: Aim) -> list[str]:
    """The domain to forget, those to hold, then the others as they come; each once."""
    present = dict.fromkeys(domains)
    first = [name for name in (aim.domain, *aim.retain) if name in present]
    return first + [name for name in present if name not in first]


def best_fits(rows: Iterable[RunRow], aim: Aim) -> dict[tuple[str, int], list[Fit]]:
    """The fits of each (method, budget) under its one best setting, by seed.

    One setting is chosen for all seeds (choosing per seed would count luck): the one with most successes,
    then with the largest mean of forget rise, capped at chance, less the worst retain rise. The choice is made on the
    text that is reported, so it flatters every method that ran more than one setting.
    """
    settings: dict[tuple[str, int], dict[Setting, list[Fit]]] = defaultdict(lambda: defaultdict(list))
    for fit in fits(rows, aim):
        settings[fit.method, fit.budget][fit.setting].append(fit)

    def merit(item: tuple[Setting, list[Fit]]) -> tuple[int, float, Setting]:
        setting, group = item
        forget = aim.domain
        net = sum(
            min(f.ce[forget], aim.chance) - f.ce[forget] + f.rise[forget] - aim.worst(f.rise) for f in group
        ) / len(group)
        return sum(f.succeeds(aim) for f in group), net, setting

    return {
        key: sorted(max(options.items(), key=merit)[1], key=lambda fit: fit.seed)
        for key, options in settings.items()
    }


def summarise_runs(rows: Sequence[RunRow], aim: Aim) -> Tallies:
    """Count successes and average the damage.

    `damage` is the mean rise (nats per token) of every domain but the one to forget, over the fits of the best setting
    (`best_fits`); `seeds` counts every seed that ran at this budget, so a setting is not helped by having run fewer.
    `settings` is how many settings ran.
    """
    every = fits(rows, aim)
    tallies: Tallies = {method: {} for method in dict.fromkeys(fit.method for fit in every)}
    best = best_fits(rows, aim)
    for method, budget in sorted(best, key=lambda key: key[1]):
        there = [fit for fit in every if (fit.method, fit.budget) == (method, budget)]
        tallies[method][budget] = _tally(best[method, budget], there, aim)
    return tallies


def _tally(group: list[Fit], there: list[Fit], aim: Aim) -> Tally:
    alphas = [fit.alpha for fit in group if fit.alpha is not None]
    return Tally(
        alphas=(min(alphas), max(alphas)) if alphas else None,
        successes=sum(fit.succeeds(aim) for fit in group),
        seeds=len({fit.seed for fit in there}),
        damage={
            name: _mean([f.rise[name] for f in group if name in f.rise])
            for name in group[0].rise
            if name != aim.domain
        },
        forget_ce=_mean([fit.ce[aim.domain] for fit in group]),
        forget_rise=_mean([fit.rise[aim.domain] for fit in group]),
        **group[0].setting._asdict(),
        settings=len({fit.setting for fit in there}),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def needed_successes(seeds: int) -> int:
    """The number of seeds that must succeed: ceil(8/9 · seeds)."""
    return -(-8 * seeds // 9)


def smallest_budget(tallies: Tallies) -> dict[str, int | None]:
    """Per method the smallest budget (forget tokens) at which at least 8 of 9 seeds succeed, else None."""
    return {
        method: next(
            (b for b in sorted(by_budget) if by_budget[b].successes >= needed_successes(by_budget[b].seeds)),
            None,
        )
        for method, by_budget in tallies.items()
    }


def compared_budgets(tallies: Tallies) -> list[dict[str, int]]:
    """At which budget each method is compared with the others, one comparison per entry.

    The smallest and the largest that every method ran at (once if they are one); where none is shared, a single
    comparison with each method at its own largest.
    """
    shared = sorted(set.intersection(*(set(by_budget) for by_budget in tallies.values())))
    if not shared:
        return [{method: max(by_budget) for method, by_budget in tallies.items()}]
    return [{method: budget for method in tallies} for budget in dict.fromkeys((shared[0], shared[-1]))]
