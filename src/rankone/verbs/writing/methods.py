"""The session's methods, made from the table of verbs: `make api`."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rankone.core.fields import Request
from rankone.edits.requests import FitRequest
from rankone.render.reply import Reply
from rankone.verbs.table import VERBS
from rankone.verbs.verb import Verb, is_placed, ordered, reads_edit

HEAD = '''"""Every verb as a method of a session; made from the table of verbs by verbs/writing/methods.py, not by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

{imports}

if TYPE_CHECKING:
    from rankone.edits.fitting.run import Fit
    from rankone.edits.lowrank import LowRankEdit


class Methods(Asking):
    """The verbs; parameters are the fields of their requests."""
'''


def methods() -> str:
    """The whole file."""
    replies = {(verb.reply.__module__, verb.reply.__name__) for verb in VERBS.values()}
    homes: dict[str, list[str]] = {"rankone.session.asking": ["Asking"]}
    for module, name in sorted(replies):
        homes.setdefault(module, []).append(name)
    imports = "\n".join(f"from {module} import {_listed(names)}" for module, names in sorted(homes.items()))
    return HEAD.format(imports=imports) + "".join(map(_method, VERBS.values())) + _fit()


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 4 else "(\n" + "".join(f"    {n},\n" for n in names) + ")"


def _method(verb: Verb[Request, Reply]) -> str:
    reply, options = verb.reply.__name__, verb.options()
    placed = {name: _parameter(name, field) for name, field in options.items() if is_placed(field)}
    named = [_parameter(name, field) for name, field in options.items() if name not in placed]
    call = f'self._ask({reply}, "{verb.name}", locals())'
    doc = inspect.getdoc(verb.run) or ""
    return _function(verb.run.__name__, list(placed.values()), named, reply, doc, call)


def _fit() -> str:
    """The one method that answers with an object, not with a reply: a fit holds the edit, ready to be applied."""
    named = [_parameter(name, field) for name, field in ordered(FitRequest).items()]
    doc = "Fit the scales of parts, or components, to forget one domain; nothing is measured on other text."
    return _function("fit", ["parts: str | Sequence[str]"], named, "Fit", doc, "self._fit(locals())")


def _function(name: str, placed: list[str], named: list[str], result: str, doc: str, call: str) -> str:
    parameters = ["self", *placed, *(["*"] if named else []), *named]
    said = "\n".join(f"        {line}" if line else "" for line in doc.splitlines()).lstrip()
    lines = [
        f"    def {name}(",
        *(f"        {parameter}," for parameter in parameters),
        f"    ) -> {result}:",
        f'        """{said}' + ('\n        """' if "\n" in said else '"""'),
        f"        return {call}",
    ]
    return "\n" + "\n".join(lines) + "\n"


def _parameter(name: str, field: FieldInfo) -> str:
    types = [*(["LowRankEdit"] if reads_edit(field) else []), *_types(field.annotation)]
    said = f"{name}: {' | '.join(dict.fromkeys(types))}"
    return said if field.is_required() else f"{said} = {_default(field.default)}"


def _types(annotation: Any) -> Iterable[str]:
    """What may be given in Python for a field, as source: wider than what the request then holds."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return [said for argument in arguments for said in _types(argument)]
    if origin is Annotated:
        return _types(arguments[0])
    if origin is Literal:
        return [f"Literal[{', '.join(map(_default, arguments))}]"]
    if origin is tuple:
        listed = f"Sequence[{' | '.join(_types(arguments[0]))}]"
        return ["str", listed] if arguments[0] is str else [listed]
    if origin is dict:
        scales = ["str", "Sequence[str]"] if arguments == (str, float) else []
        return [*scales, f"Mapping[{', '.join(' | '.join(_types(a)) for a in arguments)}]"]
    if annotation is Path:
        return ["Path", "str"]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return ["float", "str", "Sequence[str]"]
    return ["None" if annotation is type(None) else annotation.__name__]


def _default(value: object) -> str:
    if isinstance(value, str | Path):
        return f'"{value}"'
    if isinstance(value, tuple):
        values = cast("tuple[object, ...]", value)
        return f"({', '.join(map(_default, values))}{',' if len(values) == 1 else ''})"
    return "()" if isinstance(value, BaseModel) else repr(value)


if __name__ == "__main__":
    sys.stdout.write(methods())
