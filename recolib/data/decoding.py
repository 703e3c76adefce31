"""Codes and scaled numbers back to the values that they stand for, as a frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.data.frame import Values
from recolib.data.rows import ABSENT, UNKNOWN, Codes, Rows
from recolib.data.schema import Field, Schema, Side
from recolib.data.vocab import Vocab


def decode_rows(rows: Rows, schema: Schema, vocabs: Mapping[str, Vocab], side: Side) -> pd.DataFrame:
    """The rows of all known ids of a side, in the order of their codes from 1 on, as a frame of values.

    Parameters
    ----------
    rows
        What is true now of each code, that of the unknown one first, (n + 1, C) and (n + 1, D).
    schema, vocabs
        The columns and what their values are coded with.
    side
        Whose rows they are.
    """
    codes, dense = rows.codes.numpy()[1:], rows.dense.numpy()[1:]
    columns: dict[str, pd.Series] = {side: pd.Series(vocabs[side].values)}
    for field in schema.features(side):
        if field.kind == "dense":
            columns[field.name] = pd.Series(unscaled(dense[:, schema.dense(side).index(field)], field))
            continue
        values, slots = vocabs[field.name].values, codes[:, schema.span(field)]
        if field.lists:
            columns[field.name] = pd.Series(_lists(slots, values), dtype=object)
        else:
            for name, column in zip(field.columns, slots.T, strict=True):
                columns[name] = _values(column, values)
    return pd.DataFrame(columns)


def unscaled(scaled: NDArray[np.float32], field: Field) -> NDArray[np.float64]:
    """Codes of a dense field as they came, rounded to the decimals that float32 kept."""
    numbers = scaled.astype(np.float64) * field.scale + field.offset
    lost = max(float(np.abs(numbers - field.offset).max(initial=0)), abs(field.scale)) * 2.0**-23
    return np.round(numbers, int(np.floor(-np.log10(2 * lost)))) + 0.0  # no −0


def _values(codes: Codes, values: Values) -> pd.Series:
    known = codes > UNKNOWN
    if values.dtype == object:
        decoded = values[np.where(known, codes, 1) - 1]
        decoded[~known] = None
        return pd.Series(decoded)
    column = pd.Series(values[np.where(known, codes, 1) - 1])
    return column if known.all() else column.astype("Int64").mask(~known)


def _lists(slots: Codes, values: Values) -> list[list[int | str] | None]:
    """A list for each row; None where it is missing or has no known value."""
    known = slots > UNKNOWN
    flat = values[slots[known] - 1].tolist()
    ends = np.cumsum(known.sum(1)).tolist()
    empty = (slots == ABSENT).all(1).tolist()
    return [flat[a:b] if a < b or none else None for a, b, none in zip([0, *ends], ends, empty, strict=False)]
