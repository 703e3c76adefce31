"""Multi-sparse: several values of one vocabulary, pooled: a group of columns, or a column of lists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recolib.data.buckets import vocab_of
from recolib.data.field import MAX_WIDTH, SEQUENCES, Field, Group, Side, read_names
from recolib.data.frame import (
    Frame,
    Values,
    factorize,
    flatten_lists,
    joined_values,
    read_column,
    refuse_empty,
)
from recolib.data.kinds.kind import Cells, Encoded, Facts, Kind, Layout, Learnt, Seen, Spooled
from recolib.data.kinds.sparse import code_columns, facts_of, shown_code, values_of
from recolib.data.rows import ABSENT, UNKNOWN, Codes
from recolib.data.unseen import warn_of_mixed, warn_of_unseen
from recolib.data.vocab import Vocab
from recolib.exceptions import LongListWarning, warn
from recolib.files import require

MAX_PADDING = 2**25
"""Slots of all rows together up to which every list is as long as the longest."""
MOST_PADDING = 8
"""The same as a multiple of the values that are there, where that is more."""
SURE_WIDTH = 64
"""Values of a list that always count."""


class MultiSparse(Kind):
    """A group of columns, or a column of lists, with one vocabulary and a slot for each value.

    An empty slot is ``ABSENT``. A row without any value is absent too, and not unknown.
    """

    name = "multi_sparse"
    in_parts = True
    hashes = True

    def groups(self, columns: object, argument: str) -> list[Group]:
        """Columns of lists by their names, and groups of columns as tuples."""
        if columns is None:
            return []
        if not isinstance(columns, SEQUENCES):
            raise ValueError(f"{argument} must be a list of columns and groups, got {columns!r}")
        groups = [
            group if isinstance(group, str) else tuple(read_names(group, f"each group of {argument}"))
            for group in cast("Any", columns)
        ]
        if () in groups:
            raise ValueError(f"each group of {argument} must be a list of column names, got an empty one")
        return groups

    def field(self, group: Group, side: Side, pad_val: int | str | None) -> Field:
        """A field with a slot for each column; a column of lists learns its width, 0 so far, from the longest list."""
        columns, lists = ((group,), True) if isinstance(group, str) else (group, False)
        return Field(columns[0], side, self.name, columns, lists, pad_val, 0 if lists else len(columns))

    def layout(self, field: Field) -> Layout:
        """A code for each slot."""
        return Layout("codes", field.width, slots=True)

    def takes_lists(self, field: Field) -> bool:
        """Whether it is a column of lists, and no group."""
        return field.lists

    def blank(self, field: Field) -> Cells:
        """One unknown value."""
        return np.array([UNKNOWN] + [ABSENT] * (field.width - 1), np.int32)

    def learn(self, frame: Frame, field: Field, scaling: str) -> Learnt:
        """The distinct values of all columns as a vocabulary, the width of lists, and the codes."""
        columns = [_read(frame, name, field) for name in field.columns]
        for name, column in zip(field.columns, columns, strict=True):
            refuse_empty(len(column.values), name)
            warn_of_mixed(name, column.positions, column.values, None, is_id=False)
            if column.lengths is not None:
                field = replace(field, width=_width(column.lengths, field))
        vocab = vocab_of(field, _distinct(columns, field))
        return Learnt(field, vocab, np.hstack([column.codes(field, vocab, tell=False) for column in columns]))

    def spool(self, frame: Frame, field: Field) -> Spooled:
        """The positions among the part's values, of lists those of the first ``field.width`` values."""
        columns = [_read(frame, name, field) for name in field.columns]
        starts = np.cumsum([0, *(len(column.values) for column in columns)])
        cells = [
            np.where(column.positions >= 0, column.positions + start, ABSENT).astype(np.int32)
            for column, start in zip(columns, starts, strict=False)
        ]
        values = _joined(columns)
        if not field.lists:
            return Spooled(np.column_stack(cells), values)
        lengths = columns[0].lengths
        assert lengths is not None
        width = min(field.width, int(lengths.max(initial=0)))
        return Spooled(_to_slots(cells[0], lengths, replace(field, width=width), tell=False), values)

    def learn_parts(self, field: Field, seen: Seen, scaling: str) -> tuple[Field, Vocab]:
        """The distinct values as a vocabulary, and the width of lists."""
        assert seen.values is not None
        for name, n in zip(field.columns, [len(seen.values)] if field.lists else seen.counts.tolist(), strict=True):
            refuse_empty(n, name)
        width = len(seen.counts) if field.lists else field.width
        return replace(field, width=width), vocab_of(field, _without_pad(seen.values, field))

    def settle(self, spooled: Spooled, field: Field, vocab: Vocab | None) -> Cells:
        """The codes, of lists as wide as the longest of all parts."""
        assert vocab is not None
        assert spooled.values is not None
        column = _Column(np.maximum(spooled.cells, -1).astype(np.int64), spooled.values)
        codes = np.full((len(spooled.cells), field.width), ABSENT, np.int32)
        codes[:, : spooled.cells.shape[1]] = column.lookup(field, vocab)[column.positions]
        return codes

    def extend(self, frame: Frame, field: Field, vocab: Vocab | None) -> tuple[Vocab, Cells]:
        """The vocabulary with new values, and the codes; lists are no longer than in training."""
        assert vocab is not None
        columns = [_read(frame, name, field) for name in field.columns]
        for name, column in zip(field.columns, columns, strict=True):
            warn_of_mixed(name, column.positions, column.values, vocab, is_id=False)
        vocab = vocab.extend(_distinct(columns, field))
        return vocab, np.hstack([column.codes(field, vocab) for column in columns])

    def encode(self, frame: Frame, field: Field, vocab: Vocab | None) -> Encoded:
        """The codes of those columns that the frame has.

        With all of them a row is given if any column has a value: what is missing of it is then absent.
        """
        assert vocab is not None
        n = len(frame)
        columns = {name: _read(frame, name, field) for name in field.columns if name in frame.columns}
        for name, column in columns.items():
            warn_of_unseen(name, column.without_pads(field), column.values, vocab)
        codes = {name: column.codes(field, vocab) for name, column in columns.items()}
        given = {name: column.given for name, column in columns.items()}
        if len(columns) == len(field.columns):
            return Encoded(np.hstack(list(codes.values())), np.logical_or.reduce(list(given.values()))[:, None])
        absent, no = np.full((n, 1), ABSENT, np.int32), np.zeros(n, bool)
        return Encoded(
            np.hstack([codes.get(name, absent) for name in field.columns]),
            np.column_stack([given.get(name, no) for name in field.columns]),
        )

    def decode(self, cells: Cells, field: Field, vocab: Vocab | None) -> dict[str, pd.Series]:
        """A column of lists, or the columns of the group; a list is missing if it has no known value."""
        assert vocab is not None
        if field.lists:
            return {field.name: pd.Series(_lists(cells, vocab), dtype=object)}
        return {name: values_of(codes, vocab) for name, codes in zip(field.columns, cells.T, strict=True)}

    def show(self, cells: list[Any], field: Field, vocab: Vocab | None, special: dict[int, str]) -> str:
        """The values, with commas between."""
        assert vocab is not None
        return ", ".join(str(shown_code(code, vocab, special)) for code in cells if code != ABSENT)

    def describe(self, field: Field, vocab: Vocab | None, cells: Cells) -> Facts:
        """How many values are known, or how many buckets there are, and how many a row may have."""
        return facts_of(field, vocab)

    def manifest(self, field: Field, start: int) -> dict[str, Any]:
        """Where the slots stand, and what marks an absent value."""
        return super().manifest(field, start) | code_columns(field, start, self.blank(field))

    def check(self, field: Field) -> None:
        """Raise unless a group has a slot for each column; lists have as many as they need."""
        require(field.lists or field.width == len(field.columns), f"field {field.name!r} has a slot for each column")


@dataclass(frozen=True)
class _Column:
    """A column as positions (n,) among its distinct values; −1 is missing.

    A column of lists is its values end to end, with the length of each list and whether there is one.
    """

    positions: NDArray[np.int64]
    values: Values
    lengths: NDArray[np.int64] | None = None
    present: NDArray[np.bool_] | None = None

    @property
    def given(self) -> NDArray[np.bool_]:
        """Which rows have a value."""
        return self.positions >= 0 if self.present is None else self.present

    def without_pads(self, field: Field) -> NDArray[np.int64]:
        """The positions, −1 also where the value is the one that marks an absent value."""
        is_pad = np.append(self.values == field.pad_val, False)
        return np.where(is_pad[self.positions], -1, self.positions)

    def codes(self, field: Field, vocab: Vocab, tell: bool = True) -> Codes:
        """The column's codes, shape (n, slots); ``tell`` says whether to warn of lists that are cut."""
        codes = self.lookup(field, vocab)[self.positions]
        return codes[:, None] if self.lengths is None else _to_slots(codes, self.lengths, field, tell)

    def lookup(self, field: Field, vocab: Vocab) -> Codes:
        """The code of each of the values, and behind them that of a missing one."""
        lookup = np.append(vocab.encode(self.values), np.int32(ABSENT))  # position −1 is its last entry
        if field.pad_val is not None:
            lookup[:-1][self.values == field.pad_val] = ABSENT
        return lookup


def _width(lengths: NDArray[np.int64], field: Field) -> int:
    """The slots that lists of these lengths take: as many as the longest has, unless padding would cost too much."""
    longest, affordable = int(lengths.max()), max(MAX_PADDING, MOST_PADDING * int(lengths.sum())) // len(lengths)
    width = min(longest, field.width or max(SURE_WIDTH, affordable), MAX_WIDTH)
    if width < longest:
        n_cut = int((lengths - width).clip(0).sum())
        warn(
            f"column {field.name!r} has {int((lengths > width).sum())} of {len(lengths)} lists with more than {width} "
            f"values: the first {width} of each count, and {n_cut} of {int(lengths.sum())} values are cut. Each row "
            f"is as wide as the longest list; max_list_len={min(longest, MAX_WIDTH)} takes more",
            LongListWarning,
        )
    return width


def _read(frame: Frame, name: str, field: Field) -> _Column:
    column = read_column(frame, name)
    if not field.lists:
        return _Column(*factorize(column, name))
    flat, lengths, present = flatten_lists(column, name)
    return _Column(*factorize(flat, name), lengths, present)


def _distinct(columns: list[_Column], field: Field) -> Values:
    """The values of all columns but for the one that marks an absent value."""
    return _without_pad(_joined(columns), field)


def _without_pad(values: Values, field: Field) -> Values:
    return values if field.pad_val is None else values[values != field.pad_val]


def _joined(columns: list[_Column]) -> Values:
    """The values of all columns, end to end."""
    return joined_values([column.values for column in columns])


def _to_slots(flat: Codes, lengths: NDArray[np.int64], field: Field, tell: bool) -> Codes:
    """The codes of lists, end to end, as slots (n, width)."""
    slots = np.full((len(lengths), field.width), ABSENT, np.int32)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    slot = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    fits = slot < field.width
    if not fits.all() and tell:
        n_long = int((lengths > field.width).sum())
        warn(
            f"column {field.name!r} has {n_long} lists longer than in training: only {field.width} values each count",
            LongListWarning,
        )
    slots[rows[fits], slot[fits]] = flat[fits]
    return slots


def _lists(slots: NDArray[Any], vocab: Vocab) -> list[list[int | str] | None]:
    """A list for each row; None where it is missing or has no known value."""
    known = slots > UNKNOWN
    flat = vocab.decode(slots[known]).tolist()
    ends = np.cumsum(known.sum(1)).tolist()
    empty = (slots == ABSENT).all(1).tolist()
    return [flat[a:b] if a < b or none else None for a, b, none in zip([0, *ends], ends, empty, strict=False)]
