"""Sparse: one integer or string, and what it shares with a group of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.data.buckets import vocab_of
from recolib.data.field import Field
from recolib.data.frame import BLOCK, Frame, Values, as_values, factorize, read_column, refuse_empty
from recolib.data.kinds.kind import Cells, Encoded, Facts, Kind, Layout, Learnt, Seen, Spooled
from recolib.data.rows import UNKNOWN, Codes
from recolib.data.unseen import warn_of_mixed, warn_of_unseen
from recolib.data.vocab import Vocab
from recolib.exceptions import telling_once


class Sparse(Kind):
    """A column of categories. A missing one is unknown."""

    name = "sparse"
    in_parts = True
    hashes = True

    def layout(self, field: Field) -> Layout:
        """One code."""
        return Layout("codes")

    def blank(self, field: Field) -> Cells:
        """The unknown value."""
        return np.array([UNKNOWN], np.int32)

    def learn(self, frame: Frame, field: Field, scaling: str) -> Learnt:
        """The distinct values as a vocabulary, and their codes."""
        vocab, cells = self.extend(frame, field, vocab_of(field, as_values(())))
        refuse_empty(int((cells > UNKNOWN).sum()), field.name)
        return Learnt(field, vocab, cells)

    def spool(self, frame: Frame, field: Field) -> Spooled:
        """The positions among the part's values."""
        positions, values = factorize(read_column(frame, field.name), field.name, ids=field.is_id)
        return Spooled(positions.astype(np.int32)[:, None], values)

    def learn_parts(self, field: Field, seen: Seen, scaling: str) -> tuple[Field, Vocab]:
        """The distinct values as a vocabulary."""
        assert seen.values is not None
        refuse_empty(len(seen.values), field.name)
        return field, vocab_of(field, seen.values)

    def settle(self, spooled: Spooled, field: Field, vocab: Vocab | None) -> Cells:
        """The codes."""
        assert vocab is not None
        assert spooled.values is not None
        return codes_at(spooled.cells[:, 0], spooled.values, vocab)[:, None]

    def extend(self, frame: Frame, field: Field, vocab: Vocab | None) -> tuple[Vocab, Cells]:
        """The vocabulary with new values, and the codes."""
        assert vocab is not None
        parts = list[Codes]()
        with telling_once():
            for positions, values in _factorized(frame, field):
                warn_of_mixed(field.name, positions, values, vocab, field.is_id)
                vocab = vocab.extend(values)
                parts.append(codes_at(positions, values, vocab))
        return vocab, np.concatenate(parts)[:, None]

    def encode(self, frame: Frame, field: Field, vocab: Vocab | None) -> Encoded:
        """The codes; 0 is a new value, or a missing one."""
        assert vocab is not None
        codes, given = list[Codes](), list[NDArray[np.bool_]]()
        for positions, values in _factorized(frame, field):
            warn_of_unseen(field.name, positions, values, vocab)
            codes.append(codes_at(positions, values, vocab))
            given.append(positions >= 0)
        return Encoded(np.concatenate(codes)[:, None], np.concatenate(given)[:, None])

    def decode(self, cells: Cells, field: Field, vocab: Vocab | None) -> dict[str, pd.Series]:
        """The values of the codes."""
        assert vocab is not None
        return {field.name: values_of(cells[:, 0], vocab)}

    def show(self, cells: list[Any], field: Field, vocab: Vocab | None, special: dict[int, str]) -> int | str:
        """The value."""
        assert vocab is not None
        return shown_code(cells[0], vocab, special)

    def describe(self, field: Field, vocab: Vocab | None, cells: Cells) -> Facts:
        """How many values are known, or how many buckets there are."""
        return facts_of(field, vocab)

    def manifest(self, field: Field, start: int) -> dict[str, Any]:
        """Where the code stands."""
        return super().manifest(field, start) | code_columns(field, start, self.blank(field))


def _factorized(frame: Frame, field: Field) -> Iterator[tuple[NDArray[np.int64], Values]]:
    """What ``factorize`` gives of the column; where it is hashed block by block, since none needs to know another."""
    size = BLOCK if field.n_buckets else max(1, len(frame))
    for start in range(0, max(1, len(frame)), size):
        yield factorize(read_column(frame[start : start + size], field.name), field.name, ids=field.is_id)


def codes_at(positions: NDArray[np.integer], values: Values, vocab: Vocab) -> Codes:
    """The codes of a column that is given as positions among its distinct values, −1 where it is missing."""
    return np.append(vocab.encode(values), np.int32(UNKNOWN))[positions]  # position −1 is the last entry


def values_of(codes: Codes | Any, vocab: Vocab) -> pd.Series:
    """The values of codes (n,); missing where there is none."""
    known = codes > UNKNOWN
    decoded = vocab.decode(np.where(known, codes, 1))
    if decoded.dtype == object:
        decoded[~known] = None
        return pd.Series(decoded)
    column = pd.Series(decoded)
    return column if known.all() else column.astype("Int64").mask(~known)


def shown_code(code: int, vocab: Vocab, special: dict[int, str]) -> int | str:
    """The value of one code."""
    return vocab.decode(np.array([code])).tolist()[0] if code > UNKNOWN else special[code]


def facts_of(field: Field, vocab: Vocab | None) -> Facts:
    """What there is to say of a field of codes."""
    assert vocab is not None
    return Facts(None if field.n_buckets else len(vocab), field.width, n_buckets=field.n_buckets or None)


def code_columns(field: Field, start: int, blank: Cells) -> dict[str, Any]:
    """What an application needs to know of a field's code columns."""
    return {
        "lists": field.lists,
        "pad_value": field.pad_val,
        "start": start,
        "width": field.width,
        "unknown": blank.tolist(),
        "n_buckets": field.n_buckets,
    }
