"""A harvest made of counts by hand: the tables that SQL reads, without files."""

from __future__ import annotations

from types import SimpleNamespace

import duckdb
import pyarrow as pa
import torch

from rankone.harvest.config import HarvestConfig
from rankone.harvest.reading.summary import Importances


class Counted:
    """sizes: tokens per domain. parts: name → firings per domain. vocabulary: (text, occurrences, output mass).

    inputs, outputs: name → {text: weight}. Mean importance is the density, mean activation −2 times it.
    """

    def __init__(self, sizes, parts, vocabulary=(), inputs=None, outputs=None):
        self.sizes, self.counts = sizes, parts
        self.clusters = None
        self.record = SimpleNamespace(config=HarvestConfig(domains=tuple(sizes), thresholds=(0.0, 0.1)))
        texts = [text for text, _, _ in vocabulary]
        self._database = duckdb.connect()
        number = {name: i for i, name in enumerate(parts)}
        rows = {
            "domains": [
                {"part": number[n], "domain": d, "above_1": count}
                for n, counts in parts.items()
                for d, count in enumerate(counts)
            ],
            "vocabulary": [
                {"token": i, "text": t, "inputs": occurrences, "outputs": float(mass)}
                for i, (t, occurrences, mass) in enumerate(vocabulary)
            ],
        }
        for side, own in (("inputs", inputs), ("outputs", outputs)):
            rows[side] = [
                {"part": number[n], "token": texts.index(t), "weight": float(weight)}
                for n, weights in (own or {}).items()
                for t, weight in weights.items()
            ]
        empty = {"part": [0], "token": [0], "weight": [0.0]}
        for table, own in rows.items():
            made = pa.Table.from_pylist(own) if own else pa.table(empty).slice(0, 0)
            if table == "vocabulary" and not own:
                made = pa.table({"token": [0], "text": ["x"], "inputs": [0], "outputs": [0.0]}).slice(0, 0)
            self._database.register(table, made)

    def names(self):
        return list(self.counts)

    def members(self, name):
        return [name]

    def require_subcomponents(self, what):
        pass

    def domains(self):
        return list(self.sizes)

    def tokens(self):
        return dict(self.sizes)

    def firings(self):
        return torch.tensor([sum(counts) for counts in self.counts.values()]).numpy()

    def importances(self):
        counts = torch.tensor([list(c) for c in self.counts.values()]).float()
        mean = (counts / torch.tensor(list(self.sizes.values()))).T
        return Importances(self.domains(), self.names(), mean, self.tokens())

    def activations(self):
        means = self.importances()
        return {d: -2 * means.of(d) for d in self.sizes}

    def table(self, sql):
        return self._database.sql(sql).to_arrow_table()
