"""A corpus from the Hugging Face Hub (or a local data set folder), streamed with `datasets`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl

from rankone.core.errors import RankOneError, nearest
from rankone.core.optional import optional
from rankone.text.corpus import hashed_split, require_domain, require_split
from rankone.text.evenly import evenly

OPTIONS = ("domains", "field", "split", "revision", "config")
DOMAIN_COLUMNS = ("lang", "language", "domain")
TEXT_COLUMNS = ("translation", "text")
SPLIT_NAMES = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
SENTENCES = 8
"""Sentences of a parallel data set that make one document."""
PEEK_ROWS = 10_000
"""Rows looked at for the names in a domain column, and for the first that holds text."""


class Layout(NamedTuple):
    """How a data set stores domains: language pairs, a column that names the domain, or one config each."""

    kind: Literal["pairs", "column", "configs"]
    field: str
    domain_column: str | None = None


class HubCorpus:
    """Text of a data set: `[hf:]ID[?domains=de,en&field=text&split=train&revision=main&config=NAME]`.

    ID is a data set on the Hub, or a local folder that `datasets` understands. The first row with text tells which of
    three layouts it has: (a) configs named after language pairs (`de-en`) with a `translation` column, as
    Europarl; 8 consecutive sentences become one document; (b) one config with a `text` column and a `lang`,
    `language` or `domain` column; (c) configs named after domains with a `text` column. The data set's own
    train, validation and test splits are used where it has all three; otherwise (or with `split=`) the
    documents of one split are dealt 80:10:10 by a hash of their text. The network is used only when text is
    read, or when `domains()` is asked for and the spec does not list them.
    """

    def __init__(self, spec: str) -> None:
        source, _, query = spec.removeprefix("hf:").partition("?")
        options = _options(spec, query)
        local = Path(source).expanduser()
        if source.startswith((".", "/", "~")) and not local.is_dir():
            raise RankOneError(f"no data set folder at '{source}'. Check the path.")
        if not source:
            raise RankOneError(f"'{spec}' names no data set. Write hf:OWNER/NAME or hf:FOLDER.")
        self.name = source
        self._path = str(local) if local.is_dir() else source
        self._listed = [d for d in options.get("domains", "").split(",") if d]
        self._field, self._split = options.get("field"), options.get("split")
        self._revision, self._config = options.get("revision"), options.get("config")
        self._splits: dict[str, list[str]] = {}

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine, for which no network is needed."""
        return Path(self._path).is_dir()

    def domains(self) -> list[str]:
        """The domains the spec lists, else those the data set has."""
        return self._listed or self._listed_domains

    def documents(self, domain: str, split: str, limit_chars: int | None = None) -> list[str]:
        """Documents of one domain and split, streamed from the start up to about `limit_chars` characters."""
        require_split(split)
        require_domain(self, domain)
        with self._reachable():
            config = self._config_of(domain)
            source_split, dealt = self._source_split(config, split)
            texts = self._texts(config, source_split, domain)
            kept = (document for document in texts if not dealt or hashed_split(document) == split)
            return list(evenly([kept], limit_chars))

    def fingerprint(self) -> str:
        """Hash over id, revision, config, field and split; for a local folder also its file names and sizes.

        Without a `revision` the text behind an id can change and the hash does not: pin one for a record.
        """
        root = Path(self._path)
        files = [
            (p.relative_to(root).as_posix(), p.stat().st_size) for p in sorted(root.rglob("*")) if p.is_file()
        ]
        facts = [self.name, self._revision, self._config, self._field, self._split, files]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @cached_property
    def _configs(self) -> list[str]:
        configs = _datasets().get_dataset_config_names(self._path, revision=self._revision)
        if self._config is None:
            return configs
        if self._config not in configs:
            raise RankOneError(
                f"data set '{self.name}' has no config '{self._config}'.{nearest(self._config, configs)}"
            )
        return [self._config]

    @cached_property
    def _layout(self) -> Layout:
        rows = islice(self._rows(self._first_config, self._first_split(self._first_config)), PEEK_ROWS)
        row: dict[str, Any] = next(rows, {})
        field = self._field or next((name for name in TEXT_COLUMNS if name in row), "text")
        # Rows may be null in any number before the first text.
        while row.get(field) is None and field in row and (after := next(rows, None)) is not None:
            row = after
        if field not in row:
            raise RankOneError(
                f"data set '{self.name}' has no column '{field}'; it has {', '.join(row) or 'no rows'}. "
                "Name the column with the text: ?field=NAME."
            )
        if isinstance(row[field], dict):
            return Layout("pairs", field)
        if not isinstance(row[field], str):
            raise RankOneError(
                f"column '{field}' of data set '{self.name}' holds no text ({type(row[field]).__name__}). Use ?field=NAME."
            )
        column = next((name for name in DOMAIN_COLUMNS if name in row), None)
        if column is not None and len(self._configs) == 1:
            return Layout("column", field, column)
        return Layout("configs", field)

    @property
    def _first_config(self) -> str:
        """A config that is wanted: data sets may hold hundreds."""
        wanted = [c for c in self._configs if set(_languages(c)) & set(self._listed)]
        return (wanted or self._configs)[0]

    @cached_property
    def _listed_domains(self) -> list[str]:
        with self._reachable():
            if self._layout.kind == "pairs":
                return sorted({language for c in self._configs for language in self._pair(c)})
            if self._layout.kind == "configs":
                return self._configs
            return self._column_values()

    def _column_values(self) -> list[str]:
        """Names in the domain column: those the data set declares, else those of its first rows."""
        config, column = self._configs[0], self._layout.domain_column
        stream = self._rows(config, self._first_split(config))
        declared = getattr((stream.features or {}).get(column), "names", None)
        return sorted(declared or {str(row[column]) for row in islice(stream, PEEK_ROWS)})

    def _pair(self, config: str) -> list[str]:
        """The languages of a config of the pair layout."""
        named = _languages(config)
        if len(named) == 2:
            return named
        row = next(iter(self._rows(config, self._first_split(config))), {})
        return list(row.get(self._layout.field, {}))

    def _config_of(self, domain: str) -> str:
        """The config to read a domain from; of language pairs the one with English, else a listed domain."""
        kind = self._layout.kind
        if kind == "column":
            return self._configs[0]
        matching = [c for c in self._configs if domain in (self._pair(c) if kind == "pairs" else [c])]
        if not matching:
            raise RankOneError(
                f"data set '{self.name}' has no text for '{domain}'; its configs are "
                f"{', '.join(self._configs[:30])}."
            )

        def order(config: str) -> tuple[bool, bool, str]:
            others = set(_languages(config)) - {domain}
            return (domain != "en" and "en" not in others, not others & set(self._listed), config)

        return min(matching, key=order)

    def _split_names(self, config: str) -> list[str]:
        if config not in self._splits:
            names = _datasets().get_dataset_split_names(self._path, config, revision=self._revision)
            self._splits[config] = [str(name) for name in names]
        return self._splits[config]

    def _first_split(self, config: str) -> str:
        """The split that documents are dealt from."""
        names = self._split_names(config)
        if self._split is None:
            return "train" if "train" in names else names[0]
        if self._split not in names:
            raise RankOneError(
                f"data set '{self.name}' has no split '{self._split}'; it has {', '.join(names)}."
            )
        return self._split

    def _source_split(self, config: str, split: str) -> tuple[str, bool]:
        """Name of the data set's split to read, and whether its documents must be dealt."""
        known = self._split_names(config)
        by_split = {mine: next((n for n in names if n in known), None) for mine, names in SPLIT_NAMES.items()}
        chosen = by_split[split]
        if self._split is None and chosen is not None and None not in by_split.values():
            return chosen, False
        return self._first_split(config), True

    def _rows(self, config: str, split: str) -> Any:
        return _datasets().load_dataset(
            self._path, config, split=split, revision=self._revision, streaming=True
        )

    def _texts(self, config: str, split: str, domain: str) -> Iterator[str]:
        """Documents of a domain in one split of the data set; empty texts are dropped."""
        kind, field, column = self._layout
        stream = self._rows(config, split)
        if kind == "pairs":
            yield from _joined(
                (_typed(row[field] or {}, dict, field).get(domain) or "" for row in stream), SENTENCES
            )
            return
        naming = _naming(stream, column) if column is not None else None
        seen = naming is None
        for row in stream:
            if naming is not None and naming(row) != domain:
                continue
            seen = True
            if _typed(row[field] or "", str, field).strip():
                yield row[field]
        if not seen:
            raise RankOneError(
                f"data set '{self.name}' has no row with {column} '{domain}' in split '{split}'."
            )

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        """Turn what `datasets` raises into one error that names the data set and the mend."""
        dataset_error: type[Exception] = _datasets().exceptions.DatasetsError
        from huggingface_hub.errors import HTTPError  # of whichever HTTP client the hub library uses

        try:
            yield
        except (OSError, ValueError, RuntimeError, HTTPError, dataset_error) as error:
            raise RankOneError(
                f"cannot read data set '{self.name}' ({type(error).__name__}: {error}). Check the id, the "
                "revision and the network, log in with `hf auth login` if it is gated, or use --text builtin "
                "or a directory."
            ) from error


def _datasets() -> ModuleType:
    return optional("datasets", "hub", "text of a Hub data set")


def _options(spec: str, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for key in options:
        if key not in OPTIONS:
            raise RankOneError(
                f"unknown option '{key}' in '{spec}'; choose among {', '.join(OPTIONS)}."
                f"{nearest(key, list(OPTIONS))}"
            )
    if empty := [key for key, value in options.items() if not value]:
        raise RankOneError(f"option '{empty[0]}' in '{spec}' has no value. Write {empty[0]}=VALUE.")
    return options


def _languages(config: str) -> list[str]:
    return config.split("-")


def _naming(stream: Any, column: str) -> Callable[[dict[str, Any]], str]:
    """A function that gives a row's domain; declared class labels are integers in the rows."""
    names = getattr((stream.features or {}).get(column), "names", None)
    return (lambda row: names[row[column]]) if names else (lambda row: str(row[column]))


def _typed(value: Any, kind: type, column: str) -> Any:
    """The value of a row; ValueError where it is of another kind than the first row's."""
    if not isinstance(value, kind):
        raise ValueError(f"a row of column '{column}' holds {type(value).__name__}, not {kind.__name__}")
    return value


def _joined(sentences: Iterator[str], count: int) -> Iterator[str]:
    """Documents of `count` consecutive sentences, one per line; empty ones are skipped."""
    kept = (s.strip() for s in sentences if s.strip())
    while chunk := list(islice(kept, count)):
        yield "\n".join(chunk)
