"""Commands whose model is an option: what is said where its name is typed without it, as other commands have it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast

import typer

from rankone.cli.grouping import Once
from rankone.core.errors import RankOneError


class OptionalModel(Once):
    """A command with `--model`, which is offered where a word that is refused names a model."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # pyright: ignore
        """As click parses them; RankOneError for more words than are taken, where one of them names a model."""
        values, more, _ = self.make_parser(ctx).parse_args(list(args))
        words = [*self._placed(values), *more] if more and not {"model", "help"} & set(values) else []
        if word := next(filter(_is_model, words), None):
            raise RankOneError(
                f"words too many. '{word}' names a model: a model is given as --model {word}. Text with spaces goes in "
                f"quotes. See `{ctx.command_path} -h`."
            )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: typer.Context) -> object:  # pyright: ignore
        """As click does it; a RankOneError about a word that names a model says how it is given."""
        try:
            return super().invoke(ctx)
        except RankOneError as error:
            source = ctx.get_parameter_source("model")
            words = [] if source is None or source.name != "DEFAULT" else self._placed(ctx.params)
            if word := next((one for one in words if f"'{one}'" in str(error) and _is_model(one)), None):
                error.args = (f"{str(error).removesuffix('.')}. The model is given as --model {word}.",)
            raise

    def _placed(self, values: Mapping[str, object]) -> Iterator[str]:
        """The words that were given by their place."""
        for one in self.params:
            value = values.get(one.name or "")
            if one.param_type_name == "argument" and value is not None:
                each = cast("Iterable[object]", value) if isinstance(value, list | tuple) else (value,)
                yield from map(str, each)


def _is_model(word: str) -> bool:
    """Whether a word is the name of a model that is built in or can be fetched, or the folder of one."""
    from rankone.models.sources.known import FETCHABLE
    from rankone.models.sources.names import resolve

    try:
        return word in FETCHABLE or isinstance(resolve(word), Path)
    except (RankOneError, OSError):  # one too long for a path
        return False
