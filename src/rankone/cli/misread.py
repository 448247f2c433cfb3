"""What is said of words that the parser cannot read: the cause, what was meant perhaps, and where to look."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

import typer

from rankone.core.validation.complaints import plainer

# Options for one thing where another command has the other.
_SYNONYMS = ({"--out", "--save"}, {"--of", "--forget"}, {"--of", "--domains"})
_UNKNOWN = re.compile(
    r"No such option: (\S+)(?: \(Possible options: (?P<several>.*)\)| Did you mean (?P<one>\S+)\?)?"
)
# Of the letters of two options, the share in which they must agree for one to be offered for the other.
_ALIKE = 0.6


def misread(error: Exception, typed: Sequence[str]) -> str:
    """What is wrong with the words of a command, in one line."""
    from rankone.verbs.table import VERBS

    said = plainer(getattr(error, "format_message", lambda: str(error))().strip())
    context: typer.Context | None = getattr(error, "ctx", None)
    named = typed[:1] if set(typed[:1]) & {*VERBS, "studio"} else []
    path = context.command_path if context is not None else " ".join(["rankone", *named])
    said = " ".join(said.split()).rstrip(".")
    if unread := _UNKNOWN.fullmatch(said):
        said = _unknown(unread, _names(context))
        if unread[1] == "--model" and "MODEL" in _names(context):
            said += "".join(f": {path} {shlex.quote(model)}" for model in _values("--model", typed)[:1])
    if "unexpected extra argument" in said:
        said += ". A value with spaces goes in quotes"
    if re.search(r"No such option: -[\d.]", said):
        said += ". A number below zero follows its = at once, as PART=-16"
    return f"{said}{'' if said.endswith('?') else '.'} See `{path} -h`."


def _names(context: typer.Context | None) -> Collection[str]:
    """The options of a command, and MODEL where that is given by its place."""
    parameters = [] if context is None else context.command.params
    placed = {"MODEL" for one in parameters if one.name == "model" and one.param_type_name == "argument"}
    return {name for one in parameters for name in one.opts if name.startswith("--")} | placed


def _values(option: str, typed: Sequence[str]) -> list[str]:
    """What an option is given, as `--model NAME` or `--model=NAME`."""
    joined = [word.removeprefix(f"{option}=") for word in typed if word.startswith(f"{option}=")]
    return [*joined, *(after for word, after in pairwise(typed) if word == option)]


def _unknown(unread: re.Match[str], names: Collection[str]) -> str:
    """An option that a command has not, with those it may stand for: spelled much alike, or other commands' name for it."""
    given = unread[1]
    if given == "--model" and "MODEL" in names:
        return "No such option: --model. The model is named without it, after the command"
    offered = filter(None, [*(unread["several"] or "").split(", "), unread["one"]])
    alike = (
        one for one in offered if SequenceMatcher(None, one.strip("-"), given.strip("-")).ratio() >= _ALIKE
    )
    called = (one for pair in _SYNONYMS if given in pair for one in sorted(pair - {given}) if one in names)
    near = list(dict.fromkeys([*called, *alike]))
    return f"No such option: {given}" + (f". Nearest: {', '.join(near)}" if near else "")
