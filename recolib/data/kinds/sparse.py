"""Sparse: one integer or string, and what it shares with a group of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.data.field import Field
from recolib.data.frame import Frame, Values, factorize, read_column, refuse_empty
from recolib.data.kinds.kind import Cells, Encoded, Facts, Kind, Layout, Learnt, Seen, Spooled
from recolib.data.rows import UNKNOWN, Codes
from recolib.data.unseen import warn_of_mixed, warn_of_unseen
from recolib.data.vocab import Vocab


class Sparse(Kind):
    """A column of categories. A missing one is unknown."""

    name = "sparse"
    in_parts = True

    def layout(self, field: Field) -> Layout:
        """One code."""
        return Layout("codes")

    def blank(self, field: Field) -> Cells:
        """The unknown value."""
        return np.array([UNKNOWN], np.int32)

    def learn(self, frame: Frame, field: Field, scaling: str) -> Learnt:
        """The distinct values as a vocabulary, and their codes."""
        positions, values = factorize(read_column(frame, field.name), field.name, ids=field.is_id)
        refuse_empty(len(values), field.name)
        warn_of_mixed(field.name, positions, values, None, field.is_id)
        vocab = Vocab.of(values)
        return Learnt(field, vocab, codes_at(positions, values, vocab)[:, None])

    def spool(self, frame: Frame, field: Field) -> Spooled:
        """The positions among the part's values."""
        positions, values = factorize(read_column(frame, field.name), field.name, ids=field.is_id)
        return Spooled(positions.astype(np.int32)[:, None], values)

    def learn_parts(self, field: Field, seen: Seen, scaling: str) -> tuple[Field, Vocab]:
        """The distinct values as a vocabulary."""
        assert seen.values is not None
        refuse_empty(len(seen.values), field.name)
        return field, Vocab.of(seen.values)

    def settle(self, spooled: Spooled, field: Field, vocab: Vocab | None) -> Cells:
        """The codes."""
        assert vocab is not None
        assert spooled.values is not None
        return codes_at(spooled.cells[:, 0], spooled.values, vocab)[:, None]

    def extend(self, frame: Frame, field: Field, vocab: Vocab | None) -> tuple[Vocab, Cells]:
        """The vocabulary with new values, and the codes."""
        assert vocab is not None
        positions, values = factorize(read_column(frame, field.name), field.name, ids=field.is_id)
        warn_of_mixed(field.name, positions, values, vocab, field.is_id)
        vocab = vocab.extend(values)
        return vocab, codes_at(positions, values, vocab)[:, None]

    def encode(self, frame: Frame, field: Field, vocab: Vocab | None) -> Encoded:
        """The codes; 0 is a new value, or a missing one."""
        assert vocab is not None
        positions, values = factorize(read_column(frame, field.name), field.name, ids=field.is_id)
        warn_of_unseen(field.name, positions, values, vocab)
        return Encoded(codes_at(positions, values, vocab)[:, None], (positions >= 0)[:, None])

    def decode(self, cells: Cells, field: Field, vocab: Vocab | None) -> dict[str, pd.Series]:
        """The values of the codes."""
        assert vocab is not None
        return {field.name: values_of(cells[:, 0], vocab)}

    def show(self, cells: list[Any], field: Field, vocab: Vocab | None, special: dict[int, str]) -> int | str:
        """The value."""
        assert vocab is not None
        return shown_code(cells[0], vocab, special)

    def describe(self, field: Field, vocab: Vocab | None, cells: Cells) -> Facts:
        """How many values are known."""
        assert vocab is not None
        return Facts(n_values=len(vocab))

    def manifest(self, field: Field, start: int) -> dict[str, Any]:
        """Where the code stands."""
        return super().manifest(field, start) | code_columns(field, start, self.blank(field))


def codes_at(positions: NDArray[np.integer], values: Values, vocab: Vocab) -> Codes:
    """The codes of a column that is given as positions among its distinct values, −1 where it is missing."""
    return np.append(vocab.encode(values), np.int32(UNKNOWN))[positions]  # position −1 is the last entry


def values_of(codes: Codes | Any, vocab: Vocab) -> pd.Series:
    """The values of codes (n,); missing where there is none."""
    known, values = codes > UNKNOWN, vocab.values
    if values.dtype == object:
        decoded = values[np.where(known, codes, 1) - 1]
        decoded[~known] = None
        return pd.Series(decoded)
    column = pd.Series(values[np.where(known, codes, 1) - 1])
    return column if known.all() else column.astype("Int64").mask(~known)


def shown_code(code: int, vocab: Vocab, special: dict[int, str]) -> int | str:
    """The value of one code."""
    return vocab.values[code - 1 : code].tolist()[0] if code > UNKNOWN else special[code]


def code_columns(field: Field, start: int, blank: Cells) -> dict[str, Any]:
    """What an application needs to know of a field's code columns."""
    return {
        "lists": field.lists,
        "pad_value": field.pad_val,
        "start": start,
        "width": field.width,
        "unknown": blank.tolist(),
    }
