"""Encoded features as a frame of values."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from recolib.data.field import Side
from recolib.data.kinds import kind_of, layout_of
from recolib.data.rows import Rows
from recolib.data.schema import Schema
from recolib.data.vocab import Vocab


def decode_rows(rows: Rows, schema: Schema, vocabs: Mapping[str, Vocab], side: Side) -> pd.DataFrame:
    """The rows of all known ids of a side, in the order of their codes from 1 on, as a frame of values.

    Parameters
    ----------
    rows
        The present features of each code, those of the unknown id first, (n + 1, C) and (n + 1, D).
    schema, vocabs
        The columns and their vocabularies.
    side
        The side of the rows.
    """
    columns: dict[str, pd.Series] = {side: pd.Series(vocabs[side].values)}
    for field in schema.features(side):
        values = rows.part(layout_of(field).part).numpy()[1:, schema.span(field)]
        columns |= kind_of(field).decode(values, field, vocabs.get(field.name))
    return pd.DataFrame(columns)
