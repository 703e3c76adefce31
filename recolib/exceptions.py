"""What callers catch."""

from __future__ import annotations


class NotFittedError(ValueError, AttributeError):
    """The model has no weights yet."""


class UnknownIdWarning(UserWarning):
    """Users or items were asked for that training never saw; they were answered by ``cold_start``."""
