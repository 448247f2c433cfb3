"""Commands and links in the documents are right: command lines parse against the real application."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import typer
import typer.main

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
COMMANDS = (
    "pretrain",
    "decompose",
    "evidence",
    "compare",
    "harvest",
    "merge-harvest",
    "rank",
    "label",
    "search",
    "show",
    "picks",
    "investigate",
    "tune",
    "export",
    "generate",
    "sites",
    "demo",
)
SHELLS = {"", "bash", "sh", "shell", "console"}
FENCE = re.compile(r"^ {0,3}```(\w*)[^\n]*\n(.*?)^ {0,3}```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def shell_lines(markdown: str) -> list[str]:
    """Command lines in the shell fences of a document, continuations joined and prompts removed."""
    lines = []
    for language, body in FENCE.findall(markdown):
        if language in SHELLS:
            joined = re.sub(r"\\\n\s*", " ", body)
            lines += [line.strip().removeprefix("$ ") for line in joined.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def simple_commands(line: str) -> list[list[str]]:
    """The words of each command in a line, without variables set before it, redirections and comments."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    skip = False
    for word in lexer:
        if re.fullmatch(r"[&|;()]+", word):
            commands.append([])
        elif re.fullmatch(r"[<>]+", word):
            skip = True
        elif skip:
            skip = False
        elif commands[-1] or not re.match(r"\w+=", word):
            commands[-1].append(word)
    return [command for command in commands if command]


def program_arguments(line: str) -> list[list[str]]:
    """The arguments of each `rankone` in a line, also as PATH/rankone and `python -m rankone`."""
    found = []
    for words in simple_commands(line):
        if words[0].rpartition("/")[2] == "rankone":
            found.append(words[1:])
        elif re.fullmatch(r"(.*/)?python[\d.]*", words[0]) and words[1:3] == ["-m", "rankone"]:
            found.append(words[3:])
    return found


def parse_error(app: typer.Typer, arguments: list[str]) -> str | None:
    """What the application says against the arguments, or None; no command runs."""
    command = typer.main.get_command(app)
    _disarm(command)
    try:
        command.main(args=list(arguments), prog_name="rankone", standalone_mode=False)
    except Exception as error:
        return getattr(error, "format_message", lambda: repr(error))()
    return None


def _disarm(command) -> None:
    """Take the bodies out of a command and its subcommands, so that parsing is all that happens."""
    command.callback = None
    for child in getattr(command, "commands", {}).values():
        _disarm(child)


def documented() -> list[tuple[str, str, list[str]]]:
    """(document, line, arguments) of every `rankone` command in the documents."""
    return [
        (path.name, line, arguments)
        for path in DOCUMENTS
        for line in shell_lines(path.read_text("utf8"))
        for arguments in program_arguments(line)
    ]


@cache
def _app() -> typer.Typer:
    from rankone.cli import app

    return app


@pytest.mark.parametrize(("document", "line", "arguments"), documented())
def test_documented_command_parses(document, line, arguments):
    error = parse_error(_app(), arguments)
    assert error is None, f"{document}: `{line}`: {error}"


def test_the_readme_shows_commands():
    names = {arguments[0] for document, _, arguments in documented() if document == "README.md" and arguments}
    assert len(names) >= 4, f"README.md shows only {sorted(names)}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    assert parse_error(_app(), [name, "--help"]) is None
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    text = FENCE.sub("", path.read_text("utf8"))
    local = [t for t in LINK.findall(text) if not re.match(r"(https?|mailto):|#", t)]
    broken = [target for target in local if not (path.parent / target.split("#")[0]).exists()]
    assert not broken, f"{path.name} links to missing {broken}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_make_targets_exist(path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf8"), re.MULTILINE))
    commands = [c for line in shell_lines(path.read_text("utf8")) for c in simple_commands(line)]
    named = {w for c in commands if c[0] == "make" for w in c[1:] if "=" not in w and not w.startswith("-")}
    assert named <= targets, f"{path.name} names make targets that do not exist: {sorted(named - targets)}"


# The helpers themselves, on a document and an application made for it.

EXAMPLE = r"""
```bash
# a comment with rankone nonsense
pip install rankone
rankone fit mini --rate 0.1 \
    --shape cosine > log.txt && .venv/bin/rankone fit mini
HF_HUB_OFFLINE=1 python -m rankone fit 'a&b'  # why
```
```python
rankone = 1
```
"""


def test_commands_are_found():
    lines = shell_lines(EXAMPLE)
    assert [a for line in lines for a in program_arguments(line)] == [
        ["fit", "mini", "--rate", "0.1", "--shape", "cosine"],
        ["fit", "mini"],
        ["fit", "a&b"],
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("fit mini --rate 0.1", None),
        ("fit mini --recipe missing.yaml", None),
        ("fit --help", None),
        ("fit mini --speed 0.1", "No such option"),
        ("fit mini --rate fast", "Invalid value"),
        ("fit mini --rate", "requires an argument"),
        ("fit", "Missing argument"),
        ("fit mini more", "unexpected extra argument"),
        ("fti mini", "No such command"),
    ],
)
def test_wrong_commands_are_refused(line, complaint):
    app = typer.Typer()

    @app.command()
    def fit(model: str, rate: float = 1.0, recipe: Path | None = None) -> None:
        raise AssertionError("a command ran")

    app.command("other")(lambda: None)
    error = parse_error(app, line.split())
    assert (error is None) if complaint is None else (error is not None and complaint in error)
