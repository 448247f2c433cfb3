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
from typing import Any, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

from rankone.core.artifact import atomic_file
from rankone.core.errors import RankOneError, nearest

Row = Mapping[str, Any]

CHANCE_SHARE = 0.98
"""A forget CE of at least this share of chance counts as removed."""
DAMAGE_BAR = 0.1
"""A rise of the retain domain's CE below this many nats per token counts as spared."""
ROLES = ("forget", "retain", "off-target")
IMPORTANCE = "importance_"
"""Prefix of the per-domain columns of `components.parquet`."""


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
RESPONSE = _columns(("component", pa.string()), ("alpha", pa.float64()), *_CE)
"""`response.parquet`: CE of each domain as one subcomponent's scale moves, nothing trained."""
ZERO_TOKEN = _columns(("edit", pa.string()), *_CE)
"""`zero_token.parquet`: edits that saw no forget token, and the reference model."""
COMPONENTS = _columns(
    ("rank", pa.int64()),
    ("component", pa.string()),
    ("label", pa.string()),
    ("score", pa.float64()),
    ("firing_tokens", pa.list_(pa.string())),
    ("output_tokens", pa.list_(pa.string())),
    ("picked", pa.bool_()),
)
"""`components.parquet` without its `importance_<domain>` columns; see `components_schema`."""
SCHEMAS: dict[str, pa.Schema] = {
    "runs": RUNS,
    "response": RESPONSE,
    "components": COMPONENTS,
    "zero_token": ZERO_TOKEN,
}
"""Schema by file stem."""


def components_schema(domains: Iterable[str]) -> pa.Schema:
    """Schema of `components.parquet`: `COMPONENTS` plus one float column `importance_<domain>` per domain."""
    extra = [pa.field(IMPORTANCE + domain, pa.float64(), nullable=False) for domain in domains]
    return pa.schema([*COMPONENTS, *extra])


def write_table(path: Path | str, rows: Sequence[Row], schema: pa.Schema) -> None:
    """Validate `rows` against `schema` and write them to `path` as Parquet, atomically.

    A file already there is exchanged. `schema.metadata` (for instance provenance) is kept in the file.
    Raises RankOneError, naming the column, for missing, unknown, mistyped, null or non-finite values.
    """
    path = Path(path)
    table = _check(_from_rows(path.name, rows, schema), schema, path.name)
    with atomic_file(path) as stream:
        pq.write_table(table, stream, compression="zstd")


def read_table(path: Path | str, schema: pa.Schema | None = None) -> list[dict[str, Any]]:
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
        raise RankOneError(f"'{path.name}' is no table of a report.{nearest(path.stem, list(SCHEMAS))}")
    if path.stem != "components":
        return SCHEMAS[path.stem]
    domains = [name.removeprefix(IMPORTANCE) for name in columns if name.startswith(IMPORTANCE)]
    if not domains:
        raise RankOneError(
            f"'{path}' has no column '{IMPORTANCE}<domain>'. Write one importance column per domain."
        )
    return components_schema(domains)


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


def _array(name: str, column: pa.Field, values: list[Any]) -> pa.Array:
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


Setting = tuple[float, float, float]


@dataclass(frozen=True)
class Fit:
    """One fitted edit: its setting, and the CE and rise (nats per token) of every domain measured."""

    method: str
    budget: int
    seed: int
    retain_weight: float
    learning_rate: float
    margin: float
    alpha: float | None
    ce: dict[str, float] = field(default_factory=dict)
    rise: dict[str, float] = field(default_factory=dict)

    @property
    def setting(self) -> Setting:
        """What was chosen beside method, budget and seed: (retain_weight, learning_rate, margin)."""
        return self.retain_weight, self.learning_rate, self.margin

    def succeeds(self, chance: float, forget: str, retain: str) -> bool:
        """Forget CE at least 0.98 of `chance` (nats), and the retain domain's rise under 0.1 nats."""
        return self.ce[forget] >= CHANCE_SHARE * chance and self.rise[retain] < DAMAGE_BAR


class Tally(TypedDict):
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


Summary = dict[str, dict[int, Tally]]
_FIT = ("method", "budget", "seed", "retain_weight", "learning_rate", "margin")


def fits(rows: Iterable[Row], forget: str, retain: str) -> list[Fit]:
    """Gather the rows of `runs.parquet` into fits, in order of first appearance.

    A fit is (method, budget, seed, retain_weight, learning_rate, margin). Raises RankOneError where one has two rows
    for a domain, or none for `forget` or `retain`.
    """
    found: dict[tuple[Any, ...], Fit] = {}
    for row in rows:
        setting = {name: row[name] for name in _FIT}
        key = tuple(setting.values())
        fit = found.setdefault(key, Fit(**setting, alpha=row["alpha"]))
        if row["domain"] in fit.ce:
            raise RankOneError(
                f"runs: fit {key} has two rows for column 'domain' = '{row['domain']}'. Keep one, or name "
                "the variants as different methods."
            )
        fit.ce[row["domain"]] = row["ce"]
        fit.rise[row["domain"]] = row["rise"]
    for key, fit in found.items():
        for needed in (forget, retain):
            if needed not in fit.ce:
                raise RankOneError(f"runs: fit {key} has no row for domain '{needed}'. Measure it there too.")
    return list(found.values())


def domains_of(rows: Iterable[Row], forget: str, retain: str) -> list[str]:
    """Domains of a table: the forget domain, the retain domain, then the others in order of appearance."""
    present = dict.fromkeys(row["domain"] for row in rows)
    first = [name for name in (forget, retain) if name in present]
    return first + [name for name in present if name not in first]


def best_fits(
    rows: Iterable[Row], chance: float, forget: str, retain: str
) -> dict[tuple[str, int], list[Fit]]:
    """The fits of each (method, budget) under its one best setting (retain_weight, learning_rate, margin), by seed.

    One setting is chosen for all seeds (choosing per seed would count luck): the one with most successes,
    then with the largest mean of forget rise, capped at chance, less retain rise. The choice is made on the
    text that is reported, so it flatters every method that ran more than one setting.
    """
    settings: dict[tuple[str, int], dict[Setting, list[Fit]]] = defaultdict(lambda: defaultdict(list))
    for fit in fits(rows, forget, retain):
        settings[fit.method, fit.budget][fit.setting].append(fit)

    def merit(item: tuple[Setting, list[Fit]]) -> tuple[int, float, Setting]:
        setting, group = item
        net = sum(
            min(f.ce[forget], chance) - f.ce[forget] + f.rise[forget] - f.rise[retain] for f in group
        ) / len(group)
        return sum(f.succeeds(chance, forget, retain) for f in group), net, setting

    return {
        key: sorted(max(options.items(), key=merit)[1], key=lambda fit: fit.seed)
        for key, options in settings.items()
    }


def summarise_runs(rows: Sequence[Row], chance: float, forget: str, retain: str) -> Summary:
    """Count successes and average the damage: method -> budget (forget tokens, ascending) -> Tally.

    `chance` is ln V in nats; `forget` and `retain` are domains. `damage` is the mean rise (nats per token) of
    every domain but `forget`, over the fits of the best setting (`best_fits`); `seeds` counts every seed that
    ran at this budget, so a setting is not helped by having run fewer. `settings` is how many settings ran.
    """
    every = fits(rows, forget, retain)
    summary: Summary = {method: {} for method in dict.fromkeys(fit.method for fit in every)}
    best = best_fits(rows, chance, forget, retain)
    for method, budget in sorted(best, key=lambda key: key[1]):
        there = [fit for fit in every if (fit.method, fit.budget) == (method, budget)]
        summary[method][budget] = _tally(best[method, budget], there, chance, forget, retain)
    return summary


def _tally(group: list[Fit], there: list[Fit], chance: float, forget: str, retain: str) -> Tally:
    return Tally(
        successes=sum(fit.succeeds(chance, forget, retain) for fit in group),
        seeds=len({fit.seed for fit in there}),
        damage={
            name: _mean([f.rise[name] for f in group if name in f.rise])
            for name in group[0].rise
            if name != forget
        },
        forget_ce=_mean([fit.ce[forget] for fit in group]),
        forget_rise=_mean([fit.rise[forget] for fit in group]),
        retain_weight=group[0].retain_weight,
        learning_rate=group[0].learning_rate,
        margin=group[0].margin,
        settings=len({fit.setting for fit in there}),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def needed_successes(seeds: int) -> int:
    """The number of seeds that must succeed: ceil(8/9 · seeds)."""
    return -(-8 * seeds // 9)


def smallest_budget(summary: Summary) -> dict[str, int | None]:
    """Per method the smallest budget (forget tokens) at which at least 8 of 9 seeds succeed, else None."""
    return {
        method: next(
            (b for b in sorted(tallies) if tallies[b]["successes"] >= needed_successes(tallies[b]["seeds"])),
            None,
        )
        for method, tallies in summary.items()
    }


def compared_budgets(summary: Summary) -> list[dict[str, int]]:
    """At which budget each method is compared with the others, one comparison per entry.

    The smallest and the largest that every method ran at (once if they are one); where none is shared, a single
    comparison with each method at its own largest.
    """
    shared = sorted(set.intersection(*(set(tallies) for tallies in summary.values())))
    if not shared:
        return [{method: max(tallies) for method, tallies in summary.items()}]
    return [{method: budget for method in summary} for budget in dict.fromkeys((shared[0], shared[-1]))]
