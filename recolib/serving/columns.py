"""Columns: what describes users, items and contexts, and their values as JSON has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from recolib.data.field import Field, Side
from recolib.data.info import DataInfo
from recolib.data.kinds import kind_of, layout_of

MAX_VALUES = 50
"""How many values of a column are named."""
Kind = Literal["category", "number", "list", "vector"]


def describe_features(info: DataInfo, side: Side) -> list[dict[str, Any]]:
    """What the feature columns of a side hold, as ``ColumnAbout`` has it; values in the order of their codes."""
    groups = group_columns(info, side)
    found: list[dict[str, Any]] = []
    for field in info.schema.features(side):
        vocab = info.vocabs.get(field.name)
        cells = _cells(info, field, None) if side != "context" else np.empty((0, field.width), np.float32)
        facts = kind_of(field).describe(field, vocab, cells)
        about = _about(_kind(field), [] if vocab is None else vocab.values[:MAX_VALUES].tolist(), facts.n_values)
        about["low"], about["high"] = facts.range or (None, None)
        found += [about | {"name": name, "groups": name in groups} for name in field.columns]
    return found


def describe_items(info: DataInfo, items: pd.DataFrame, names: Sequence[str]) -> list[dict[str, Any]]:
    """What columns of the frame of items hold, as ``ColumnAbout`` has it; the most frequent values first."""
    groups = group_columns(info, "item")
    found: list[dict[str, Any]] = []
    for name in names:
        column = pd.Series(items[name])
        if is_number(column):
            about = _about("number", [], None)
            if column.notna().any():
                about |= {"low": as_json(column.min()), "high": as_json(column.max())}
        else:
            counts = (column.explode() if holds_lists(column) else column).value_counts()
            values = [as_json(value) for value in counts.index[:MAX_VALUES].tolist()]
            about = _about("list" if holds_lists(column) else "category", values, len(counts))
        found.append(about | {"name": name, "groups": name in groups})
    return found


def user_features(info: DataInfo, codes: Sequence[int]) -> list[dict[str, object]]:
    """The features of known users, but for vectors."""
    columns: dict[str, list[object]] = {}
    for field in info.schema.features("user"):
        if field.kind != "vector":
            decoded = kind_of(field).decode(_cells(info, field, codes), field, info.vocabs.get(field.name))
            columns |= {name: [as_json(value) for value in values.tolist()] for name, values in decoded.items()}
    return [{name: values[at] for name, values in columns.items()} for at in range(len(codes))]


def group_columns(info: DataInfo, side: Side) -> list[str]:
    """The columns of a side whose values can be counted."""
    fields = [one for one in info.schema.features(side) if layout_of(one).part == "codes"]
    return [column for one in fields for column in one.columns]


def is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers alone."""
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)


def holds_lists(column: pd.Series) -> bool:
    """Whether a column's values are lists."""
    return column.dtype == object and any(isinstance(one, list) for one in column.head(1000))


def holds_vectors(column: pd.Series) -> bool:
    """Whether the values of a column are vectors."""
    return column.dtype == object and any(isinstance(one, np.ndarray) for one in column.head(1))


def as_json(value: object) -> object:
    """A value of a frame as JSON has it: missing ones are null, lists are lists."""
    if isinstance(value, list | tuple | np.ndarray):
        return [as_json(one) for one in list(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return value if isinstance(value, str | int | float | bool) else str(value)


def _kind(field: Field) -> Kind:
    if field.kind == "vector":
        return "vector"
    if layout_of(field).part == "dense":
        return "number"
    return "list" if field.lists else "category"


def _about(kind: Kind, values: list[Any], n_values: int | None) -> dict[str, Any]:
    return {"kind": kind, "values": values, "n_values": n_values, "low": None, "high": None}


def _cells(info: DataInfo, field: Field, codes: Sequence[int] | None) -> Any:
    """What a field holds of users or items with these codes, or of all known ones."""
    rows = info.table(field.side).current.part(layout_of(field).part).numpy()
    return rows[1:, info.schema.span(field)] if codes is None else rows[[*codes], info.schema.span(field)]
