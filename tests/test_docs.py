"""Commands and links in the documents are right: command lines parse against the real application."""

from __future__ import annotations

import re
import shlex
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import typer
import typer.main

from rankone.recipes import shipped
from rankone.verbs.table import VERBS
from rankone.verbs.verb import is_placed

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
SHELLS = {"", "bash", "sh", "shell", "console"}
FENCE = re.compile(r"^ {0,3}```(\w*)[^\n]*\n(.*?)^ {0,3}```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@cache
def _app() -> typer.Typer:
    from rankone.cli import commands

    return commands()


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


@cache
def _disarmed(app: typer.Typer):
    """An application's parser, made once, with no command behind it."""
    command = typer.main.get_command(app)
    _disarm(command)
    return command


def parse_error(app: typer.Typer, arguments: list[str]) -> str | None:
    """What the application says against the arguments, or None; no command runs."""
    try:
        _disarmed(app).main(args=list(arguments), prog_name="rankone", standalone_mode=False)
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


@pytest.mark.parametrize(("document", "line", "arguments"), documented())
def test_documented_command_parses(document, line, arguments):
    error = parse_error(_app(), arguments)
    assert error is None, f"{document}: `{line}`: {error}"


def test_the_readme_shows_commands():
    names = {arguments[0] for document, _, arguments in documented() if document == "README.md" and arguments}
    assert len(names) >= 4, f"README.md shows only {sorted(names)}"


def options_of(app: typer.Typer) -> dict[str, set[str]]:
    """The options of every command."""
    return {
        name: {
            option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        | {"--help"}
        for name, command in _disarmed(app).commands.items()
    }


def spans(markdown: str) -> list[str]:
    """The code in the running text of a document, fences left out."""
    return INLINE.findall(FENCE.sub("", markdown))


def unknown_words(span: str, known: dict[str, set[str]]) -> list[str]:
    """Commands and options that a span names and that do not exist: `rankone VERB --option …`, or `--option …`."""
    words = span.replace("…", " ").split()
    options = [word.split("=")[0] for word in words if word.startswith("--") and word != "--"]
    if words[:1] == ["rankone"]:
        verb = next((word for word in words[1:] if not word.startswith("-")), None)
        if verb is None:
            return []
        return [verb] if verb not in known else [o for o in options if o not in known[verb]]
    if span.startswith("--"):
        return [o for o in options if not any(o in own for own in known.values())]
    return []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_commands_and_options_in_running_text_exist(path):
    known = options_of(_app())
    lost = {span: words for span in spans(path.read_text("utf8")) if (words := unknown_words(span, known))}
    assert not lost, f"{path.name} names commands or options that do not exist: {lost}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_files_in_running_text_exist(path):
    """Source files are named from src/rankone or from the root."""
    named = [s for s in spans(path.read_text("utf8")) if re.fullmatch(r"[\w./-]+/[\w-]+\.(py|ya?ml|md)", s)]
    places = (ROOT, ROOT / "src" / "rankone", ROOT / "src" / "rankone" / "decomposition", path.parent)
    lost = [name for name in named if not any((place / name).exists() for place in places)]
    assert not lost, f"{path.name} names files that do not exist: {lost}"


def recipe_in(arguments: list[str]) -> str | None:
    """The recipe that a command names, by its option or its place; None where it names none, or a placeholder."""
    verb = VERBS.get(arguments[0]) if arguments else None
    field = verb.request.model_fields.get("recipe") if verb else None
    before = verb.name if verb and field and is_placed(field) else "--recipe"
    return next((word for a, word in pairwise(arguments) if a == before and not word.isupper()), None)


def test_every_recipe_of_a_command_line_ships():
    named = [(document, recipe_in(arguments)) for document, _, arguments in documented()]
    named = [(document, name) for document, name in named if name is not None]
    assert len(named) > 15
    assert [one for one in named if one[1] not in shipped()] == []


def test_every_kind_of_artefact_is_listed():
    sources = [path.read_text("utf8") for path in (ROOT / "src" / "rankone").rglob("*.py")]
    kinds = {
        kind
        for source in sources
        for found in re.findall(r'^KIND\b.* = "([\w-]+)"|new_artifact\(\w+, "([\w-]+)"', source, re.MULTILINE)
        for kind in found
        if kind
    }
    (row,) = re.findall(
        r"^\| `kind` \|(.*)\|$", (ROOT / "docs" / "artifacts.md").read_text("utf8"), re.MULTILINE
    )
    assert len(kinds) > 10
    assert kinds == set(INLINE.findall(row))


def test_every_command_is_documented():
    shown = {arguments[0] for _, _, arguments in documented() if arguments}
    shown |= {"-".join(arguments[:2]) for _, _, arguments in documented()}  # `graph verify` is `graph-verify`
    inline = {s.split()[1] for p in DOCUMENTS for s in spans(p.read_text("utf8")) if s.startswith("rankone ")}
    assert set(options_of(_app())) <= shown | inline


@pytest.mark.parametrize("name", sorted(options_of(_app())))
def test_every_command_and_option_has_help(name, capsys):
    assert parse_error(_app(), [name, "--help"]) is None
    assert "Usage" in capsys.readouterr().out
    command = _disarmed(_app()).commands[name]
    assert command.help
    assert [p.name for p in command.params if not getattr(p, "help", None)] == []


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
    ("span", "lost"),
    [
        ("rankone fit --rate 1", []),
        ("rankone fit MODEL --speed 1 --rate=2", ["--speed"]),
        ("rankone fti", ["fti"]),
        ("--rate", []),
        ("--rat DIR", ["--rat"]),
        ("rankone", []),
        ("git --rat", []),
    ],
)
def test_lost_words_of_a_span_are_found(span, lost):
    assert unknown_words(span, {"fit": {"--rate"}}) == lost


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
