"""Schema: which columns there are, of which side and of which kind."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, cast

import numpy as np
import pandas as pd

Side = Literal["user", "item", "context"]
Kind = Literal["sparse", "multi_sparse", "dense"]
Group = str | Sequence[str]
"""A multi-sparse group: the name of a column of lists, or the names of columns of single values."""

SIDES: tuple[Side, ...] = ("user", "item", "context")
KINDS: tuple[Kind, ...] = ("sparse", "multi_sparse", "dense")
T = TypeVar("T", bound=str)
RESERVED = ("user", "item", "label")
MAX_LIST_LENGTH = 2**16
"""Values that a list may have: each row has a slot for each value of the longest list."""
SEQUENCES = (list, tuple, np.ndarray, pd.Index)
"""What a list of columns may come as."""


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
        ``"sparse"`` (one code), ``"multi_sparse"`` (several codes of one vocabulary) or ``"dense"`` (a number).
    columns
        The frame's columns that it is read from.
    lists
        Whether it is read from one column of lists.
    pad_val
        The value that marks an absent value of a multi-sparse field.
    width
        How many code columns it has: 1, or the slots of a multi-sparse field.
    mean
        The training mean of a dense field; what stands for a missing value.
    offset, scale
        A dense value x enters the network as ``(x - offset) / scale``.
    """

    name: str
    side: Side
    kind: Kind
    columns: tuple[str, ...]
    lists: bool = False
    pad_val: int | str | None = None
    width: int = 1
    mean: float = 0.0
    offset: float = 0.0
    scale: float = 1.0

    @property
    def is_id(self) -> bool:
        """Whether it is the user's or the item's id."""
        return self.columns in (("user",), ("item",))

    @property
    def missing(self) -> float:
        """What a missing value of a dense field enters the network as."""
        return (self.mean - self.offset) / self.scale


@dataclass(frozen=True)
class Schema:
    """All fields, side by side; on each side the id first, then sparse, multi-sparse and dense fields."""

    fields: tuple[Field, ...]

    def codes(self, side: Side) -> tuple[Field, ...]:
        """The fields of a side that have codes, in the order of their code columns."""
        return tuple(field for field in self.fields if field.side == side and field.kind != "dense")

    def dense(self, side: Side) -> tuple[Field, ...]:
        """The numeric fields of a side, in the order of their columns."""
        return tuple(field for field in self.fields if field.side == side and field.kind == "dense")

    def features(self, side: Side) -> tuple[Field, ...]:
        """The fields of a side but for its id."""
        return tuple(field for field in self.fields if field.side == side and not field.is_id)

    def columns(self, side: Side) -> list[str]:
        """The feature columns of a side as the frame names them."""
        return [column for field in self.features(side) for column in field.columns]

    def span(self, field: Field) -> slice:
        """The code columns of a field among those of its side."""
        before = self.codes(field.side)
        start = sum(other.width for other in before[: [other.name for other in before].index(field.name)])
        return slice(start, start + field.width)

    def n_codes(self, side: Side) -> int:
        """How many code columns a side has."""
        return sum(field.width for field in self.codes(side))

    def to_json(self) -> str:
        """The schema as text that ``from_json`` reads."""
        return json.dumps([asdict(field) for field in self.fields])

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """The schema that ``to_json`` wrote."""
        entries: list[dict[str, Any]] = json.loads(text)
        return cls(tuple(replace(Field(**entry), columns=tuple(entry["columns"])) for entry in entries))


def make_schema(
    user_col: Sequence[str] | None = None,
    item_col: Sequence[str] | None = None,
    context_col: Sequence[str] | None = None,
    sparse_col: Sequence[str] | None = None,
    multi_sparse_col: Sequence[Group] | None = None,
    dense_col: Sequence[str] | None = None,
    pad_val: int | str | Sequence[int | str] = "missing",
    present: Collection[str] | None = None,
) -> Schema:
    """The schema that these lists of columns describe.

    ``present`` are the columns that the frames have, where they are to be checked.

    Raises
    ------
    ValueError
        If a column is not there, is of two kinds or sides or of none, stands twice, is called like one of the
        columns of the interaction itself, or if a group lies on two sides.
    """
    sides: dict[Side, list[str]] = {
        "user": _names(user_col, "user_col"),
        "item": _names(item_col, "item_col"),
        "context": _names(context_col, "context_col"),
    }
    groups = _groups(multi_sparse_col)
    lists = {(group,) for group in multi_sparse_col or () if isinstance(group, str)}
    kinds: dict[Kind, list[str]] = {
        "sparse": _names(sparse_col, "sparse_col"),
        "multi_sparse": [column for group in groups for column in group],
        "dense": _names(dense_col, "dense_col"),
    }
    side_of, kind_of = _only(sides, "sides"), _only(kinds, "kinds")
    absent = sorted({*side_of, *kind_of} - set(present)) if present is not None else []
    if absent:
        near = get_close_matches(absent[0], list(map(str, present or ())), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"columns {absent} are not in train_data: {sorted(map(str, present or ()))}{hint}")
    reserved = sorted({*side_of, *kind_of} & set(RESERVED))
    if reserved:
        raise ValueError(f"columns {reserved} are the interaction itself, not features: take them out of the lists")
    _refuse_unplaced(set(kind_of) - set(side_of), "have no side: name them in user_col, item_col or context_col")
    _refuse_unplaced(
        set(side_of) - set(kind_of), "have no kind: name them in sparse_col, multi_sparse_col or dense_col"
    )
    pads = _pads(pad_val, len(groups))

    fields: list[Field] = []
    for side in SIDES:
        if side != "context":
            fields.append(Field(side, side, "sparse", (side,)))
        fields += [Field(name, side, "sparse", (name,)) for name in kinds["sparse"] if side_of[name] == side]
        for group, pad in zip(groups, pads, strict=True):
            if len({side_of[column] for column in group}) > 1:
                raise ValueError(f"the columns {list(group)} of one multi_sparse_col group lie on two sides")
            if side_of[group[0]] == side:
                fields.append(Field(group[0], side, "multi_sparse", group, group in lists, pad, len(group)))
        fields += [Field(name, side, "dense", (name,)) for name in kinds["dense"] if side_of[name] == side]
    return Schema(tuple(fields))


def _names(columns: object, argument: str) -> list[str]:
    if columns is None:
        return []
    names = list(columns) if isinstance(columns, SEQUENCES) else []
    if not isinstance(columns, SEQUENCES) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{argument} must be a list of column names, got {columns!r}")
    return [str(name) for name in names]


def _groups(multi_sparse_col: object) -> list[tuple[str, ...]]:
    if multi_sparse_col is None:
        return []
    if not isinstance(multi_sparse_col, SEQUENCES):
        raise ValueError(f"multi_sparse_col must be a list of columns and groups, got {multi_sparse_col!r}")
    groups = [
        (group,) if isinstance(group, str) else tuple(_names(group, "each group of multi_sparse_col"))
        for group in multi_sparse_col
    ]
    if not all(groups):
        raise ValueError("each group of multi_sparse_col must be a list of column names, got an empty one")
    return groups


def _pads(pad_val: object, n_groups: int) -> list[int | str]:
    pads = list(pad_val) if isinstance(pad_val, SEQUENCES) else [pad_val] * n_groups
    if isinstance(pad_val, SEQUENCES) and len(pads) != n_groups:
        raise ValueError(f"pad_val must be one value or one for each multi_sparse_col group: {len(pads)} != {n_groups}")
    for pad in [pad_val] if not isinstance(pad_val, SEQUENCES) else pads:
        if isinstance(pad, bool) or not isinstance(pad, int | str | np.integer):
            raise ValueError(
                f"pad_val must be an integer or a string, or a list with one for each group, got {pad_val!r}"
            )
    return [pad if isinstance(pad, str) else int(cast("int", pad)) for pad in pads]


def _only(places: Mapping[T, list[str]], what: str) -> dict[str, T]:
    found: dict[str, T] = {}
    for place, columns in places.items():
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise ValueError(f"columns {twice} stand twice in the {place} columns")
        both = sorted(set(columns) & set(found))
        if both:
            raise ValueError(f"columns {both} are of two {what}: {found[both[0]]} and {place}")
        found.update(dict.fromkeys(columns, place))
    return found


def _refuse_unplaced(columns: set[str], problem: str) -> None:
    if columns:
        raise ValueError(f"columns {sorted(columns)} {problem}")
