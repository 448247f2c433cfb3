"""The `rankone` command as a parser sees it: its help by themes, its commands of two words, options given once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer
from typer.core import TyperCommand, TyperGroup

from rankone.core.errors import RankOneError

if TYPE_CHECKING:
    from typer._click import HelpFormatter  # pyright: ignore[reportPrivateUsage]

THEMES: Mapping[str, Sequence[str]] = {
    "Begin": ("demo", "studio", "fetch", "doctor"),
    "Change one behaviour": (
        "collect",
        "find",
        "sharpen",
        "tune",
        "edit",
        "generate",
        "side-effects",
        "investigate",
        "export",
        "push",
    ),
    "See what parts do": (
        "rank",
        "harvest",
        "merge-harvest",
        "cluster",
        "cluster-distance",
        "label",
        "search",
        "show",
        "picks",
    ),
    "Make parts": ("sites", "pretrain", "decompose", "import", "toys", "evidence", "compare"),
    "Circuits": (
        "graph",
        "graph-verify",
        "graph-intervene",
        "graph-export",
        "qk",
        "attributions",
        "transcoders-train",
        "transcoders-compare",
    ),
    "Measure and compare": (
        "measure",
        "survive",
        "project",
        "rewrite",
        "select-rates",
        "bench",
        "reproduce",
        "lm-eval",
    ),
}


class Commands(TyperGroup):
    """Commands by theme in the help; one of two words may be written with a space: `graph verify` is `graph-verify`."""

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> tuple[str | None, object, list[str]]:  # pyright: ignore
        """The command that the words name."""
        joined = "-".join(args[:2])
        if len(args) > 1 and joined in self.commands:
            args = [joined, *args[2:]]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: typer.Context, formatter: HelpFormatter) -> None:  # pyright: ignore
        """Every theme with its commands, and the first paragraph of what each says of itself."""
        del ctx
        for theme, names in THEMES.items():
            with formatter.section(theme):
                formatter.write_dl([(name, _summary(self.commands[name].help or "")) for name in names])


class Once(TyperCommand):
    """A command that refuses an option given twice, where it takes one value: the second would silently win."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # pyright: ignore
        """As click parses them."""
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        for option in (one for one in order if not getattr(one, "is_flag", True)):
            if order.count(option) > 1 and not option.multiple:
                name = max(option.opts, key=len)
                raise RankOneError(f"{name} is given twice, and one value is taken. Leave one out.")
        return super().parse_args(ctx, args)


def _summary(said: str) -> str:
    return " ".join(said.split("\n\n")[0].split()).removesuffix(".")
