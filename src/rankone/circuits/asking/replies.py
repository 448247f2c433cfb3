"""What the verbs of graphs answer; importable without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankone.circuits.records import Agreement, Kind, MaskedRow, OutputRecord, Rule, Scores, Verification
from rankone.render.columns import TOKEN, Column
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.render.values import signed


class NodeRow(Reply):
    """One node, by the rule that was asked for. influence: on the outputs through all paths; effect: its edge into the first
    output, None where there is none."""

    name: str
    token: str
    label: str | None
    importance: float | None
    influence: float
    effect: float | None


class GroupEdge(Reply):
    """Edges between a group and another node or group, added up. into: into the group's nodes; out: out of them; None
    where there is none."""

    name: str
    into: float | None
    out: float | None


class GroupRow(Reply):
    """Nodes taken together: sums of what `NodeRow` says of each. within: edges among them, None where there is none;
    edges: to other groups and outputs, and the strongest to nodes."""

    name: str
    nodes: tuple[NodeRow, ...]
    influence: float
    effect: float | None
    within: float | None
    edges: tuple[GroupEdge, ...]


class PatternRow(Reply):
    """An edge by `grad` that acts through attention patterns alone. share: of the absolute effects on its target."""

    source: str
    target: str
    weight: float
    share: float


class RestRow(Reply):
    """All nodes of a kind: how many, and their influence as a share of all."""

    kind: Kind
    nodes: int
    influence: float


class GraphReply(Reply):
    """A graph in figures; the whole of it is the artefact. behind_patterns: subcomponents of queries and keys, which have no
    influence by the frozen rule; pattern_edges: of those by `grad`; patterns: the strongest of them, by that rule alone."""

    prompt: str
    tokens: tuple[str, ...]
    outputs: tuple[OutputRecord, ...]
    rule: Rule
    edges: dict[Rule, int]
    scores: Scores
    kinds: tuple[RestRow, ...]
    nodes: tuple[NodeRow, ...]
    behind_patterns: int
    pattern_edges: int
    patterns: tuple[PatternRow, ...]
    masked: tuple[MaskedRow, ...]
    verification: Verification | None
    trust: str
    processor_seconds: float
    not_compared: tuple[str, ...] = ()
    out: Path | None = None

    def tables(self) -> Sequence[Table]:
        """Strongest nodes, what is in the graph, its nodes alone under masks, predicted beside measured."""
        tables = [self._nodes(), *([self._patterns()] if self.patterns else []), self._kinds()]
        dropped = None if self.verification is None else self.verification.dropped_all
        if self.masked or dropped is not None:
            tables.append(masked_table(self.masked, self.outputs[0].text, dropped))
        if self.verification is not None:
            tables.append(agreement_table(self.verification.agreement))
            if self.verification.stability:
                tables.append(stability_table(self.verification))
        return tables

    def lines(self) -> Sequence[str]:
        """Trust, and where the graph is."""
        where = (
            (f"graph: {self.out}; look: rankone graph export {self.out} --page graph.html",)
            if self.out is not None
            else ("Saved nowhere: --out DIR keeps it.",)
        )
        patterns = pattern_words(self.behind_patterns, self.rule)
        return (self.trust, *patterns, *self.not_compared, *where)

    def _patterns(self) -> Table:
        columns = [
            Column("node", key=True),
            Column("makes this look where", priority=4),
            Column("edge", "+.3f", priority=3),
            Column("share", ".1%", priority=2),
        ]
        rows = [[r.source, r.target, r.weight, r.share] for r in self.patterns]
        caption = (
            f"the strongest of {self.pattern_edges:,} edges (grad rule); share: of all effects on what is fed"
        )
        return Table.of("Through attention patterns", columns, rows, caption)

    def _nodes(self) -> Table:
        labelled = any(row.label for row in self.nodes)
        columns = [
            Column("node", key=True),
            Column("token", TOKEN, priority=2),
            *([Column("label", priority=0)] if labelled else []),
            Column("importance", ".2f"),
            Column("influence", ".2%", priority=3),
            Column(f"edge to {self.outputs[0].text}", "+.3f", priority=3),
        ]
        rows = [
            [r.name, r.token, *([r.label] if labelled else []), r.importance, r.influence, r.effect]
            for r in self.nodes
        ]
        said = ", ".join(
            f"{o.text} "
            + (f"(p {o.probability:.3f})" if o.probability is not None else f"({signed(o.value, 2)})")
            for o in self.outputs[:4]
        )
        caption = (
            f"influence: on {said}, through all paths; edge: logits; both by the {self.rule} rule; –: no edge"
        )
        return Table.of(f"What leads from “{self.prompt}” to the next token", columns, rows, caption)

    def _kinds(self) -> Table:
        rows = [[r.kind, r.nodes, r.influence] for r in self.kinds]
        columns = [Column("kind", key=True), Column("nodes", ","), Column("influence", ".1%")]
        through = f", {self.pattern_edges:,} of them through attention patterns" if self.pattern_edges else ""
        caption = (
            f"influence by the {self.rule} rule; {self.edges['frozen']:,} edges (frozen) and {self.edges['grad']:,} "
            f"(grad{through}); {scores_words(self.scores, self.verification)}"
        )
        return Table.of("What is in the graph", columns, rows, caption)


class GraphVerifyReply(Reply):
    """What the checks of a saved graph say; target: its first output."""

    graph: Path
    target: str
    verification: Verification
    trust: str

    def tables(self) -> Sequence[Table]:
        """Every check, its nodes alone and taken out, then predicted beside measured."""
        account = self.verification
        masked = masked_table(account.masked, self.target, account.dropped_all)
        return (checks_table(account), masked, agreement_table(account.agreement))

    def lines(self) -> Sequence[str]:
        """Trust, the scores, and where it stands."""
        scored = f"{scores_words(self.verification.scores, self.verification)}."
        return (self.trust, scored, f"kept in {self.graph}/verification.json")


class Outcome(Reply):
    """One output under changes. predicted_direct: edges into it; predicted: through all paths; happened: its value less what
    it was; probabilities None for a contrast."""

    text: str
    before: float
    predicted_direct: dict[Rule, float]
    predicted: dict[Rule, float]
    happened: float
    probability: float | None
    probability_after: float | None


class Likely(Reply):
    """A token that the model may give next, before and after."""

    token: str
    before: float
    after: float


class GraphInterveneReply(Reply):
    """What a graph predicted of a change, beside what happened; or what it says with some nodes alone: p of `target`.

    edit: the command that makes it an edit; opened: options that open the same model, which follow it."""

    graph: Path
    places: tuple[str, ...]
    outcomes: tuple[Outcome, ...] = ()
    likely: tuple[Likely, ...] = ()
    kept: tuple[MaskedRow, ...] = ()
    target: str | None = None
    before: str | None = None
    after: str | None = None
    edit: str | None = None
    opened: str = ""
    trust: str

    def tables(self) -> Sequence[Table]:
        """Predicted beside happened and the likeliest tokens; or the rows under masks."""
        if self.kept:
            return (masked_table(self.kept, self.target or "", None),)
        columns = [
            Column("output", key=True),
            Column("was", "+.3f", priority=2),
            Column("frozen says", "+.3f", priority=3),
            Column("grad says", "+.3f", priority=3),
            Column("happened", "+.3f", priority=4),
            Column("p", ".3f", priority=4),
            Column("p after", ".3f", priority=4),
        ]
        rows = [
            [
                o.text,
                o.before,
                o.predicted["frozen"],
                o.predicted["grad"],
                o.happened,
                o.probability,
                o.probability_after,
            ]
            for o in self.outcomes
        ]
        caption = "change of the output's value (centred logit, or contrast), through all paths"
        likely = [[r.token, r.before, r.after] for r in self.likely]
        names = [Column("token", TOKEN, key=True), Column("before", ".3f"), Column("after", ".3f")]
        return (
            Table.of("Predicted beside happened", columns, rows, caption),
            Table.of("Likeliest next tokens", names, likely),
        )

    def lines(self) -> Sequence[str]:
        """How it goes on, and how it becomes an edit."""
        went = [] if self.before is None else [f"before: {self.before}", f"after:  {self.after}"]
        edit = [] if self.edit is None else [f"as an edit: {self.edit} {self.opened}".rstrip()]
        return (*went, *edit, self.trust)


class GraphExportReply(Reply):
    """What was written, how much of the graph it shows, and how to open it."""

    graph: Path
    written: dict[str, Path]
    shown: int
    nodes: int
    edges_shown: int
    edges: int
    influence_shown: float
    hidden: tuple[RestRow, ...]
    behind_patterns: int
    rule: Rule
    not_compared: tuple[str, ...]
    supernodes: int | None
    supernodes_left: int
    opened: tuple[str, ...]
    trust: str

    def tables(self) -> Sequence[Table]:
        """One row per format."""
        rows = [[what, str(path)] for what, path in self.written.items()]
        caption = (
            f"{self.shown:,} of {self.nodes:,} nodes, with {self.influence_shown:.0%} of the subcomponents' influence, "
            f"{self.edges_shown:,} of {self.edges:,} edges"
        )
        return (Table.of("Written", ["as", "where"], rows, caption),)

    def lines(self) -> Sequence[str]:
        """What is left out, how each is opened, and trust."""
        left = (*hidden_words(self.hidden), *pattern_words(self.behind_patterns, self.rule))
        grouped = (
            []
            if self.supernodes is None
            else [f"{self.supernodes} supernodes, each of one component at one position"]
        )
        if self.supernodes_left:
            grouped[0] += f"; of {self.supernodes_left} more the nodes stand alone"
        return (*left, *self.not_compared, *grouped, *self.opened, self.trust)


def hidden_words(rows: Sequence[RestRow]) -> tuple[str, ...]:
    """What of a graph is not shown, in a sentence; nothing where all of it is."""
    if not rows:
        return ()
    said = ", ".join(f"{row.kind} {row.nodes:,} ({row.influence:.1%})" for row in rows)
    return (f"Hidden nodes, with their share of all influence: {said}.",)


def pattern_words(behind_patterns: int, rule: Rule) -> tuple[str, ...]:
    """Why queries and keys are not seen by the frozen rule; nothing by the other."""
    if rule != "frozen" or not behind_patterns:
        return ()
    return (
        f"{behind_patterns:,} subcomponents of queries and keys act through attention patterns alone, which the frozen rule "
        "holds constant: they have no influence by it. --rule grad ranks them.",
    )


def scores_words(scores: Scores, verification: Verification | None) -> str:
    """Both scores, and those of a graph with half of its parts."""
    said = f"replacement {scores.replacement:.2f}, completeness {scores.completeness:.2f}"
    if verification is not None:
        fewer = verification.scores_fewer
        said += f" ({fewer.replacement:.2f} and {fewer.completeness:.2f} with the weaker half of the parts counted as rest)"
    return f"{said}; frozen rule, 1 where nothing is left unexplained"


def masked_table(rows: Sequence[MaskedRow], what: str, dropped: MaskedRow | None) -> Table:
    """What the model says with nodes alone; dropped: with all of them out of the model, everything else in place."""
    columns = [
        Column("masks", key=True),
        Column("nodes", ",", priority=2),
        Column("p", ".3f", priority=3),
        Column("± sd", ".3f", priority=0),
        Column("KL", ".3f", priority=2),
        Column("value", "+.2f"),
    ]
    values = [
        ["random graphs" if r.random else r.masks, r.nodes, r.probability, r.probability_sd, r.kl, r.value]
        for r in rows
    ]
    if dropped is not None:
        r = dropped
        values.append(["taken out, all else in place", r.nodes, r.probability, None, r.kl, r.value])
    caption = (
        f"p and value of {what}; KL from the model's own prediction, nats; adversary: the worst of its starts"
    )
    title = "With its nodes alone" if dropped is None else "With its nodes alone, and without them"
    return Table.of(title, columns, values, caption)


def agreement_table(rows: Sequence[Agreement]) -> Table:
    """What the graph says of removing a node beside what happens."""
    columns = [
        Column("rule", key=True),
        Column("effect"),
        Column("nodes", ","),
        Column("r", ".2f"),
        Column("slope", ".2f"),
        Column("signs", ".0%"),
    ]
    values = [[r.rule, r.effect, r.nodes, r.pearson, r.slope, r.signs] for r in rows]
    caption = "nodes removed one at a time; slope of measured on predicted; direct: all other matrices write what they wrote"
    return Table.of("Predicted beside measured", columns, values, caption)


def checks_table(v: Verification) -> Table:
    """Every check that should be exact."""
    rows = [
        ["what flows in is the value (frozen), worst share of Σ|in|", v.identity_worst, 1e-5],
        ["a doubled source moves every reader by its edge (frozen)", v.linearity, 1e-3],
        ["central differences are the edges (grad)", v.difference, 2e-2],
        ["pairs of sites that a random prompt lacks or adds", v.connectivity, 0],
        ["edges backwards in time or depth", v.causality, 0],
        ["change of what is read by a token added after the target", v.extension, 1e-3],
    ]
    columns = [Column("check", key=True), Column("off by", ".1e"), Column("at most", ".0e")]
    return Table.of("Checks", columns, rows, "exact" if v.exact else "NOT exact: do not rely on this graph")


def stability_table(v: Verification) -> Table:
    """The nodes of other fits beside the graph's."""
    rows = [[r.what, r.nodes, r.shared, r.jaccard] for r in v.stability]
    columns = [
        Column("beside", key=True),
        Column("nodes", ","),
        Column("shared", ","),
        Column("Jaccard", ".2f"),
    ]
    return Table.of("Other fits", columns, rows, "paraphrases are compared without positions")
