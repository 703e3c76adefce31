"""Columns to codes and numbers: learnt from the training frame, applied to every other one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.data.frame import (
    Frame,
    Values,
    factorize,
    flatten_lists,
    read_column,
    read_numbers,
    refuse_empty,
)
from recolib.data.rows import ABSENT, UNKNOWN, Codes, Rows
from recolib.data.schema import MAX_LIST_LENGTH, Field, Schema, Side
from recolib.data.vocab import Vocab
from recolib.exceptions import warn


@dataclass(frozen=True)
class _Factored:
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


def learn_codes(frame: Frame, field: Field, known: Vocab | None = None) -> tuple[Field, Vocab, Codes]:
    """Make a field's vocabulary from a frame, or extend the one that is known, and encode the frame with it.

    A column of lists gives a new field its width, the longest list.
    """
    columns = [_factor(frame, name, field) for name in field.columns]
    for name, column in zip(field.columns, columns, strict=True):
        if known is not None:
            continue
        refuse_empty(len(column.values), name)
        if column.lengths is not None:
            longest = int(column.lengths.max())
            if longest > MAX_LIST_LENGTH:
                raise ValueError(f"column {name!r} has a list of {longest} values: at most {MAX_LIST_LENGTH} are taken")
            field = replace(field, width=longest)
    distinct = [column.values for column in columns]
    if any(values.dtype == object for values in distinct):
        distinct = [values.astype(object) for values in distinct]
    values = np.concatenate(distinct)
    values = values if field.pad_val is None else values[values != field.pad_val]
    vocab = Vocab.of(values) if known is None else known.extend(values)
    codes = [_encode(column, field, vocab) for column in columns]
    return field, vocab, np.hstack(codes) if len(codes) > 1 else codes[0]


def learn_scale(frame: Frame, field: Field, scaling: str) -> tuple[Field, NDArray[np.float32]]:
    """The field with its training mean and deviation, and the scaled numbers; missing ones are the mean."""
    numbers = read_numbers(read_column(frame, field.name), field.name)
    missing = np.isnan(numbers)
    present = numbers[~missing] if missing.any() else numbers
    refuse_empty(len(present), field.name)
    varies = present.min() < present.max()  # rounded, the mean of equal numbers need not equal them
    field = replace(field, mean=float(present.mean()) if varies else float(present[0]))
    if scaling == "standard":
        field = replace(field, offset=field.mean, scale=(float(present.std()) if varies else 0.0) or 1.0)
    return field, _scale(numbers, field, field.missing)


def apply_scale(frame: Frame, field: Field) -> NDArray[np.float32]:
    """A frame's numbers of one dense field, scaled as in training, shape (n,); NaN where missing."""
    return _scale(read_numbers(read_column(frame, field.name), field.name), field, np.nan)


def overlay(
    rows: Rows,
    frame: Frame,
    schema: Schema,
    vocabs: Mapping[str, Vocab],
    side: Side,
    where: NDArray[np.bool_] | None = None,
) -> Rows:
    """Rows with the features that a frame gives laid over their own; a missing value changes nothing.

    Parameters
    ----------
    rows
        Rows of the side, shape (n, C) and (n, D).
    frame
        As many rows, in the same order, with any of the side's feature columns.
    schema, vocabs
        The columns and what their values are coded with.
    side
        Whose features are taken.
    where
        Which rows may change, shape (n,); all by default.
    """
    codes, dense = rows.codes.numpy().copy(), rows.dense.numpy().copy()
    may_change = np.ones(len(rows), bool) if where is None else where
    for field in schema.features(side):
        named = [name for name in field.columns if name in frame.columns]
        if field.kind == "dense" and named:
            numbers = apply_scale(frame, field)
            given = ~np.isnan(numbers) & may_change
            dense[given, schema.dense(side).index(field)] = numbers[given]
        elif named:
            slots = codes[:, schema.span(field)]
            factored = {name: _factor(frame, name, field) for name in named}
            encoded = {name: _encode(column, field, vocabs[field.name]) for name, column in factored.items()}
            if len(named) == len(field.columns):  # all that there is to know: what is missing of a group is absent
                given = np.logical_or.reduce([column.given for column in factored.values()]) & may_change
                slots[given] = np.hstack(list(encoded.values()))[given]
                continue
            for name, column in factored.items():
                given = column.given & may_change
                slots[given, field.columns.index(name)] = encoded[name][given, 0]
    return Rows(torch.from_numpy(codes), torch.from_numpy(dense))


def blank_rows(schema: Schema, side: Side, n: int) -> Rows:
    """Rows of which nothing is known: code 0 in each column, one unknown value in each group, the mean of numbers."""
    codes = np.full((n, schema.n_codes(side)), ABSENT, np.int32)
    for field in schema.codes(side):
        codes[:, schema.span(field).start] = UNKNOWN
    dense = torch.tensor([field.missing for field in schema.dense(side)], dtype=torch.float32)
    return Rows(torch.from_numpy(codes), dense.repeat(n, 1))


def _factor(frame: Frame, name: str, field: Field) -> _Factored:
    column = read_column(frame, name)
    if not field.lists:
        return _Factored(*factorize(column, name, ids=field.is_id))
    flat, lengths, present = flatten_lists(column, name)
    return _Factored(*factorize(flat, name), lengths, present)


def _encode(column: _Factored, field: Field, vocab: Vocab) -> Codes:
    """A column's codes (n, slots)."""
    missing = UNKNOWN if field.kind == "sparse" else ABSENT
    lookup = np.append(vocab.encode(column.values), np.int32(missing))  # position −1 is its last entry
    if field.pad_val is not None:
        lookup[:-1][column.values == field.pad_val] = ABSENT
    codes = lookup[column.positions]
    return codes[:, None] if column.lengths is None else _to_slots(codes, column.lengths, field)


def _to_slots(flat: Codes, lengths: NDArray[np.int64], field: Field) -> Codes:
    """The codes of lists, end to end, as slots (n, width)."""
    slots = np.full((len(lengths), field.width), ABSENT, np.int32)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    slot = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    fits = slot < field.width
    if not fits.all():
        n_long = int((lengths > field.width).sum())
        warn(f"column {field.name!r} has {n_long} lists longer than in training: only {field.width} values each count")
    slots[rows[fits], slot[fits]] = flat[fits]
    return slots


def _scale(numbers: NDArray[np.float64], field: Field, missing: float) -> NDArray[np.float32]:
    scaled = (numbers - field.offset) / field.scale
    return np.where(np.isnan(scaled), missing, scaled).astype(np.float32)
