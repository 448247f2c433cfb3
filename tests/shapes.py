"""The type checker with which jaxtyping's shapes are run: `pytest --jaxtyping-packages=rankone,tests.shapes.checked`.

beartype, but for functions whose annotations it cannot read where they are defined: `Self`, names that are imported for type
checkers alone, classes that are defined further down. Those are left as they are.
"""

from __future__ import annotations

import typing
from collections.abc import Callable

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

# An int is a float, as type checkers have it.
_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function: Callable) -> Callable:
    """The function with its arguments and result checked at every call, where that can be done."""
    try:
        typing.get_type_hints(function)
        return _check(function)
    except (NameError, TypeError, AttributeError, BeartypeDecorHintException):
        return function
