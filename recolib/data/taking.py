"""Taking: rows of a frame, in any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.data.frame import Frame
from recolib.data.order import Rows

SAMPLE = 10_000
"""Rows by which a column of text shows whether its values recur."""


@dataclass(frozen=True)
class Text:
    """A column of text as positions among its distinct values, −1 where it is missing: numbers are taken faster."""

    positions: NDArray[np.int32]
    values: Any

    @classmethod
    def of(cls, column: pd.Series) -> Text | None:
        """The column, if its values recur."""
        sample = column.iloc[:: len(column) // SAMPLE + 1]
        if sample.nunique() > len(sample) / 2:
            return None
        positions, values = column.array.factorize()
        return cls(positions.astype(np.int32), values)

    def take(self, rows: Rows) -> Any:
        """The rows as an array of the column's own type."""
        return self.values.take(_at(self.positions, rows), allow_fill=True)


@dataclass(frozen=True)
class Source:
    """A frame of which rows are taken several times."""

    frame: Frame
    texts: dict[object, Text]
    """The columns of text whose values recur."""

    @classmethod
    def of(cls, frame: Frame) -> Source:
        """The frame, and the text in it made ready."""
        native = frame.to_native()
        if type(native) is not pd.DataFrame:  # what a class made of DataFrame keeps, narwhals knows
            return cls(frame, {})
        columns = {name: cast("pd.Series", native[name]) for name in native.columns}
        texts = {name: Text.of(column) for name, column in columns.items() if isinstance(column.dtype, pd.StringDtype)}
        return cls(frame, {name: text for name, text in texts.items() if text is not None})

    def take(self, rows: Rows) -> Frame:
        """The rows, in that order, with the frame's columns and index labels."""
        native = self.frame.to_native()
        if type(native) is not pd.DataFrame:
            return self.frame[rows]
        rows = rows.astype(np.intp, copy=False)
        index = native.index.take(rows)
        taken: dict[int, pd.Series] = {}
        for place, name in enumerate(native.columns):
            column = cast("pd.Series", native[name])
            # with the type said: text that came as objects stays objects
            taken[place] = pd.Series(self._values(column, rows), index, dtype=column.dtype, copy=False)
        frame = pd.DataFrame(taken, index=index, copy=False).__finalize__(native)
        frame.columns = native.columns
        return cast("Frame", nw.from_native(frame, eager_only=True))

    def _values(self, column: pd.Series, rows: Rows) -> Any:
        if column.name in self.texts:
            return self.texts[column.name].take(rows)
        return _at(column.to_numpy(), rows) if isinstance(column.dtype, np.dtype) else column.array.take(rows)


def _at(values: NDArray[Any], rows: Rows) -> NDArray[Any]:
    return values.take(rows, mode="clip")  # the fastest mode; no row is out of range
