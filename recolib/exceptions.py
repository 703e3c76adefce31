"""Exceptions and warnings that callers catch, and ``warn``, which points at the caller's line."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from recolib.process_group import ProcessGroup

PACKAGE = str(Path(__file__).parent) + os.sep
_WARNED: ContextVar[set[str] | None] = ContextVar("warned", default=None)


class NotFittedError(ValueError, AttributeError):
    """The model has no weights yet."""


class NotBoolError(TypeError, AssertionError):
    """An argument is neither True nor False. It is an ``AssertionError``, too, as LibRecommender raises it."""


class RecolibWarning(UserWarning):
    """What recolib warns of. Each kind that one may want to silence by itself is a subclass."""


class UnknownIdWarning(RecolibWarning):
    """Users or items are unknown: ``cold_start`` says how they are scored."""


class OverfittingWarning(RecolibWarning):
    """The last epochs of a fit made its first metric worse, and nothing stopped them."""


class UnseenValueWarning(RecolibWarning):
    """Values of a category are not among those of training: they count as unknown."""


class MixedTypesWarning(RecolibWarning):
    """A column holds integers and text, which never match each other: 7 and ``"7"`` are two."""


class UndeclaredWeightWarning(RecolibWarning):
    """A column ``weight`` is neither a feature nor named by ``weight_col``: it is not used."""


class LongListWarning(RecolibWarning):
    """Lists of a multi-sparse column are longer than what a row holds: only their first values count."""


class LeftOutRowsWarning(RecolibWarning):
    """A split leaves out rows of later parts, since their user or item is not in the first part."""


class NoLabelWarning(RecolibWarning):
    """A training frame has no column ``label``: each of its rows counts as an interaction, with label 1."""


class OutOfRangeWarning(RecolibWarning):
    """Numbers of a dense column are so far outside training's range that they count as the farthest that is taken."""


class NoNegativesWarning(RecolibWarning):
    """Users consumed every item, so that there is no negative to measure their rows against."""


class ConsumedItemsWarning(RecolibWarning):
    """Lists are measured against items that their users consumed in training, and that lists leave out."""


class RatingsAsListsWarning(RecolibWarning):
    """Lists are asked of a model of ratings, which says how well users would like items if they chose them."""


class UnorderedHistoryWarning(RecolibWarning):
    """Rows of a history are not in the order of their times, and were sorted."""


COUNTED = re.compile(r" \d[\d.,]*|, such as .*", re.DOTALL)
"""What differs in warnings of the same kind: counts and examples."""


@contextmanager
def telling_once() -> Generator[None]:
    """Within this, what was warned of is not warned of again, such as of each part of a set that is read in parts.

    Other counts and examples make no other warning: what there is of is told by the first part that has some.
    """
    token = _WARNED.set(set())
    try:
        yield
    finally:
        _WARNED.reset(token)


def warn(message: str, category: type[RecolibWarning] = RecolibWarning) -> None:
    """Warn at the line that called the library; of processes that work together, the first one alone does."""
    warned, rule = _WARNED.get(), COUNTED.sub("", message)
    if not ProcessGroup.current().is_first or (warned is not None and rule in warned):
        return
    if warned is not None:
        warned.add(rule)
    level, frame = 1, sys._getframe()  # pyright: ignore[reportPrivateUsage]
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
