"""How a setting is checked by its annotation: ``hidden_units: Widths = (64, 32)`` must be layer widths.

All are names of ``recolib.settings``, too, for algorithms of one's own.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cache, wraps
from types import SimpleNamespace
from typing import Annotated, Any, Concatenate, ParamSpec, get_type_hints

from recolib.checks import (
    BEYOND_SEEDS,
    MAX_LAYERS,
    as_widths,
    check_bool,
    check_choice,
    check_integer,
    check_number,
    suggestion,
)

P = ParamSpec("P")
MAX_HEADS = 64
RECENT = "recent"
"""Of ``history``: what is close in order counts more."""


@dataclass(frozen=True)
class Check:
    """How a setting is checked: ``Annotated[int, Check(function)]``.

    Parameters
    ----------
    function
        Takes the setting's name and value, and gives the value to use. It raises a ``ValueError`` or ``TypeError`` that
        names the setting.
    is_size
        Whether the setting is a size, or several, that the weights have. A file that says another size is refused
        before a network is made.
    """

    function: Callable[[str, Any], object]
    is_size: bool = False


def _size(name: str, value: int) -> int:
    check_integer(name, value, 1, BEYOND_SEEDS)
    return int(value)


def _size_or_none(name: str, value: int | None) -> int | None:
    return None if value is None else _size(name, value)


def _widths_or_none(name: str, value: object) -> tuple[int, ...]:
    return () if isinstance(value, list | tuple) and not value else as_widths(name, value)


def _count(name: str, value: int) -> int:
    check_integer(name, value, 0, BEYOND_SEEDS)
    return int(value)


def _layers(name: str, value: int) -> int:
    check_integer(name, value, 1, MAX_LAYERS + 1)
    return int(value)


def _heads(name: str, value: int) -> int:
    check_integer(name, value, 1, MAX_HEADS + 1)
    return int(value)


def _share(name: str, value: float | None) -> float | None:
    check_number(name, value or 0.0, 0, 1)
    return value


def _flag(name: str, value: bool) -> bool:
    check_bool(name, value)
    return value


def _flag_or_recent(name: str, value: bool | str) -> bool | str:
    if not isinstance(value, bool) and value != RECENT:
        raise ValueError(f"{name} must be True, False or {RECENT!r}, got {value!r}{suggestion(value, [RECENT])}")
    return value


def _positive(name: str, value: float) -> float:
    check_number(name, value, 0, open_low=True)
    return value


def _not_negative(name: str, value: float) -> float:
    check_number(name, value, 0)
    return value


def one_of(*choices: str) -> Check:
    """The check of a setting that is one of some names: ``Annotated[str, one_of("sum", "mean")]``."""

    def check(name: str, value: str) -> str:
        check_choice(name, value, choices)
        return value

    return Check(check)


Size = Annotated[int, Check(_size, is_size=True)]
"""A size that weights have, at least 1."""
Length = Annotated[int, Check(_size)]
"""A number of things, at least 1, that no weight has as its size."""
OptionalSize = Annotated[int | None, Check(_size_or_none, is_size=True)]
"""A size that weights have, or None."""
Widths = Annotated[Sequence[int], Check(as_widths, is_size=True)]
"""Layer widths, at least one."""
OptionalWidths = Annotated[Sequence[int], Check(_widths_or_none, is_size=True)]
"""Layer widths; () is no layers."""
Count = Annotated[int, Check(_count)]
"""A whole number of at least 0."""
LayerCount = Annotated[int, Check(_layers)]
"""A number of layers, from 1 to 100."""
HeadCount = Annotated[int, Check(_heads)]
"""A number of heads, from 1 to 64."""
Share = Annotated[float, Check(_share)]
"""A number from 0 to below 1, such as that of dropout."""
OptionalShare = Annotated[float | None, Check(_share)]
"""A share, or None, which is 0."""
Flag = Annotated[bool, Check(_flag)]
"""True or False."""
FlagOrRecent = Annotated[bool | str, Check(_flag_or_recent)]
"""True, False or ``"recent"``."""
Positive = Annotated[float, Check(_positive)]
"""A finite number above 0."""
NotNegative = Annotated[float, Check(_not_negative)]
"""A finite number of at least 0, such as that of a penalty."""


@cache
def checks_of(algorithm: type) -> dict[str, Check]:
    """The checks on a class's annotations, and on those of the classes that it extends, by setting."""
    found: dict[str, Check] = {}
    for owner in reversed(algorithm.__mro__):
        for name, annotation in inspect.get_annotations(owner).items():
            check = _check_on(annotation, owner)
            found.pop(name, None)
            if check is not None:
                found[name] = check
    return found


def sizes_of(algorithm: type) -> list[str]:
    """The settings of an algorithm that are sizes of its weights."""
    return [name for name, check in checks_of(algorithm).items() if check.is_size]


def _check_on(annotation: object, owner: type) -> Check | None:
    """The check on an annotation; none on one that only a type checker can resolve."""
    alone = SimpleNamespace(__annotations__={"it": annotation})
    try:
        hint: Any = get_type_hints(alone, vars(sys.modules[owner.__module__]), include_extras=True)["it"]
    except (NameError, TypeError):
        return None
    return next((one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Check)), None)


def naming_nearest(init: Callable[Concatenate[Any, P], None]) -> Callable[Concatenate[Any, P], None]:
    """A constructor that says of an argument that it does not have which setting may be meant."""

    @wraps(init)
    def checking(self: Any, *args: P.args, **kwargs: P.kwargs) -> None:
        known = [field.name for field in fields(self)]
        unknown = next((name for name in kwargs if name not in known), None)
        if unknown is not None:
            raise TypeError(
                f"{self.model_name}() got an unexpected keyword argument {unknown!r}{suggestion(unknown, known)}"
            )
        init(self, *args, **kwargs)

    return checking
