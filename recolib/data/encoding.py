"""Columns to codes and numbers: learnt from the training frame, applied to every other one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from recolib.data.frame import (
    Frame,
    Values,
    as_values,
    factorize,
    flatten_lists,
    read_column,
    read_numbers,
    refuse_empty,
)
from recolib.data.rows import ABSENT, UNKNOWN, Rows
from recolib.data.schema import Field, Schema, Side
from recolib.data.vocab import Vocab

Codes = NDArray[np.int32]


@dataclass(frozen=True)
class _Factored:
    """Columns as positions (n,) among their own distinct values; −1 is missing."""

    columns: list[tuple[NDArray[np.int64], Values]]
    lengths: NDArray[np.int64] | None  # of the lists, where the one column is their values end to end


def learn_codes(frame: Frame, field: Field) -> tuple[Field, Vocab, Codes]:
    """Make a field's vocabulary from a frame and encode the frame with it.

    A column of lists gives the field its width, the longest list.
    """
    factored = _factor(frame, field)
    for name, (positions, _) in zip(field.columns, factored.columns, strict=True):
        refuse_empty(int((positions >= 0).sum()), name)
    if factored.lengths is not None:
        field = replace(field, width=int(factored.lengths.max()))
    vocab = Vocab.of(as_values(()))
    distinct = [
        values[values != field.pad_val] if field.pad_val is not None else values for _, values in factored.columns
    ]
    if any(values.dtype == object for values in distinct):
        distinct = [values.astype(object) for values in distinct]
    vocab = vocab.extend(np.concatenate(distinct))
    return field, vocab, _encode(factored, field, vocab)


def apply_codes(frame: Frame, field: Field, vocab: Vocab) -> Codes:
    """A frame's codes of one field, shape (n, width): unknown values 0, empty slots ``ABSENT``."""
    return _encode(_factor(frame, field), field, vocab)


def learn_scale(frame: Frame, field: Field, scaling: str) -> tuple[Field, NDArray[np.float32]]:
    """The field with its training mean and deviation, and the scaled numbers; missing ones are the mean."""
    numbers = read_numbers(read_column(frame, field.name), field.name)
    present = numbers[~np.isnan(numbers)]
    refuse_empty(len(present), field.name)
    field = replace(field, mean=float(present.mean()))
    if scaling == "standard":
        field = replace(field, offset=field.mean, scale=float(present.std()) or 1.0)
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
    side
        Whose features are taken.
    where
        Which rows may change, shape (n,); all by default.
    """
    codes, dense = rows.codes.numpy().copy(), rows.dense.numpy().copy()
    may_change = np.ones(len(rows), bool) if where is None else where
    for field in schema.features(side):
        if not set(field.columns) <= set(frame.columns):
            continue
        if field.kind == "dense":
            new, old = apply_scale(frame, field), dense[:, schema.dense(side).index(field)]
            given = ~np.isnan(new) & may_change
        else:
            new, old = apply_codes(frame, field, vocabs[field.name]), codes[:, schema.span(field)]
            given = np.array([not missing for missing in _all_missing(frame, field)]) & may_change
        old[given] = new[given]
    return Rows(torch.from_numpy(codes), torch.from_numpy(dense))


def blank_rows(schema: Schema, side: Side, n: int) -> Rows:
    """Rows of which nothing is known: code 0 in each column, one unknown value in each group, the mean of numbers."""
    codes = np.full((n, schema.n_codes(side)), ABSENT, np.int32)
    for field in schema.codes(side):
        codes[:, schema.span(field).start] = UNKNOWN
    dense = torch.tensor([field.missing for field in schema.dense(side)], dtype=torch.float32)
    return Rows(torch.from_numpy(codes), dense.repeat(n, 1))


def _factor(frame: Frame, field: Field) -> _Factored:
    if not field.holds_lists:
        return _Factored(
            [factorize(read_column(frame, name), name, name in ("user", "item")) for name in field.columns], None
        )
    flat, lengths = flatten_lists(read_column(frame, field.name), field.name)
    return _Factored([factorize(flat, field.name)], lengths)


def _encode(factored: _Factored, field: Field, vocab: Vocab) -> Codes:
    missing = UNKNOWN if field.kind == "sparse" else ABSENT
    coded: list[Codes] = []
    for positions, values in factored.columns:
        lookup = np.append(vocab.encode(values), np.int32(missing))  # position −1 is its last entry
        if field.pad_val is not None:
            lookup[:-1][values == field.pad_val] = ABSENT
        coded.append(lookup[positions])
    if factored.lengths is None:
        return np.stack(coded, 1)
    return _to_slots(coded[0], factored.lengths, field)


def _to_slots(flat: Codes, lengths: NDArray[np.int64], field: Field) -> Codes:
    """The codes of lists, end to end, as slots (n, width)."""
    slots = np.full((len(lengths), field.width), ABSENT, np.int32)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    slot = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    fits = slot < field.width
    if not fits.all():
        n_long = int((lengths > field.width).sum())
        warnings.warn(
            f"column {field.name!r} has {n_long} lists longer than in training: only {field.width} values each count",
            stacklevel=2,
        )
    slots[rows[fits], slot[fits]] = flat[fits]
    return slots


def _all_missing(frame: Frame, field: Field) -> Sequence[bool]:
    missing = [pd.isna(read_column(frame, name).astype(object)).to_numpy() for name in field.columns]
    return np.logical_and.reduce(missing).tolist()


def _scale(numbers: NDArray[np.float64], field: Field, missing: float) -> NDArray[np.float32]:
    scaled = (numbers - field.offset) / field.scale
    return np.where(np.isnan(scaled), missing, scaled).astype(np.float32)
