"""Field: what the network sees as one feature, and the columns that it is read from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from recolib.checks import is_text

Side = Literal["user", "item", "context"]
SIDES: tuple[Side, ...] = ("user", "item", "context")
Group = str | tuple[str, ...]
"""What one field is read from: the name of a column, or the names of a group of columns."""
SEQUENCES = (list, tuple, np.ndarray, pd.Index)
"""What a list of columns may come as."""
MAX_WIDTH = 2**16
"""Columns of a row that a field may take, and so the values that a list may have."""
MAX_BUCKETS = 2**31 - 1
"""Buckets that codes of 32 bits can tell apart."""


@dataclass(frozen=True)
class Field:
    """What the network sees as one feature.

    Attributes
    ----------
    name
        The column, or the first column of a group; its vocabulary's name.
    side
        ``"user"``, ``"item"`` or ``"context"``.
    kind
        The name of its kind in ``recolib.data.kinds.KINDS``: ``"sparse"`` (one code), ``"multi_sparse"`` (several
        codes of one vocabulary), ``"dense"`` (a number) or ``"vector"`` (numbers that mean something together).
    columns
        The frame's columns that it is read from.
    lists
        Whether it is read from one column of lists.
    pad_val
        The value that marks an absent value of a multi-sparse field.
    width
        How many columns it has: 1, the slots of a multi-sparse field, or the numbers of a vector.
    mean
        The training mean of a dense field; what stands for a missing value.
    offset, scale
        A dense value x enters the network as ``(x - offset) / scale``.
    means
        The training mean of each number of a vector, which enters the network as ``(x - means) / scale``.
    n_buckets
        How many buckets its values are hashed to; 0 where they have a vocabulary.
    """

    name: str
    side: Side
    kind: str
    columns: tuple[str, ...]
    lists: bool = False
    pad_val: int | str | None = None
    width: int = 1
    mean: float = 0.0
    offset: float = 0.0
    scale: float = 1.0
    means: tuple[float, ...] = ()
    n_buckets: int = field(default=0, repr=False)  # a cache_dir is told from others by the text of fields

    @property
    def is_id(self) -> bool:
        """Whether it is the user's or the item's id."""
        return self.columns in (("user",), ("item",))

    @property
    def missing(self) -> float:
        """What a missing value of a dense field enters the network as."""
        return (self.mean - self.offset) / self.scale


def read_names(columns: object, argument: str) -> list[str]:
    """A list of column names, checked; None is an empty one."""
    if columns is None:
        return []
    names = list(columns) if isinstance(columns, SEQUENCES) else []
    if not isinstance(columns, SEQUENCES) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{argument} must be a list of column names, got {columns!r}")
    for name in names:
        if not is_text(name):
            raise ValueError(f"{argument} has the name {name!r}, which is no valid text: rename the column")
    return [str(name) for name in names]
