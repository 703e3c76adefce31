"""Rows filled with a field's cells, or with what a frame gives, and tables of such; rows without features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from recolib.data.field import Side
from recolib.data.frame import Frame, as_values, factorize, read_column
from recolib.data.kinds import Cells, kind_of, layout_of
from recolib.data.rows import UNKNOWN, Rows
from recolib.data.schema import Schema
from recolib.data.table import Table
from recolib.data.unseen import warn_of_twins
from recolib.data.vocab import Vocab
from recolib.exceptions import UnknownIdWarning, warn


def overlay(
    rows: Rows,
    frame: Frame,
    schema: Schema,
    vocabs: Mapping[str, Vocab],
    side: Side,
    where: NDArray[np.bool_] | None = None,
) -> Rows:
    """The rows with their features replaced by those that a frame gives; a missing value changes nothing.

    Parameters
    ----------
    rows
        Rows of the side, shape (n, C) and (n, D).
    frame
        As many rows, in the same order, with any of the side's feature columns.
    schema, vocabs
        The columns and their vocabularies.
    side
        The side of the rows.
    where
        Which rows may change, shape (n,); all by default.
    """
    laid = Rows(rows.codes.clone(), rows.dense.clone(), rows.past)
    if where is not None:
        at = np.flatnonzero(where)
        if len(at):
            some = torch.from_numpy(at)
            new = overlay(rows[some], frame[at.tolist()], schema, vocabs, side)
            laid.codes[some], laid.dense[some] = new.codes, new.dense
        return laid
    for field in schema.features(side):
        if not any(name in frame.columns for name in field.columns):
            continue
        values, given = kind_of(field).encode(frame, field, vocabs.get(field.name))
        columns = laid.part(layout_of(field).part).numpy()[:, schema.span(field)]
        np.copyto(columns, values, where=given)
    return laid


def assigned(table: Table, frame: Frame, schema: Schema, vocabs: Mapping[str, Vocab], side: Side) -> Table:
    """The table of a side with the features that a frame gives known ids; of several rows of an id the last counts.

    Unknown ids are left out with a warning.
    """
    positions, ids = factorize(read_column(frame, side), side, ids=True)
    codes = vocabs[side].encode(ids)[positions]
    unknown = ids[vocabs[side].encode(ids) == UNKNOWN].tolist()
    if unknown:
        warn_of_twins(f"column {side!r}", as_values(unknown), vocabs[side])
        warn(f"{len(unknown)} unknown {side}s, such as {unknown[0]!r}: they are left out", UnknownIdWarning)
    changed = overlay(table.rows[torch.from_numpy(codes)], frame, schema, vocabs, side)
    last = np.zeros(len(vocabs[side]) + 1, np.int64)
    last[codes] = np.arange(len(codes))  # the last row of an id counts
    at = np.unique(codes[codes > UNKNOWN])
    newest = changed[torch.from_numpy(last[at])]
    rows = Rows(table.rows.codes.clone(), table.rows.dense.clone(), table.rows.past)
    rows.codes[at], rows.dense[at] = newest.codes, newest.dense
    return replace(table, rows=rows)


def blank_rows(schema: Schema, side: Side, n: int) -> Rows:
    """Rows of unknown ids without features: code 0, one unknown value in each group, the mean of numbers."""
    row = schema.blank(side)
    return Rows(row.codes.repeat(n, 1), row.dense.repeat(n, 1))


def fill(
    rows: Rows, schema: Schema, side: Side, learnt: Mapping[str, Cells], at: NDArray[np.integer] | None = None
) -> Rows:
    """Write the values of fields into ``rows``, all of them or those numbered ``at``; returns ``rows``."""
    where = slice(None) if at is None else torch.from_numpy(at).long()
    for field in schema.features(side):
        if field.name in learnt:
            rows.part(layout_of(field).part)[where, schema.span(field)] = torch.from_numpy(learnt[field.name])
    return rows
