"""What callers catch, and warnings that point at them."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

PACKAGE = str(Path(__file__).parent) + os.sep


class NotFittedError(ValueError, AttributeError):
    """The model has no weights yet."""


class NotBoolError(TypeError, AssertionError):
    """An argument is neither True nor False; LibRecommender raises the latter kind, and its users' tests expect it."""


class UnknownIdWarning(UserWarning):
    """Users or items were asked for that training never saw; they were answered by ``cold_start``."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn about what the caller of the library did, at the line where it was called."""
    level, frame = 1, sys._getframe()  # pyright: ignore[reportPrivateUsage]
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
