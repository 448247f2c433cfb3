"""The session's methods, made from the table of verbs: `make api`."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rankone.core.fields import Request
from rankone.render.reply import Reply
from rankone.verbs.table import VERBS
from rankone.verbs.verb import Verb, is_placed

HEAD = '''"""Every verb as a method of a session; made from the table of verbs by verbs/writing/methods.py, not by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

{imports}


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
    return HEAD.format(imports=imports) + "".join(map(_method, VERBS.values()))


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 4 else "(\n" + "".join(f"    {n},\n" for n in names) + ")"


def _method(verb: Verb[Request, Reply]) -> str:
    options = verb.options()
    placed = [name for name, field in options.items() if is_placed(field)]
    named = [name for name in options if name not in placed]
    parameters = ["self", *(_parameter(n, options[n]) for n in placed), *(["*"] if named else [])]
    parameters += [_parameter(name, options[name]) for name in named]
    doc = (inspect.getdoc(verb.run) or "").replace("\n", "\n        ").replace("\n        \n", "\n\n")
    doc += "\n        " if "\n" in doc else ""
    lines = [
        f"    def {verb.run.__name__}(",
        *(f"        {parameter}," for parameter in parameters),
        f"    ) -> {verb.reply.__name__}:",
        f'        """{doc}"""',
        f'        return self._ask({verb.reply.__name__}, "{verb.name}", locals())',
    ]
    return "\n" + "\n".join(lines) + "\n"


def _parameter(name: str, field: FieldInfo) -> str:
    said = f"{name}: {' | '.join(dict.fromkeys(_types(field.annotation)))}"
    return said if field.is_required() else f"{said} = {_default(field.default)}"


def _types(annotation: Any) -> Iterable[str]:
    """What may be given in Python for a field, as source: wider than what the request then holds."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return [said for argument in arguments for said in _types(argument)]
    if origin is Literal:
        return [f"Literal[{', '.join(map(_default, arguments))}]"]
    if origin is tuple:
        listed = f"Sequence[{' | '.join(_types(arguments[0]))}]"
        return ["str", listed] if arguments[0] is str else [listed]
    if origin is dict:
        return [f"Mapping[{', '.join(' | '.join(_types(a)) for a in arguments)}]"]
    if annotation is Path:
        return ["Path", "str"]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return ["float", "str", "Sequence[str]"]
    return ["None" if annotation is type(None) else annotation.__name__]


def _default(value: object) -> str:
    if isinstance(value, str | Path):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"({', '.join(map(_default, value))}{',' if len(value) == 1 else ''})"
    return "()" if isinstance(value, BaseModel) else repr(value)


if __name__ == "__main__":
    sys.stdout.write(methods())
