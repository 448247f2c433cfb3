"""What the tests of commands share: names of the tiny model, what was printed, what lies in a folder."""

from __future__ import annotations

COMPONENTS = "h.0.mlp.c_fc:3,h.0.attn.v_proj:5"
SITES = ["attn.k_proj", "attn.o_proj", "attn.q_proj", "attn.v_proj", "mlp.c_fc", "mlp.down_proj"]

# Options that take several names, and may stand again.
LISTS = {"--domains", "--retain"}


def with_options(words, *more):
    """A command with further options in place of those of the same name: one is given once (cli/grouping.py)."""
    again = {word for word in more if str(word).startswith("--")} - LISTS
    words, kept = iter(words), []
    for word in words:
        if word in again:
            next(words)
        else:
            kept.append(word)
    return [*kept, *more]


def tuning(pair, *words, scale=COMPONENTS):
    """`tune` of the tiny model: forget German, hold English."""
    sides = ["--forget", "de", "--retain", "en"]
    return with_options(["tune", pair[0], "--decomposition", pair[1], *sides, "--scale", scale], *words)


def shown(outcome):
    """The printed text of a command that went well."""
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    return outcome.out


def cells(text, first):
    """The numbers and words of the table row that begins with `first`."""
    (row,) = [line for line in text.splitlines() if line.strip("│┃ ").startswith(first + " ")]
    return row.replace("│", " ").replace("┃", " ").split()


def listing(folder):
    """Every file below a folder with its time of change."""
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
